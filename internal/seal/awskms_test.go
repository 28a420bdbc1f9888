package seal_test

import (
	"bytes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssigner "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/fluxkeep/fluxkeep/internal/seal"
)

const (
	awsKey      = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	awsOtherKey = "arn:aws:kms:eu-central-1:111122223333:alias/another"
)

// awsIdentity is the only identity that the fake knows.
var awsIdentity = aws.Credentials{AccessKeyID: "AKIAMARKER", SecretAccessKey: "marker-secret-key", SessionToken: "marker-session"}

// awsFake implements Encrypt and Decrypt as documented for KMS: the ciphertext
// names its key, the encryption context is authenticated, a plaintext has at most
// 4096 bytes, and requests are signed.
type awsFake struct {
	server *httptest.Server

	mu     sync.Mutex
	keys   map[string]cipher.AEAD
	answer func(http.ResponseWriter, *http.Request) // if set, replaces the answers
}

// newAWSFake starts the fake, and puts its identity into the environment.
func newAWSFake(t testing.TB) *awsFake {
	t.Helper()
	f := &awsFake{keys: make(map[string]cipher.AEAD)}
	f.server = httptest.NewServer(http.HandlerFunc(f.kms))
	t.Cleanup(f.server.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", awsIdentity.AccessKeyID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", awsIdentity.SecretAccessKey)
	t.Setenv("AWS_SESSION_TOKEN", awsIdentity.SessionToken)
	return f
}

func (f *awsFake) config(arn string) seal.AWSKMSConfig {
	return seal.AWSKMSConfig{KeyARN: arn, Endpoint: f.server.URL}
}

func (f *awsFake) provider(t testing.TB, arn string) *seal.AWSKMS {
	t.Helper()
	p, err := seal.NewAWSKMS(f.config(arn))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (f *awsFake) set(answer func(http.ResponseWriter, *http.Request)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

func (f *awsFake) key(arn string) cipher.AEAD {
	if f.keys[arn] == nil {
		f.keys[arn] = newAESGCM()
	}
	return f.keys[arn]
}

func (f *awsFake) kms(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(err)
	}
	if f.answer != nil {
		f.answer(w, r)
		return
	}
	if !awsSigned(r, body) {
		awsFail(w, "InvalidSignatureException")
		return
	}
	var in struct {
		KeyID             string `json:"KeyId"`
		Plaintext         []byte
		CiphertextBlob    []byte
		EncryptionContext map[string]string
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	// KMS itself would accept a request without a context.
	if err := d.Decode(&in); err != nil || len(in.EncryptionContext) == 0 {
		awsFail(w, "ValidationException")
		return
	}
	ad, err := json.Marshal(in.EncryptionContext)
	if err != nil {
		panic(err)
	}
	switch target := r.Header.Get("X-Amz-Target"); target {
	case "TrentService.Encrypt":
		if len(in.Plaintext) == 0 || len(in.Plaintext) > 4096 {
			awsFail(w, "ValidationException")
			return
		}
		blob := append([]byte(in.KeyID+"\n"), f.key(in.KeyID).Seal(nil, nil, in.Plaintext, ad)...)
		json.NewEncoder(w).Encode(map[string]any{"CiphertextBlob": blob, "KeyId": in.KeyID, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"})
	case "TrentService.Decrypt":
		arn, rest, ok := bytes.Cut(in.CiphertextBlob, []byte("\n"))
		if !ok || f.keys[string(arn)] == nil {
			awsFail(w, "InvalidCiphertextException")
			return
		}
		if string(arn) != in.KeyID {
			awsFail(w, "IncorrectKeyException")
			return
		}
		plaintext, err := f.keys[string(arn)].Open(nil, nil, rest, ad)
		if err != nil {
			awsFail(w, "InvalidCiphertextException")
			return
		}
		json.NewEncoder(w).Encode(map[string]any{"Plaintext": plaintext, "KeyId": in.KeyID, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"})
	default:
		awsFail(w, "UnknownOperationException")
	}
}

// awsSigned reports whether the SDK's signer makes the request's signature.
func awsSigned(r *http.Request, body []byte) bool {
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil {
		return false
	}
	again := httptest.NewRequest(r.Method, "http://"+r.Host+r.URL.Path, bytes.NewReader(body))
	for _, name := range []string{"Content-Type", "X-Amz-Target"} {
		again.Header.Set(name, r.Header.Get(name))
	}
	hash := sha256.Sum256(body)
	if err := awssigner.NewSigner().SignHTTP(r.Context(), awsIdentity, again, hex.EncodeToString(hash[:]), "kms", "eu-central-1", at); err != nil {
		return false
	}
	return r.Header.Get("Authorization") == again.Header.Get("Authorization")
}

// awsFail answers with an error like KMS. Its message repeats the credential, as a
// proxy's might.
func awsFail(w http.ResponseWriter, code string) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(http.StatusBadRequest)
	fmt.Fprintf(w, `{"__type": "com.amazonaws.kms#%s", "message": "%s %s"}`, code, awsIdentity.SecretAccessKey, awsIdentity.SessionToken)
}

func TestAWSKMSAnswers(t *testing.T) {
	f := newAWSFake(t)
	p := f.provider(t, awsKey)
	wrapped := mustWrap(t, newKeys(t), p)
	fail := func(code string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) { awsFail(w, code) }
	}
	write := func(body string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) }
	}
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request)
		want   error // one of our own
		says   string
	}{
		"throttled":       {fail("ThrottlingException"), nil, "too many requests"},
		"disabled":        {fail("DisabledException"), nil, "disabled"},
		"not found":       {fail("NotFoundException"), nil, "does not exist"},
		"not allowed":     {fail("AccessDeniedException"), nil, "lack kms:"},
		"incorrect key":   {fail("IncorrectKeyException"), seal.ErrWrongKey, ""},
		"another context": {fail("InvalidCiphertextException"), seal.ErrDamaged, ""},
		"unknown":         {fail("NewException"), nil, "status 400"},
		"a proxy's error": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "marker-secret-key", http.StatusBadGateway)
		}, nil, "status 502"},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://example.com", http.StatusTemporaryRedirect)
		}, nil, "example.com"},
		"not JSON":            {write("<html>"), nil, "malformed"},
		"nothing":             {write("{}"), nil, "the response has no"},
		"an endless answer":   {write(strings.Repeat(" ", 1<<21)), nil, "too large"},
		"a broken off answer": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, nil, "EOF"},
	} {
		f.set(c.answer)
		_, err := seal.Load(t.Context(), wrapped, p)
		_, wrapErr := newKeys(t).Wrap(t.Context(), p)
		for _, err := range []error{err, wrapErr} {
			if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "marker") {
				t.Errorf("%s: %v, want an error with %q", name, err, c.says)
			}
		}
		for _, ours := range []error{seal.ErrWrongKey, seal.ErrDamaged} {
			if errors.Is(err, ours) != (ours == c.want) {
				t.Errorf("%s: %v, want %v", name, err, c.want)
			}
		}
	}
}

func TestNewAWSKMSRefuses(t *testing.T) {
	for _, arn := range []string{
		"", "alias/fluxkeep", "1234abcd-12ab-34cd-56ef-1234567890ab", "arn:aws:s3:::bucket",
		"arn:aws:kms:eu-central-1:111122223333:key/", "aws-kms://" + awsKey, awsKey + "\n",
	} {
		if _, err := seal.NewAWSKMS(seal.AWSKMSConfig{KeyARN: arn}); err == nil {
			t.Errorf("%q was accepted", arn)
		}
	}
}

// TestAWSCredentials uses the credentials that AWS gives to servers, one kind at a
// time.
func TestAWSCredentials(t *testing.T) {
	f := newAWSFake(t)
	wrapped := mustWrap(t, newKeys(t), f.provider(t, awsKey))
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("marker-token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	identity := fmt.Sprintf(`{"Code": "Success", "AccessKeyId": %q, "SecretAccessKey": %q, "Token": %q, "Expiration": "2100-01-01T00:00:00Z"}`,
		awsIdentity.AccessKeyID, awsIdentity.SecretAccessKey, awsIdentity.SessionToken)

	// The addresses at which AWS gives credentials.
	mux := http.NewServeMux()
	mux.HandleFunc("POST /sts", func(w http.ResponseWriter, r *http.Request) {
		if r.PostFormValue("Action") != "AssumeRoleWithWebIdentity" || r.PostFormValue("WebIdentityToken") != "marker-token" || r.PostFormValue("RoleArn") != "arn:role" {
			http.Error(w, "marker-token", http.StatusForbidden)
			return
		}
		fmt.Fprintf(w, `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials>`+
			`<AccessKeyId>%s</AccessKeyId><SecretAccessKey>%s</SecretAccessKey><SessionToken>%s</SessionToken>`+
			`</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`,
			awsIdentity.AccessKeyID, awsIdentity.SecretAccessKey, awsIdentity.SessionToken)
	})
	mux.HandleFunc("GET /container", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "marker-token" {
			http.Error(w, "marker-token", http.StatusForbidden)
			return
		}
		io.WriteString(w, identity)
	})
	for path, answer := range map[string]string{"null": "null", "half": identity[:len(identity)/2]} {
		mux.HandleFunc("GET /"+path, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, answer) })
	}
	mux.HandleFunc("GET /elsewhere", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/container", http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("GET /refuses", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, "null")
	})
	mux.HandleFunc("PUT /latest/api/token", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
		io.WriteString(w, "session")
	})
	mux.HandleFunc("GET /latest/meta-data/iam/security-credentials/", func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/role") {
			io.WriteString(w, identity)
			return
		}
		io.WriteString(w, "role")
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)

	type env map[string]string
	for name, c := range map[string]struct {
		env  env
		says string // the error, "" for none
	}{
		"keys":         {env{"AWS_ACCESS_KEY_ID": awsIdentity.AccessKeyID, "AWS_SECRET_ACCESS_KEY": awsIdentity.SecretAccessKey, "AWS_SESSION_TOKEN": awsIdentity.SessionToken}, ""},
		"other keys":   {env{"AWS_ACCESS_KEY_ID": "AKIAOTHER", "AWS_SECRET_ACCESS_KEY": "other"}, "credentials are not valid"},
		"web identity": {env{"AWS_WEB_IDENTITY_TOKEN_FILE": file, "AWS_ROLE_ARN": "arn:role", "AWS_ENDPOINT_URL_STS": server.URL + "/sts"}, ""},
		"web identity of another role": {env{"AWS_WEB_IDENTITY_TOKEN_FILE": file, "AWS_ROLE_ARN": "arn:other", "AWS_ENDPOINT_URL_STS": server.URL + "/sts"},
			"refuses the token"},
		"web identity, invalid address": {env{"AWS_WEB_IDENTITY_TOKEN_FILE": file, "AWS_ROLE_ARN": "arn:role", "AWS_ENDPOINT_URL_STS": "https://ann:marker%zz@sts"},
			"not a valid URL"},
		"container":                 {env{"AWS_CONTAINER_CREDENTIALS_FULL_URI": server.URL + "/container", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": file}, ""},
		"container, token":          {env{"AWS_CONTAINER_CREDENTIALS_FULL_URI": server.URL + "/container", "AWS_CONTAINER_AUTHORIZATION_TOKEN": "marker-token"}, ""},
		"container far away":        {env{"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://192.0.2.1/container"}, "this machine or an agent"},
		"container, other token":    {env{"AWS_CONTAINER_CREDENTIALS_FULL_URI": server.URL + "/container", "AWS_CONTAINER_AUTHORIZATION_TOKEN": "other"}, "(status 403)"},
		"container, no answer":      {env{"AWS_CONTAINER_CREDENTIALS_FULL_URI": server.URL + "/null"}, "no credentials"},
		"container, half an answer": {env{"AWS_CONTAINER_CREDENTIALS_FULL_URI": server.URL + "/half"}, "no credentials"},
		"container, refusal":        {env{"AWS_CONTAINER_CREDENTIALS_FULL_URI": server.URL + "/refuses"}, "(status 403)"},
		"container, redirect":       {env{"AWS_CONTAINER_CREDENTIALS_FULL_URI": server.URL + "/elsewhere", "AWS_CONTAINER_AUTHORIZATION_TOKEN": "marker-token"}, "(status 307)"},
		"container, token in lines": {env{"AWS_CONTAINER_CREDENTIALS_FULL_URI": server.URL + "/container", "AWS_CONTAINER_AUTHORIZATION_TOKEN": "marker\ntoken"}, "invalid header"},
		"instance":                  {env{"AWS_EC2_METADATA_SERVICE_ENDPOINT": server.URL}, ""},
		"nothing, on no instance":   {env{"AWS_EC2_METADATA_DISABLED": "true"}, "find the credentials"},
		"a token file that is gone": {env{"AWS_WEB_IDENTITY_TOKEN_FILE": file + "2", "AWS_ROLE_ARN": "arn:role"}, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, variable := range os.Environ() {
				if variable, _, _ := strings.Cut(variable, "="); strings.HasPrefix(variable, "AWS_") {
					t.Setenv(variable, "")
				}
			}
			for variable, value := range c.env {
				t.Setenv(variable, value)
			}
			_, err := seal.Load(t.Context(), wrapped, f.provider(t, awsKey))
			switch {
			case c.says == "" && err != nil:
				t.Error(err)
			case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "marker")):
				t.Errorf("error %v, want one with %q", err, c.says)
			}
		})
	}
}

// TestAWSEndpoint checks the address of the key's region.
func TestAWSEndpoint(t *testing.T) {
	for _, c := range []struct{ arn, variable, value, want string }{
		{awsKey, "", "", "https://kms.eu-central-1.amazonaws.com"},
		{"arn:aws-cn:kms:cn-north-1:111122223333:key/1", "", "", "https://kms.cn-north-1.amazonaws.com.cn"},
		{"arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/1", "AWS_USE_FIPS_ENDPOINT", "true", "https://kms-fips.us-gov-west-1.amazonaws.com"},
		{awsKey, "AWS_ENDPOINT_URL_KMS", "http://localhost:4566", "http://localhost:4566"},
		{awsKey, "AWS_ENDPOINT_URL", "http://localhost:4566", "http://localhost:4566"},
	} {
		t.Run(c.want, func(t *testing.T) {
			if c.variable != "" {
				t.Setenv(c.variable, c.value)
			}
			newAWSFake(t) // for its identity
			asked := ""
			p, err := seal.NewAWSKMS(seal.AWSKMSConfig{KeyARN: c.arn, Client: &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				asked = r.URL.String()
				return nil, errors.New("not sent")
			})}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := newKeys(t).Wrap(t.Context(), p); err == nil || asked != c.want {
				t.Errorf("asked %q, %v, want %q", asked, err, c.want)
			}
		})
	}
}

// TestAWSInvalidEndpoint checks that an address that can't be used isn't repeated in an
// error.
func TestAWSInvalidEndpoint(t *testing.T) {
	newAWSFake(t) // for its identity
	t.Setenv("AWS_ENDPOINT_URL_KMS", "https://ann:marker%zz@kms")
	p, err := seal.NewAWSKMS(seal.AWSKMSConfig{KeyARN: awsKey})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newKeys(t).Wrap(t.Context(), p); err == nil || strings.Contains(err.Error(), "marker") {
		t.Errorf("wrapped with an invalid address: %v", err)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
