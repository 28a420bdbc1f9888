package seal

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"regexp"

	"github.com/tink-crypto/tink-go/v2/tink"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
)

// GCPKMSConfig names a symmetric key in Google Cloud KMS. The caller's
// identity, from the Application Default Credentials, needs the role Cloud KMS
// CryptoKey Encrypter/Decrypter on it.
type GCPKMSConfig struct {
	Key      string       // required: projects/…/locations/…/keyRings/…/cryptoKeys/…
	Endpoint string       `json:"-"` // if empty, the public one of the credentials' universe
	Client   *http.Client `json:"-"` // if nil, a client with a timeout of 30 s
}

// GCPKMS is a provider with a key in Google Cloud KMS.
type GCPKMS struct {
	shown
	name string
	aead *gcpKey
}

var _ Provider = (*GCPKMS)(nil)

// gcpScope also allows impersonation. The role limits what the credentials can
// do.
const gcpScope = "https://www.googleapis.com/auth/cloud-platform"

var gcpKeyName = regexp.MustCompile(
	`^projects/[a-z0-9][a-z0-9.:-]*/locations/[a-z0-9-]+/keyRings/[A-Za-z0-9_-]{1,63}/cryptoKeys/[A-Za-z0-9_-]{1,63}$`)

// NewGCPKMS returns a provider for a key in Google Cloud KMS. It sends nothing
// until its first use.
func NewGCPKMS(c GCPKMSConfig) (*GCPKMS, error) {
	if !gcpKeyName.MatchString(c.Key) {
		return nil, fmt.Errorf("gcp-kms: %q is not of the form projects/…/locations/…/keyRings/…/cryptoKeys/…", c.Key)
	}
	return &GCPKMS{
		shown: shown{KindGCPKMS + " key " + c.Key},
		name:  c.Key,
		aead:  &gcpKey{name: c.Key, endpoint: c.Endpoint, http: serviceClient(c.Client)},
	}, nil
}

// Kind returns KindGCPKMS.
func (p *GCPKMS) Kind() string { return KindGCPKMS }

// Key returns the key.
func (p *GCPKMS) Key(context.Context) (KeyRef, tink.AEADWithContext, error) {
	return KeyRef{ID: p.name}, p.aead, nil
}

// KeyFor returns the key if its name is in ref.
func (p *GCPKMS) KeyFor(_ context.Context, ref KeyRef) (tink.AEADWithContext, error) {
	if ref.ID != p.name {
		return nil, wrongKey(KindGCPKMS+" key "+ref.ID, p.String())
	}
	return p.aead, nil
}

// gcpKey implements the two methods of the Cloud KMS REST API that it needs.
type gcpKey struct {
	name     string
	endpoint string
	http     *http.Client
}

var _ tink.AEADWithContext = (*gcpKey)(nil)

// The bodies. Google's JSON has bytes in base64, like encoding/json, and
// 64-bit numbers as strings.
type (
	gcpEncryptRequest struct {
		Plaintext         []byte `json:"plaintext"`
		PlaintextCRC      int64  `json:"plaintextCrc32c,string"`
		AssociatedData    []byte `json:"additionalAuthenticatedData"`
		AssociatedDataCRC int64  `json:"additionalAuthenticatedDataCrc32c,string"`
	}
	gcpEncryptAnswer struct {
		Ciphertext                []byte `json:"ciphertext"`
		CiphertextCRC             int64  `json:"ciphertextCrc32c,string"`
		VerifiedPlaintextCRC      bool   `json:"verifiedPlaintextCrc32c"`
		VerifiedAssociatedDataCRC bool   `json:"verifiedAdditionalAuthenticatedDataCrc32c"`
	}
	gcpDecryptRequest struct {
		Ciphertext        []byte `json:"ciphertext"`
		CiphertextCRC     int64  `json:"ciphertextCrc32c,string"`
		AssociatedData    []byte `json:"additionalAuthenticatedData"`
		AssociatedDataCRC int64  `json:"additionalAuthenticatedDataCrc32c,string"`
	}
	gcpDecryptAnswer struct {
		Plaintext    []byte `json:"plaintext"`
		PlaintextCRC int64  `json:"plaintextCrc32c,string"`
	}
	gcpErrorAnswer struct {
		Error struct {
			Status string `json:"status"`
		} `json:"error"`
	}
)

func (k *gcpKey) EncryptWithContext(ctx context.Context, plaintext, associatedData []byte) ([]byte, error) {
	var a gcpEncryptAnswer
	err := k.post(ctx, "encrypt", &gcpEncryptRequest{
		Plaintext: plaintext, PlaintextCRC: crc32c(plaintext),
		AssociatedData: associatedData, AssociatedDataCRC: crc32c(associatedData),
	}, &a)
	switch {
	case err != nil:
		return nil, err
	case len(a.Ciphertext) == 0:
		return nil, errors.New("gcp-kms: the response has no ciphertext")
	case !a.VerifiedPlaintextCRC || !a.VerifiedAssociatedDataCRC || a.CiphertextCRC != crc32c(a.Ciphertext):
		return nil, errors.New("gcp-kms: the request or the response was damaged in transit: checksum mismatch")
	}
	return a.Ciphertext, nil
}

func (k *gcpKey) DecryptWithContext(ctx context.Context, ciphertext, associatedData []byte) ([]byte, error) {
	var a gcpDecryptAnswer
	err := k.post(ctx, "decrypt", &gcpDecryptRequest{
		Ciphertext: ciphertext, CiphertextCRC: crc32c(ciphertext),
		AssociatedData: associatedData, AssociatedDataCRC: crc32c(associatedData),
	}, &a)
	switch {
	case err != nil:
		return nil, err
	case len(a.Plaintext) == 0:
		return nil, errors.New("gcp-kms: the response has no plaintext")
	case a.PlaintextCRC != crc32c(a.Plaintext):
		return nil, errors.New("gcp-kms: the response was damaged in transit: checksum mismatch")
	}
	return a.Plaintext, nil
}

func (k *gcpKey) post(ctx context.Context, method string, request, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, serviceTimeout)
	defer cancel()
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("gcp-kms: encode the request: %w", err)
	}
	defer clear(body)
	req, err := k.authorized(ctx, method, body)
	if err != nil {
		return fmt.Errorf("gcp-kms: %w", err)
	}
	resp, text, err := exchange(k.http, req)
	if err != nil {
		return fmt.Errorf("gcp-kms: %w", err)
	}
	defer clear(text)
	if resp.StatusCode != http.StatusOK {
		return gcpError(method, resp, text)
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return errors.New("gcp-kms: the response is malformed")
	}
	return nil
}

// authorized makes a request with an access token. It looks up the credentials
// each time: calls are rare, and a token source is bound to the context that
// it was created with.
func (k *gcpKey) authorized(ctx context.Context, method string, body []byte) (*http.Request, error) {
	client := *k.http
	client.Transport = &boundTransport{ctx, k.http.Transport}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, &client)
	credentials, err := google.FindDefaultCredentials(ctx, gcpScope)
	if err != nil {
		return nil, fmt.Errorf("find the credentials: %w", err)
	}
	token, err := credentials.TokenSource.Token()
	if refused := (*oauth2.RetrieveError)(nil); errors.As(err, &refused) {
		// The error's own message contains the whole response.
		return nil, fmt.Errorf("get an access token: the credentials were refused (status %d)", refused.Response.StatusCode)
	}
	if err != nil {
		return nil, fmt.Errorf("get an access token: %w", err)
	}
	endpoint := k.endpoint
	if endpoint == "" {
		universe, err := credentials.GetUniverseDomain()
		if err != nil {
			return nil, fmt.Errorf("find the endpoint: %w", err)
		}
		endpoint = "https://cloudkms." + universe
	}
	req, err := newRequest(ctx, http.MethodPost, endpoint+"/v1/"+k.name+":"+method, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	token.SetAuthHeader(req)
	req.Header.Set("Content-Type", "application/json")
	if project := quotaProject(credentials.JSON); project != "" {
		req.Header.Set("X-Goog-User-Project", project)
	}
	return req, nil
}

// boundTransport sends every request with its context, because package oauth2
// sends some without one.
type boundTransport struct {
	ctx  context.Context
	base http.RoundTripper // http.DefaultTransport if nil
}

func (t *boundTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	base := t.base
	if base == nil {
		base = http.DefaultTransport
	}
	return base.RoundTrip(r.WithContext(t.ctx))
}

// quotaProject returns the project that a user's credentials name for billing;
// a service account needs none.
func quotaProject(credentials []byte) string {
	var file struct {
		QuotaProject string `json:"quota_project_id"`
	}
	if err := json.Unmarshal(credentials, &file); err != nil {
		return ""
	}
	return file.QuotaProject
}

// gcpError explains a failed request. Like transitError, it never shows the
// service's own text.
func gcpError(method string, resp *http.Response, text []byte) error {
	if isRedirect(resp) {
		return fmt.Errorf("gcp-kms: %w", redirectError(resp))
	}
	var a gcpErrorAnswer
	_ = json.Unmarshal(text, &a) // without a status, the number has to suffice
	if method == "decrypt" && a.Error.Status == "INVALID_ARGUMENT" {
		// KMS gives this answer to a changed ciphertext, to other associated
		// data, and to a different key of the same name.
		return fmt.Errorf("%w, or %w: the Cloud KMS key of this name cannot decrypt it", ErrWrongKey, ErrDamaged)
	}
	meaning := map[string]string{
		"FAILED_PRECONDITION": "the key, or its version, is disabled or destroyed",
		"NOT_FOUND":           "the key does not exist",
		"PERMISSION_DENIED": "the key does not exist, its API is not enabled, or the credentials lack the role Cloud KMS CryptoKey " +
			"Encrypter/Decrypter on it",
		"RESOURCE_EXHAUSTED": "the project's quota is exhausted",
		"UNAUTHENTICATED":    "the credentials are not valid",
		"UNAVAILABLE":        "the service is not available",
	}[a.Error.Status]
	return fmt.Errorf("gcp-kms: %s failed (status %d): %s", method, resp.StatusCode, cmp.Or(meaning, "unknown reason"))
}

func crc32c(b []byte) int64 { return int64(crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))) }
