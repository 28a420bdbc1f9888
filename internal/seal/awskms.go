package seal

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssigner "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// AWSKMSConfig names a symmetric key in AWS KMS. The caller's identity needs
// kms:Encrypt and kms:Decrypt on it.
type AWSKMSConfig struct {
	KeyARN      string                  // required: the full ARN of a key or an alias, which contains the region
	Endpoint    string                  `json:"-"` // if empty, that of the environment or the region
	Client      *http.Client            `json:"-"` // if nil, a client with a timeout of 30 s
	Credentials aws.CredentialsProvider `json:"-"` // if nil, those of the environment or the machine
}

// AWSKMS is a provider with a key in AWS KMS.
type AWSKMS struct {
	shown
	arn  string
	aead *awsKey
}

var _ Provider = (*AWSKMS)(nil)

var awsKeyARN = regexp.MustCompile(`^arn:(aws[a-z-]*):kms:([a-z0-9-]+):[0-9]{12}:(key|alias)/[A-Za-z0-9/_-]+$`)

// NewAWSKMS returns a provider for a key in AWS KMS. It sends nothing until
// its first use.
func NewAWSKMS(c AWSKMSConfig) (*AWSKMS, error) {
	parts := awsKeyARN.FindStringSubmatch(c.KeyARN)
	if parts == nil {
		return nil, fmt.Errorf("aws-kms: %q is not of the form arn:aws:kms:region:account:key/id", c.KeyARN)
	}
	key := &awsKey{
		arn:         c.KeyARN,
		region:      parts[2],
		endpoint:    cmp.Or(c.Endpoint, awsEndpoint("kms", parts[1], parts[2])),
		http:        serviceClient(c.Client),
		credentials: c.Credentials,
	}
	if key.credentials == nil {
		key.credentials = awsCredentials{http: key.http, sts: awsEndpoint("sts", parts[1], parts[2])}
	}
	return &AWSKMS{shown: shown{KindAWSKMS + " key " + c.KeyARN}, arn: c.KeyARN, aead: key}, nil
}

// awsEndpoint returns a service's address in a region. Like AWS's own programs, it
// follows AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_KMS or _STS, and AWS_USE_FIPS_ENDPOINT.
func awsEndpoint(service, partition, region string) string {
	if url := cmp.Or(os.Getenv("AWS_ENDPOINT_URL_"+strings.ToUpper(service)), os.Getenv("AWS_ENDPOINT_URL")); url != "" {
		return url
	}
	domain := map[string]string{
		"aws-cn":    "amazonaws.com.cn",
		"aws-eusc":  "amazonaws.eu",
		"aws-iso":   "c2s.ic.gov",
		"aws-iso-b": "sc2s.sgov.gov",
		"aws-iso-e": "cloud.adc-e.uk",
		"aws-iso-f": "csp.hci.ic.gov",
	}[partition]
	if os.Getenv("AWS_USE_FIPS_ENDPOINT") == "true" {
		service += "-fips"
	}
	return "https://" + service + "." + region + "." + cmp.Or(domain, "amazonaws.com")
}

// Kind returns KindAWSKMS.
func (p *AWSKMS) Kind() string { return KindAWSKMS }

// Key returns the key.
func (p *AWSKMS) Key(context.Context) (KeyRef, tink.AEADWithContext, error) {
	return KeyRef{ID: p.arn}, p.aead, nil
}

// KeyFor returns the key if its ARN is in ref.
func (p *AWSKMS) KeyFor(_ context.Context, ref KeyRef) (tink.AEADWithContext, error) {
	if ref.ID != p.arn {
		return nil, wrongKey(KindAWSKMS+" key "+ref.ID, p.String())
	}
	return p.aead, nil
}

// awsKey implements the two actions of the AWS KMS API that it needs.
type awsKey struct {
	arn, region, endpoint string
	http                  *http.Client
	credentials           aws.CredentialsProvider
}

var _ tink.AEADWithContext = (*awsKey)(nil)

// awsBody is the body of requests and answers. AWS's JSON has bytes in base64, like
// encoding/json.
type awsBody struct {
	KeyID      string            `json:"KeyId,omitempty"`
	Plaintext  []byte            `json:",omitempty"`
	Ciphertext []byte            `json:"CiphertextBlob,omitempty"`
	Context    map[string]string `json:"EncryptionContext,omitempty"`
}

// awsContext is the encryption context for associated data, which has to be text.
// Tink's integration of AWS KMS uses the same.
func awsContext(associatedData []byte) map[string]string {
	return map[string]string{"associatedData": hex.EncodeToString(associatedData)}
}

func (k *awsKey) EncryptWithContext(ctx context.Context, plaintext, associatedData []byte) ([]byte, error) {
	a, err := k.post(ctx, "Encrypt", awsBody{KeyID: k.arn, Plaintext: plaintext, Context: awsContext(associatedData)})
	if err == nil && len(a.Ciphertext) == 0 {
		err = errors.New("aws-kms: the response has no ciphertext")
	}
	return a.Ciphertext, err
}

func (k *awsKey) DecryptWithContext(ctx context.Context, ciphertext, associatedData []byte) ([]byte, error) {
	a, err := k.post(ctx, "Decrypt", awsBody{KeyID: k.arn, Ciphertext: ciphertext, Context: awsContext(associatedData)})
	if err == nil && len(a.Plaintext) == 0 {
		err = errors.New("aws-kms: the response has no plaintext")
	}
	return a.Plaintext, err
}

func (k *awsKey) post(ctx context.Context, action string, request awsBody) (answer awsBody, err error) {
	ctx, cancel := context.WithTimeout(ctx, serviceTimeout)
	defer cancel()
	body, err := json.Marshal(request)
	if err != nil {
		return awsBody{}, fmt.Errorf("aws-kms: encode the request: %w", err)
	}
	defer clear(body)
	req, err := k.signed(ctx, action, body)
	if err != nil {
		return awsBody{}, fmt.Errorf("aws-kms: %w", err)
	}
	resp, text, err := exchange(k.http, req)
	if err != nil {
		return awsBody{}, fmt.Errorf("aws-kms: %w", err)
	}
	defer clear(text)
	if resp.StatusCode != http.StatusOK {
		return awsBody{}, awsError(action, resp, text)
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return awsBody{}, errors.New("aws-kms: the response is malformed")
	}
	return answer, nil
}

// signed returns a request with AWS's Signature Version 4.
func (k *awsKey) signed(ctx context.Context, action string, body []byte) (*http.Request, error) {
	credentials, err := k.credentials.Retrieve(ctx)
	if err != nil {
		return nil, fmt.Errorf("find the credentials: %w", err)
	}
	req, err := newRequest(ctx, http.MethodPost, k.endpoint, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", "TrentService."+action)
	hash := sha256.Sum256(body)
	err = awssigner.NewSigner().SignHTTP(ctx, credentials, req, hex.EncodeToString(hash[:]), "kms", k.region, time.Now())
	return req, err
}

// awsError explains a failed request. Like transitError, it never shows the
// service's own text.
func awsError(action string, resp *http.Response, text []byte) error {
	if isRedirect(resp) {
		return fmt.Errorf("aws-kms: %w", redirectError(resp))
	}
	var a struct {
		Type string `json:"__type"`
	}
	_ = json.Unmarshal(text, &a) // without a type, the number has to suffice
	code := a.Type[strings.LastIndexByte(a.Type, '#')+1:]
	switch code {
	case "IncorrectKeyException":
		return fmt.Errorf("%w: the AWS KMS key is not the one that encrypted it", ErrWrongKey)
	case "InvalidCiphertextException":
		// KMS finds the key by the ciphertext, so the ciphertext or its
		// context was changed.
		return fmt.Errorf("%w: the AWS KMS key does not accept it", ErrDamaged)
	}
	meaning := map[string]string{
		"AccessDeniedException":        "the credentials lack kms:" + action + " on the key, or the key does not exist",
		"DependencyTimeoutException":   "the service is not available",
		"DisabledException":            "the key is disabled",
		"ExpiredTokenException":        "the credentials have expired",
		"IncompleteSignatureException": "the credentials are not valid",
		"InvalidSignatureException":    "the credentials are not valid, or the clock is wrong",
		"KeyUnavailableException":      "the service is not available",
		"KMSInternalException":         "the service is not available",
		"KMSInvalidStateException":     "the key is disabled or about to be deleted",
		"LimitExceededException":       "the account's quota is exhausted",
		"NotFoundException":            "the key does not exist",
		"ThrottlingException":          "the account sends too many requests",
		"UnrecognizedClientException":  "the credentials are not valid",
		"InvalidKeyUsageException":     "the key is not for encryption",
	}[code]
	return fmt.Errorf("aws-kms: %s failed (status %d): %s", action, resp.StatusCode, cmp.Or(meaning, "unknown reason"))
}
