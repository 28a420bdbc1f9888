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

// TransitConfig locates a key in a transit engine of Vault or OpenBao. The
// token needs update on {mount}/encrypt/{key} and {mount}/decrypt/{key}. The
// key's type must support associated data: aes256-gcm96 (the default),
// aes128-gcm96, chacha20-poly1305 or xchacha20-poly1305. If a server ignores
// associated data, the document's inner layer still binds the header.
type TransitConfig struct {
	Address   string       // required: https://host:8200, including any path before /v1
	Token     Credential   // required; called for every request
	Key       string       // required: the key's name
	Mount     string       // "transit" if empty
	Namespace string       // none if empty
	Client    *http.Client `json:"-"` // if nil, a client with a timeout of 30 s

	// AllowHTTP permits an address without TLS on another machine. The token
	// and the key that opens the keyset then cross the network in plain text.
	AllowHTTP bool
}

// Transit is a provider with a key in a transit engine of Vault or OpenBao.
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

// NewTransit returns a provider for a transit key. It sends nothing until its
// first use.
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
		return nil, fmt.Errorf("transit: %q is not a valid key name", c.Key)
	case !transitPath.MatchString(mount) || hasDots(mount):
		return nil, fmt.Errorf("transit: %q is not a valid mount path", c.Mount)
	case namespace != "" && (!transitPath.MatchString(namespace) || hasDots(namespace)):
		return nil, fmt.Errorf("transit: %q is not a valid namespace", c.Namespace)
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
	// Do not show an address that does not parse, or with a user and perhaps a
	// password.
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http"):
		return nil, errors.New("transit: the address is not of the form https://host:port")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("transit: the address must have only a host and a path")
	case u.Scheme == "http" && !allowHTTP && !isLoopback(u.Hostname()):
		return nil, fmt.Errorf("transit: %s is on another machine, but does not use TLS", address)
	}
	return u, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Kind returns KindTransit.
func (t *Transit) Kind() string { return KindTransit }

// Key returns the key, which must exist.
func (t *Transit) Key(ctx context.Context) (KeyRef, tink.AEADWithContext, error) {
	if err := t.client.exists(ctx); err != nil {
		return KeyRef{}, nil, err
	}
	return KeyRef{ID: t.id}, t.client, nil
}

// KeyFor returns the key if its name is in ref. Only decryption shows whether
// this is the same engine.
func (t *Transit) KeyFor(_ context.Context, ref KeyRef) (tink.AEADWithContext, error) {
	if ref.ID != t.id {
		return nil, wrongKey(KindTransit+" key "+ref.ID, t.String())
	}
	return t.client, nil
}

// transitClient implements the two requests to the transit engine that it
// needs.
type transitClient struct {
	base      *url.URL // the mount
	mount     string
	key       string
	namespace string
	token     Credential
	http      *http.Client
}

var _ tink.AEADWithContext = (*transitClient)(nil)

// The bodies. encoding/json writes bytes in base64, as the engine expects. Its
// ciphertext is text: "vault:v1:…".
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
		return nil, errors.New("transit: the response has no ciphertext")
	}
	return []byte(a.Data.Ciphertext), nil
}

func (c *transitClient) DecryptWithContext(ctx context.Context, ciphertext, associatedData []byte) ([]byte, error) {
	a, err := c.post(ctx, "decrypt", transitDecryptRequest{Ciphertext: string(ciphertext), AssociatedData: associatedData})
	if err != nil {
		return nil, err
	}
	if len(a.Data.Plaintext) == 0 {
		return nil, errors.New("transit: the response has no plaintext")
	}
	return a.Data.Plaintext, nil
}

// exists makes sure that the key exists. If the token may create keys,
// encrypting creates a key of any name, including a misspelled one. Decrypting
// does not, and needs no additional permission: the answer to an invalid
// ciphertext depends on whether the key exists.
func (c *transitClient) exists(ctx context.Context) error {
	_, err := c.DecryptWithContext(ctx, []byte(transitProbe), []byte("fluxkeep"))
	var failure *transitFailure
	switch {
	case err == nil:
		return errors.New("transit: invalid response: the service decrypted a ciphertext that no key made")
	case errors.As(err, &failure) && failure.known == transitNoKey:
		return fmt.Errorf(`transit: key %q does not exist; check the name, or create it with "bao write -f %s/keys/%[1]s"`, c.key, c.mount)
	case errors.As(err, &failure) && failure.status == http.StatusBadRequest, errors.Is(err, ErrDamaged):
		return nil
	}
	return err
}

// transitProbe has the form of a ciphertext, with zeros as nonce, text and
// tag.
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
	req, err := newRequest(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("transit: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Vault-Token", string(token))
	req.Header.Set("X-Vault-Request", "true") // a Vault agent in between may require it
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
		return nil, errors.New("transit: the response is malformed")
	}
	if resp.StatusCode != http.StatusOK {
		return nil, transitError(operation, resp, a.Errors)
	}
	return a, nil
}

// transitError explains a failed request. It shows the server's own words only
// if they cannot contain a secret: a proxy that echoes a request must not leak
// the document key into a log.
func transitError(operation string, resp *http.Response, texts []string) error {
	said := strings.Join(texts, "; ")
	switch {
	case resp.StatusCode == http.StatusBadRequest && operation == "decrypt" && isTransitRefusal(said):
		return fmt.Errorf("%w, or %w: the transit key of this name at this address cannot decrypt it", ErrWrongKey, ErrDamaged)
	case resp.StatusCode == http.StatusForbidden:
		return fmt.Errorf("transit: %s is forbidden (status 403): the token is not valid or may not use this key", operation)
	case isRedirect(resp):
		return fmt.Errorf("transit: %w", redirectError(resp))
	case resp.StatusCode == http.StatusServiceUnavailable:
		return errors.New("transit: the server is sealed or not ready (status 503)")
	}
	return &transitFailure{operation, resp.StatusCode, knownTransitError(said)}
}

// transitFailure is an error with only a status and, if there is one, a known
// message.
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

// isTransitRefusal recognizes what Vault and OpenBao say when no key of that
// name made the ciphertext or the associated data.
func isTransitRefusal(said string) bool {
	return strings.Contains(said, "message authentication failed") || strings.Contains(said, "invalid ciphertext")
}

const transitNoKey = "encryption key not found"

// knownTransitError returns the server's message if it is one of the known
// helpful ones.
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
