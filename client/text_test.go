package client_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/fluxkeep/fluxkeep/client"
)

// TestInvalidText checks that text which JSON cannot represent is refused, not
// sent with replacements.
func TestInvalidText(t *testing.T) {
	c := newClient(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s was sent", r.Method, r.URL.Path)
	}))
	ctx := t.Context()
	const bad = "a\xffb"
	for name, call := range map[string]func() error{
		"value": func() error {
			_, err := c.WriteValues(ctx, "1", map[string]*string{"a": str(bad)}, nil)
			return err
		},
		"name to remove": func() error {
			_, err := c.WriteValues(ctx, "1", map[string]*string{bad: nil}, nil)
			return err
		},
		"values": func() error {
			_, err := c.ReplaceValues(ctx, "1", map[string]string{"a": bad}, nil)
			return err
		},
		"secret":   func() error { return c.SetSecrets(ctx, "1", map[string]string{"a": bad}) },
		"names":    func() error { return c.DeleteSecrets(ctx, "1", "a", bad) },
		"password": func() error { return c.SetPassword(ctx, "1", bad) },
		"user":     func() error { _, err := c.CreateUser(ctx, bad); return err },
		"token's names": func() error {
			_, err := c.CreateToken(ctx, client.NewToken{OrgID: "1", Names: []string{bad}})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := call(); !errors.Is(err, client.ErrInvalid) {
				t.Errorf("got %v", err)
			}
		})
	}
}
