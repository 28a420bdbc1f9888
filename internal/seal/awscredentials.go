package seal

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
)

// awsCredentials finds credentials where AWS puts them for servers, in the order of
// AWS's own programs:
//
//   - AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN;
//   - AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN: a Kubernetes service account's role;
//   - AWS_CONTAINER_CREDENTIALS_FULL_URI or _RELATIVE_URI: the role of an ECS task or
//     an EKS pod;
//   - the role of an EC2 instance.
//
// The files in ~/.aws, which are for people, aren't read: the SDK's package for them
// would make the program 3 MB larger.
type awsCredentials struct {
	http *http.Client
	sts  string // the endpoint of AWS STS
}

// Retrieve implements aws.CredentialsProvider. It looks up the credentials each time,
// since calls are rare.
func (c awsCredentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	env := aws.Credentials{
		AccessKeyID:     os.Getenv("AWS_ACCESS_KEY_ID"),
		SecretAccessKey: os.Getenv("AWS_SECRET_ACCESS_KEY"),
		SessionToken:    os.Getenv("AWS_SESSION_TOKEN"),
	}
	if env.HasKeys() {
		return env, nil
	}
	if file, role := os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE"), os.Getenv("AWS_ROLE_ARN"); file != "" && role != "" {
		return c.webIdentity(ctx, file, role)
	}
	endpoint := os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
	if path := os.Getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"); path != "" {
		endpoint = "http://169.254.170.2" + path
	}
	if endpoint != "" {
		return c.container(ctx, endpoint)
	}
	return ec2rolecreds.New(func(o *ec2rolecreds.Options) {
		o.Client = imds.New(imds.Options{HTTPClient: c.http})
	}).Retrieve(ctx)
}

// webIdentity exchanges a token for a role's credentials with AWS STS.
func (c awsCredentials) webIdentity(ctx context.Context, file, role string) (aws.Credentials, error) {
	token, err := os.ReadFile(file)
	if err != nil {
		return aws.Credentials{}, err
	}
	session := os.Getenv("AWS_ROLE_SESSION_NAME")
	if session == "" {
		session = "fluxkeep"
	}
	form := url.Values{
		"Action": {"AssumeRoleWithWebIdentity"}, "Version": {"2011-06-15"},
		"RoleArn": {role}, "RoleSessionName": {session}, "WebIdentityToken": {strings.TrimSpace(string(token))},
	}
	req, err := newRequest(ctx, http.MethodPost, c.sts, strings.NewReader(form.Encode()))
	if err != nil {
		return aws.Credentials{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, text, err := exchange(c.http, req)
	if err != nil {
		return aws.Credentials{}, err
	}
	defer clear(text)
	if resp.StatusCode != http.StatusOK {
		return aws.Credentials{}, fmt.Errorf("AWS STS refuses the token of AWS_WEB_IDENTITY_TOKEN_FILE for the role %s (status %d)", role, resp.StatusCode)
	}
	var a struct {
		AccessKeyID     string `xml:"AssumeRoleWithWebIdentityResult>Credentials>AccessKeyId"`
		SecretAccessKey string `xml:"AssumeRoleWithWebIdentityResult>Credentials>SecretAccessKey"`
		SessionToken    string `xml:"AssumeRoleWithWebIdentityResult>Credentials>SessionToken"`
	}
	if err := xml.Unmarshal(text, &a); err != nil || a.AccessKeyID == "" || a.SecretAccessKey == "" {
		return aws.Credentials{}, errors.New("the response of AWS STS has no credentials")
	}
	return aws.Credentials{AccessKeyID: a.AccessKeyID, SecretAccessKey: a.SecretAccessKey, SessionToken: a.SessionToken}, nil
}

// containerHosts are the addresses of ECS's and EKS's agents, which speak HTTP.
var containerHosts = []netip.Addr{
	netip.MustParseAddr("169.254.170.2"), netip.MustParseAddr("169.254.170.23"), netip.MustParseAddr("fd00:ec2::23"),
}

// container gets credentials from a container's agent.
func (c awsCredentials) container(ctx context.Context, endpoint string) (aws.Credentials, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return aws.Credentials{}, errors.New("AWS_CONTAINER_CREDENTIALS_FULL_URI is not a URL")
	}
	if u.Scheme != "https" {
		ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
		if err != nil {
			return aws.Credentials{}, err
		}
		for _, ip := range ips {
			if ip = ip.Unmap(); !ip.IsLoopback() && !slices.Contains(containerHosts, ip) {
				return aws.Credentials{}, fmt.Errorf("AWS_CONTAINER_CREDENTIALS_FULL_URI with http must name this machine or an agent of ECS or EKS, not %q", u.Hostname())
			}
		}
	}
	req, err := newRequest(ctx, http.MethodGet, endpoint, nil)
	if err != nil {
		return aws.Credentials{}, err
	}
	token := os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN")
	if file := os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"); file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return aws.Credentials{}, err
		}
		token = strings.TrimSpace(string(text))
	}
	if token != "" {
		req.Header.Set("Authorization", token)
	}
	resp, text, err := exchange(c.http, req)
	if err != nil {
		return aws.Credentials{}, err
	}
	defer clear(text)
	if resp.StatusCode != http.StatusOK {
		return aws.Credentials{}, fmt.Errorf("the container's agent at %s gives no credentials (status %d)", u.Host, resp.StatusCode)
	}
	var a struct{ AccessKeyID, SecretAccessKey, Token string }
	if err := json.Unmarshal(text, &a); err != nil || a.AccessKeyID == "" || a.SecretAccessKey == "" {
		return aws.Credentials{}, fmt.Errorf("the response of the container's agent at %s has no credentials", u.Host)
	}
	return aws.Credentials{AccessKeyID: a.AccessKeyID, SecretAccessKey: a.SecretAccessKey, SessionToken: a.Token}, nil
}
