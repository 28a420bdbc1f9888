package keep

import (
	"context"
	"strings"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/directory"
)

// SetupRequest describes the setup of a new server.
type SetupRequest struct {
	User     string
	Password string // may be empty: the user then can't sign in
	Org      string
	Token    string // empty: generate one
	// Bucket and Retention are sent by InfluxDB's clients. They are validated as
	// in InfluxDB but not stored.
	Bucket    string
	Retention time.Duration // 0: forever
}

// SetupResult has the objects that Setup created.
type SetupResult struct {
	User  User
	Org   Organization
	Token Token
}

// SetupAllowed reports whether the server has yet to be set up. It needs no
// permission.
func (k *Keep) SetupAllowed(ctx context.Context) (bool, error) {
	allowed := false
	err := k.readUnaudited(ctx, func(v *view) error {
		done, err := v.dir.IsSetUp()
		allowed = !done
		return err
	})
	return allowed, domain(err)
}

// Setup creates the first user, who owns the instance, the first organization and
// an operator token. It needs no permission, and works only once.
func (k *Keep) Setup(ctx context.Context, c Caller, q SetupRequest) (SetupResult, error) {
	var out SetupResult
	rec := c.record("setup", 0)
	refuse := func(err error) (SetupResult, error) { return SetupResult{}, k.recordOutcome(rec, k.now(), domain(err)) }
	// Check before hashing a password.
	if err := k.readUnaudited(ctx, func(v *view) error { return v.maySetup(&q) }); err != nil {
		return refuse(err)
	}
	var hashed []byte
	a := attempt{k.records.Hash("limiter-setup", ""), c.Origin.network()}
	if q.Password != "" {
		lane, err := k.attempt(ctx, a, "set up the server")
		if err != nil {
			return refuse(err)
		}
		if hashed, err = k.passwords.hash(ctx, lane, q.Password); err != nil {
			return refuse(err)
		}
	}
	value := q.Token
	if value == "" {
		value = directory.NewTokenValue()
	}
	err := k.update(ctx, rec, func(t *tx) error {
		if err := t.maySetup(&q); err != nil {
			return err
		}
		user, err := t.dir.NewUserID()
		if err != nil {
			return err
		}
		token, err := t.dir.NewTokenID()
		if err != nil {
			return err
		}
		org := acl.NewID()
		out.User = User{ID: user, Name: q.User, Active: true, Created: t.Now, Updated: t.Now}
		if err := t.dir.PutAccount(directory.Account{User: out.User, Owner: true, Password: hashed}); err != nil {
			return err
		}
		if out.Org, err = t.createOrg(org, q.Org, ""); err != nil {
			return err
		}
		if err := t.dir.PutMember(org, user, Owner); err != nil {
			return err
		}
		out.Token, err = t.dir.Describe(Token{
			ID: token, Org: org, User: user, Active: true, Description: q.User + "'s Token",
			Permissions: acl.Operator(), Created: t.Now, Updated: t.Now, Value: value,
		})
		if err != nil {
			return err
		}
		if err := t.dir.AddToken(out.Token); err != nil {
			return err
		}
		if err := q.checkBucket(); err != nil {
			return err
		}
		rec.Organization, rec.User, rec.Target = org.String(), user.String(), token.String()
		return nil
	})
	if err == nil && q.Password != "" {
		k.limiter.succeeded(k.now(), a)
	}
	return out, err
}

func (v *view) maySetup(q *SetupRequest) error {
	done, err := v.dir.IsSetUp()
	if err != nil {
		return err
	}
	if done {
		return errorf(CodeConflict, "onboarding has already been completed")
	}
	// Otherwise all users and organizations were removed from the disk.
	if err := v.verifyDirectory(); err != nil {
		return err
	}
	if err := q.missing(); err != nil {
		return err
	}
	if err := checkTokenValue(q.Token); err != nil {
		return err
	}
	return checkNewUserName(q.User)
}

// checkTokenValue refuses a token that can't be sent in an HTTP header.
func checkTokenValue(value string) error {
	switch {
	case len(value) > maxTokenValue:
		return errorf(CodeInvalid, "token is longer than %d bytes", maxTokenValue)
	case value != "" && !directory.IsTokenValue(value):
		return errorf(CodeInvalid, "token must not have control characters, or space around it")
	}
	return nil
}

const maxTokenValue = 1024

// checkBucket has InfluxDB's wording.
func (q SetupRequest) checkBucket() error {
	switch {
	case strings.HasPrefix(q.Bucket, "_"):
		return errorf(CodeInvalid, "bucket name %s is invalid. Buckets may not start with underscore", q.Bucket)
	case strings.Contains(q.Bucket, `"`):
		return errorf(CodeInvalid, "bucket name %s is invalid. Bucket names may not include quotation marks", q.Bucket)
	case q.Retention != 0 && q.Retention < minRetention:
		return errorf(CodeInvalid, "retention policy duration must be at least %s", minRetention)
	}
	return nil
}

const minRetention = time.Hour

func (q SetupRequest) missing() error {
	var fields []string
	for _, f := range []struct{ name, value string }{{"username", q.User}, {"org", q.Org}, {"bucket", q.Bucket}} {
		if f.value == "" {
			fields = append(fields, f.name)
		}
	}
	if len(fields) > 0 {
		return errorf(CodeUnprocessable, "onboarding failed: missing required fields [%s]", strings.Join(fields, ","))
	}
	return nil
}
