package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/spf13/cobra"
)

type tokenCreate struct {
	r                   *remote
	read, write         bool
	allAccess, operator bool
	description         string
	user                string
	expires             string
	names               []string
}

func newTokenCreateCommand(r *remote) *cobra.Command {
	c := tokenCreate{r: r}
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Create a token",
		Long: `Create a token for the organization and print it. It is shown only once: the server
stores a keyed hash of it.

Flags set its permissions. Use --read-secrets for a reader (Flux, Telegraf, "fluxkeep
run"), and --write-secrets for a program that only writes. A token can't have
permissions that the token you use doesn't have.

--name limits the token to secrets that match a pattern, in which * matches any text;
other secrets don't exist for it. --expires limits its lifetime, to a duration such as
12h, 30d or 2w, or until a date such as 2030-01-31 or 2030-01-31T12:00:00Z.

--quiet prints only the token.`,
		Example: `  # for a reader
  fluxkeep token create --read-secrets --description telegraf

  # read and write some secrets for 30 days
  fluxkeep token create --read-secrets --write-secrets --name 'db_*' --name smtp_password --expires 30d

  # into a file
  (umask 077 && fluxkeep token create --read-secrets --quiet > token)`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd) },
	}
	fs := cmd.Flags()
	fs.BoolVar(&c.read, "read-secrets", false, "read names and values of secrets")
	fs.BoolVar(&c.write, "write-secrets", false, "set and delete secrets")
	fs.BoolVar(&c.allAccess, "all-access", false, "do everything in the organization")
	fs.BoolVar(&c.operator, "operator", false, "do everything in all organizations")
	fs.StringArrayVar(&c.names, "name", nil, "`pattern` of the secrets that it may use; repeatable (default all)")
	fs.StringVar(&c.expires, "expires", "", "`time` until it expires, or at which it expires (default never)")
	fs.StringVarP(&c.description, "description", "d", "", "`text` that describes it")
	fs.StringVarP(&c.user, "user", "u", "", "`user` who owns it (default: you)")
	cmd.MarkFlagsOneRequired("read-secrets", "write-secrets", "all-access", "operator")
	cmd.MarkFlagsMutuallyExclusive("all-access", "operator")
	_ = cmd.RegisterFlagCompletionFunc("user", r.completeUsers)
	_ = cmd.RegisterFlagCompletionFunc("name", r.completeSecrets)
	return cmd
}

func (c *tokenCreate) run(cmd *cobra.Command) error {
	expires, err := parseExpiry(c.expires, time.Now())
	if err != nil {
		return usageError(cmd, err)
	}
	s, org, err := c.r.open(cmd)
	if err != nil {
		return err
	}
	n := client.NewToken{OrgID: org.ID, Description: c.description, ExpiresAt: expires, Names: c.names}
	if c.user != "" {
		u, err := s.findUser(cmd, c.user)
		if err != nil {
			return err
		}
		n.UserID = u.ID
	}
	if n.Permissions, err = c.permissions(cmd.Context(), s, org.ID); err != nil {
		return err
	}
	t, err := s.CreateToken(cmd.Context(), n)
	if err != nil {
		return err
	}
	return c.r.printNewToken(cmd, t)
}

func (o *output) printNewToken(cmd *cobra.Command, t client.Token) error {
	out := table{header: []string{"ID", "DESCRIPTION", "EXPIRES", "TOKEN"}}
	out.add(t.Token, t.ID, t.Description, formatTime(t.ExpiresAt), t.Token)
	if err := o.print(cmd, t, &out); err != nil {
		return err
	}
	o.note(cmd, "The token is not shown again: store it now.")
	return nil
}

func (c *tokenCreate) permissions(ctx context.Context, s *session, orgID string) ([]client.Permission, error) {
	switch {
	case c.operator:
		return s.allPermissions(ctx, "")
	case c.allAccess:
		return s.allPermissions(ctx, orgID)
	}
	var actions []client.Action
	if c.read {
		actions = append(actions, client.Read)
	}
	if c.write {
		actions = append(actions, client.Write)
	}
	return client.SecretPermissions(orgID, actions...), nil
}

// allPermissions returns the permissions for all types of resource in an
// organization or, with "", in all.
func (s *session) allPermissions(ctx context.Context, orgID string) ([]client.Permission, error) {
	types, err := s.ResourceTypes(ctx)
	if err != nil {
		return nil, err
	}
	var out []client.Permission
	for _, kind := range types {
		r := client.Resource{Type: kind, OrgID: orgID}
		switch {
		case kind == "instance": // not for tokens
			continue
		case kind == "orgs" && orgID != "":
			r = client.Resource{Type: kind, ID: orgID}
		}
		out = append(out, client.Permission{Action: client.Read, Resource: r}, client.Permission{Action: client.Write, Resource: r})
	}
	return out, nil
}

// parseExpiry reads when a token expires; "" is never, the zero time.
func parseExpiry(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, ok := parseTime(text)
	if d, after := parseDuration(text); after {
		t, ok = now.Add(d).UTC().Truncate(time.Second), true
	}
	switch {
	case !ok:
		return time.Time{}, errors.New("--expires must be a time such as 12h, 30d or 2w, or a date such as 2030-01-31 or 2030-01-31T12:00:00Z")
	case !t.After(now):
		return time.Time{}, fmt.Errorf("--expires: %s is not in the future", formatTime(t))
	}
	return t, nil
}
