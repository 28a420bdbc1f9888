package seal

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/tink-crypto/tink-go/v2/tink"
)

// TransitConfig says where a transit engine of Vault or OpenBao is. The token needs update on
// {mount}/encrypt/{key} and {mount}/decrypt/{key}. The key's type must support associated data: aes256-gcm96 (the default),
// aes128-gcm96, chacha20-poly1305 or xchacha20-poly1305; with a server that ignores it the document is still bound by its
// inner layer.
type TransitConfig struct {
	Address   string       // required: https://host:8200, with a path before /v1 if there is one
	Token     Credential   // required; asked for at every request
	Key       string       // required: the key's name
	Mount     string       // "transit" when empty
	Namespace string       // none when empty
	Client    *http.Client `json:"-"` // one with a timeout of 30 s when nil

	// AllowHTTP permits an address without TLS that is not on this machine. The token and the key that opens the keyset
	// then cross the network in clear.
	AllowHTTP bool
}

// Transit is the provider that has its key in a transit secrets engine of Vault or OpenBao.
type Transit struct {
	shown
	id     string
	client *transitClient
}

var _ Provider = (*Transit)(nil)

var (
	transitPath = regexp.MustCompile(`^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$`)
	transitName = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)
)

// NewTransit makes a provider of a transit key. It sends nothing before the first use.
func NewTransit(c TransitConfig) (*Transit, error) {
	mount := strings.Trim(c.Mount, "/")
	if mount == "" {
		mount = "transit"
	}
	namespace := strings.Trim(c.Namespace, "/")
	switch {
	case c.Token == nil:
		return nil, errors.New("transit: a token is required")
	case !transitName.MatchString(c.Key) || isDots(c.Key):
		return nil, fmt.Errorf("transit: %q cannot be the name of a key", c.Key)
	case !transitPath.MatchString(mount) || hasDots(mount):
		return nil, fmt.Errorf("transit: %q cannot be the path of a mount", c.Mount)
	case namespace != "" && (!transitPath.MatchString(namespace) || hasDots(namespace)):
		return nil, fmt.Errorf("transit: %q cannot be a namespace", c.Namespace)
	}
	base, err := parseTransitAddress(c.Address, c.AllowHTTP)
	if err != nil {
		return nil, err
	}

	id := mount + "/" + c.Key
	if namespace != "" {
		id = namespace + "/" + id
	}
	return &Transit{
		shown: shown{KindTransit + " key " + id},
		id:    id,
		client: &transitClient{
			base:      base.JoinPath("v1", mount),
			mount:     mount,
			key:       c.Key,
			namespace: namespace,
			token:     c.Token,
			http:      serviceClient(c.Client),
		},
	}, nil
}

func isDots(segment string) bool { return strings.Trim(segment, ".") == "" }

func hasDots(path string) bool {
	for segment := range strings.SplitSeq(path, "/") {
		if isDots(segment) {
			return true
		}
	}
	return false
}

func parseTransitAddress(address string, allowHTTP bool) (*url.URL, error) {
	u, err := url.Parse(address)
	// The address is not shown when it has a user and perhaps a password, nor when it does not parse.
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http"):
		return nil, errors.New("transit: the address is not of the form https://host:port")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("transit: the address has more than a host and a path")
	case u.Scheme == "http" && !allowHTTP && !isLoopback(u.Hostname()):
		return nil, fmt.Errorf("transit: %s has no TLS and is not on this machine", address)
	}
	return u, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Kind is KindTransit.
func (t *Transit) Kind() string { return KindTransit }

// Key returns the key in the transit engine, which must exist.
func (t *Transit) Key(ctx context.Context) (KeyRef, tink.AEADWithContext, error) {
	if err := t.client.exists(ctx); err != nil {
		return KeyRef{}, nil, err
	}
	return KeyRef{ID: t.id}, t.client, nil
}

// KeyFor returns the key in the transit engine if it has the name in ref. Whether the engine at this address is the same
// one shows when it decrypts.
func (t *Transit) KeyFor(_ context.Context, ref KeyRef) (tink.AEADWithContext, error) {
	if ref.ID != t.id {
		return nil, wrongKey(KindTransit+" key "+ref.ID, t.String())
	}
	return t.client, nil
}

// transitClient speaks the two requests of the transit engine that are needed.
type transitClient struct {
	base      *url.URL // of the mount
	mount     string
	key       string
	namespace string
	token     Credential
	http      *http.Client
}

var _ tink.AEADWithContext = (*transitClient)(nil)

// The bodies. encoding/json writes bytes as the base64 that the engine wants. Its ciphertext is text: "vault:v1:…".
type (
	transitEncryptRequest struct {
		Plaintext      []byte `json:"plaintext"`
		AssociatedData []byte `json:"associated_data"`
	}
	transitDecryptRequest struct {
		Ciphertext     string `json:"ciphertext"`
		AssociatedData []byte `json:"associated_data"`
	}
	transitAnswer struct {
		Data struct {
			Ciphertext string `json:"ciphertext"`
			Plaintext  []byte `json:"plaintext"`
		} `json:"data"`
		Errors []string `json:"errors"`
	}
)

func (c *transitClient) EncryptWithContext(ctx context.Context, plaintext, associatedData []byte) ([]byte, error) {
	a, err := c.post(ctx, "encrypt", transitEncryptRequest{Plaintext: plaintext, AssociatedData: associatedData})
	if err != nil {
		return nil, err
	}
	if a.Data.Ciphertext == "" {
		return nil, errors.New("transit: the answer has no ciphertext")
	}
	return []byte(a.Data.Ciphertext), nil
}

func (c *transitClient) DecryptWithContext(ctx context.Context, ciphertext, associatedData []byte) ([]byte, error) {
	a, err := c.post(ctx, "decrypt", transitDecryptRequest{Ciphertext: string(ciphertext), AssociatedData: associatedData})
	if err != nil {
		return nil, err
	}
	if len(a.Data.Plaintext) == 0 {
		return nil, errors.New("transit: the answer has no plaintext")
	}
	return a.Data.Plaintext, nil
}

// exists makes sure that the key exists. With a token that may create keys, encrypting makes a key of any name, and so of a
// misspelt one. Decrypting doesn't, and needs no right that isn't needed anyway: the answer for a ciphertext that no key
// has made depends on whether there is one.
func (c *transitClient) exists(ctx context.Context) error {
	_, err := c.DecryptWithContext(ctx, []byte(transitProbe), []byte("fluxkeep"))
	var failure *transitFailure
	switch {
	case err == nil:
		return errors.New("transit: the answer is wrong: it opens a ciphertext that no key has made")
	case errors.As(err, &failure) && failure.known == transitNoKey:
		return fmt.Errorf(`transit: there is no key %q: check its name, or create it with "bao write -f %s/keys/%[1]s"`, c.key, c.mount)
	case errors.As(err, &failure) && failure.status == http.StatusBadRequest, errors.Is(err, ErrDamaged):
		return nil
	}
	return err
}

// transitProbe has the form of a ciphertext, with zeros for nonce, text and tag.
var transitProbe = "vault:v1:" + base64.StdEncoding.EncodeToString(make([]byte, 60))

func (c *transitClient) post(ctx context.Context, operation string, request any) (*transitAnswer, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("transit: encode the request: %w", err)
	}
	token, err := c.token(ctx)
	if err != nil {
		return nil, fmt.Errorf("transit: get the token: %w", err)
	}
	u := c.base.JoinPath(operation, c.key)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("transit: make the request")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Vault-Token", string(token))
	req.Header.Set("X-Vault-Request", "true") // a Vault agent in between may insist on it
	if c.namespace != "" {
		req.Header.Set("X-Vault-Namespace", c.namespace)
	}
	resp, text, err := exchange(c.http, req)
	if err != nil {
		return nil, fmt.Errorf("transit: %w", err)
	}
	defer clear(text)
	a := new(transitAnswer)
	if err := json.Unmarshal(text, a); err != nil && resp.StatusCode == http.StatusOK {
		return nil, errors.New("transit: the answer does not parse")
	}
	if resp.StatusCode != http.StatusOK {
		return nil, transitError(operation, resp, a.Errors)
	}
	return a, nil
}

// transitError tells a refusal from a key that does not fit. Of the server's own words only those are shown that no one
// can have put a secret into: a proxy that echoes a request must not bring the document key into a log.
func transitError(operation string, resp *http.Response, texts []string) error {
	said := strings.Join(texts, "; ")
	switch {
	case resp.StatusCode == http.StatusBadRequest && operation == "decrypt" && isTransitRefusal(said):
		return fmt.Errorf("%w, or %w: the transit key of this name at this address does not open it", ErrWrongKey, ErrDamaged)
	case resp.StatusCode == http.StatusForbidden:
		return fmt.Errorf("transit: %s is forbidden (status 403): the token is not valid or may not use this key", operation)
	case isRedirect(resp):
		return fmt.Errorf("transit: %w", redirectError(resp))
	case resp.StatusCode == http.StatusServiceUnavailable:
		return errors.New("transit: the server is sealed or not ready (status 503)")
	}
	return &transitFailure{operation, resp.StatusCode, knownTransitError(said)}
}

// transitFailure is an answer that nothing better is known of than its status and, if it has one, a known sentence.
type transitFailure struct {
	operation string
	status    int
	known     string
}

func (e *transitFailure) Error() string {
	text := fmt.Sprintf("transit: %s failed (status %d)", e.operation, e.status)
	if e.known != "" {
		text += ": " + e.known
	}
	return text
}

// isTransitRefusal knows what Vault and OpenBao say when the ciphertext or the associated data is of no key of that name.
func isTransitRefusal(said string) bool {
	return strings.Contains(said, "message authentication failed") || strings.Contains(said, "invalid ciphertext")
}

const transitNoKey = "encryption key not found"

// knownTransitError returns what the server said when it is one of the known sentences that help.
func knownTransitError(said string) string {
	for _, known := range []string{
		transitNoKey,
		"no handler for route",
		"unsupported path",
		"ciphertext or signature version is disallowed by policy (too old)",
		"key type does not support encryption",
		"associated_data can not be provided",
		"message encryption not supported",
	} {
		if strings.Contains(said, known) {
			return known
		}
	}
	return ""
}
