package cli

import (
	"slices"
	"strings"
	"time"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/spf13/cobra"
)

func newTokenCommand() *cobra.Command {
	r := &remote{}
	cmd := group(&cobra.Command{
		Use:     "token",
		Aliases: []string{"auth"},
		Short:   "Manage API tokens",
		Long: `Manage API tokens, which InfluxDB calls authorizations. Programs, including Vault's
tools, use them to authenticate. Each token has its own permissions, and can be limited
to some names and to some time.`,
		Example: `  fluxkeep token create --read-secrets --description telegraf
  fluxkeep token list
  fluxkeep token deactivate 0b1c2d3e4f5a6b7c`,
	},
		newTokenListCommand(r),
		newTokenCreateCommand(r),
		newTokenRotateCommand(r),
		newTokenStatusCommand(r, client.Active),
		newTokenStatusCommand(r, client.Inactive),
		newTokenDeleteCommand(r),
	)
	r.addTo(cmd)
	return cmd
}

func (r *remote) printTokens(cmd *cobra.Command, value any, tokens ...client.Token) error {
	t := table{header: tokenHeader}
	for _, k := range tokens {
		t.add(k.ID, tokenCells(k)...)
	}
	return r.print(cmd, value, &t)
}

var tokenHeader = []string{"ID", "DESCRIPTION", "USER", "ORGANIZATION", "MAY", "NAMES", "STATUS", "EXPIRES"}

func tokenCells(k client.Token) []string {
	return []string{k.ID, k.Description, k.User, k.Org, permissionsOf(k), strings.Join(k.Names, " "), statusOf(k, time.Now()), formatTime(k.ExpiresAt)}
}

// listedToken is a token with its last use.
type listedToken struct {
	client.Token
	LastUsedAt   time.Time `json:"lastUsedAt,omitzero"`
	LastProtocol string    `json:"lastProtocol,omitempty"`
}

// listTokens prints tokens with their last uses; nil uses are unknown.
func (r *remote) listTokens(cmd *cobra.Command, tokens []client.Token, uses map[string]client.TokenUse) error {
	list := make([]listedToken, len(tokens))
	t := table{header: append(slices.Clone(tokenHeader), "LAST USED")}
	for i, k := range tokens {
		use, used := uses[k.ID]
		list[i] = listedToken{k, use.UsedAt, use.Protocol}
		last := ""
		switch {
		case used:
			last = formatTime(use.UsedAt.Truncate(time.Second)) + " (" + use.Protocol + ")"
		case uses != nil:
			last = "never"
		}
		t.add(k.ID, append(tokenCells(k), last)...)
	}
	return r.print(cmd, list, &t)
}

// lastUses returns the last uses of tokens by ID, nil if the server can't tell.
func (s *session) lastUses(cmd *cobra.Command, f client.TokenFilter) map[string]client.TokenUse {
	uses, err := s.TokenUses(cmd.Context(), f)
	if err != nil {
		return nil
	}
	byID := make(map[string]client.TokenUse, len(uses))
	for _, u := range uses {
		byID[u.TokenID] = u
	}
	return byID
}

// statusOf returns a token's status. The server reports an expired token as
// active, because InfluxDB's clients know no other status.
func statusOf(t client.Token, now time.Time) string {
	if !t.ExpiresAt.IsZero() && !t.ExpiresAt.After(now) {
		return "expired"
	}
	return string(t.Status)
}

// permissionsOf summarizes what a token may do with secrets.
func permissionsOf(t client.Token) string {
	covers := func(action client.Action, kind, org string) bool {
		return slices.ContainsFunc(t.Permissions, func(p client.Permission) bool {
			return p.Action == action && p.Resource.Type == kind && p.Resource.OrgID == org && p.Resource.ID == ""
		})
	}
	all := func(org string) bool {
		return covers(client.Write, "secrets", org) && covers(client.Read, "secrets", org) && covers(client.Write, "authorizations", org)
	}
	var words []string
	switch {
	case all("") && covers(client.Write, "orgs", ""):
		return "everything"
	case all(t.OrgID):
		return "everything in the organization"
	}
	for _, action := range []client.Action{client.Read, client.Write} {
		switch {
		case covers(action, "secrets", ""):
			words = append(words, string(action)+" all secrets")
		case covers(action, "secrets", t.OrgID):
			words = append(words, string(action)+" secrets")
		}
	}
	if len(words) == 0 {
		return count(len(t.Permissions), "permission")
	}
	return strings.Join(words, ", ")
}

func newTokenListCommand(r *remote) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List tokens",
		Long: `List the tokens that you may read; with --org or --org-id, only those of that
organization. The tokens themselves are not shown, because the server doesn't store
them. --quiet prints their IDs.`,
		Example: `  fluxkeep token list
  fluxkeep token list --org acme --json`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := r.connect(cmd)
			if err != nil {
				return err
			}
			var f client.TokenFilter
			if cmd.Flags().Changed("org") || cmd.Flags().Changed("org-id") {
				org, err := s.organization(cmd)
				if err != nil {
					return err
				}
				f.OrgID = org.ID
			}
			tokens, err := s.Tokens(cmd.Context(), f)
			if err != nil {
				return err
			}
			return r.listTokens(cmd, tokens, s.lastUses(cmd, f))
		},
	}
}

// newTokenStatusCommand returns the command that activates or deactivates
// tokens.
func newTokenStatusCommand(r *remote, status client.Status) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "activate ID…",
		Short:   "Activate tokens",
		Long:    `Activate tokens that were deactivated, so they work again.`,
		Example: `  fluxkeep token activate 0b1c2d3e4f5a6b7c`,
		Args:    arguments(1, -1),
		RunE: func(cmd *cobra.Command, ids []string) error {
			s, err := r.connect(cmd)
			if err != nil {
				return err
			}
			tokens := []client.Token{}
			for _, id := range ids {
				t, err := s.UpdateToken(cmd.Context(), id, client.TokenUpdate{Status: &status})
				if err != nil {
					return err
				}
				tokens = append(tokens, t)
			}
			return r.printTokens(cmd, tokens, tokens...)
		},
		ValidArgsFunction: r.completeTokens,
	}
	if status == client.Inactive {
		cmd.Use, cmd.Short = "deactivate ID…", "Deactivate tokens"
		cmd.Long = `Deactivate tokens. They stop working until "fluxkeep token activate", as do Vault tokens
that were created from them by a login.`
		cmd.Example = `  fluxkeep token deactivate 0b1c2d3e4f5a6b7c`
	}
	return cmd
}

func newTokenDeleteCommand(r *remote) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:     "delete ID…",
		Aliases: []string{"rm"},
		Short:   "Delete tokens",
		Long: `Delete tokens permanently. The command describes each token and asks for confirmation
unless you give --yes; without a terminal, --yes is required.`,
		Example:           `  fluxkeep token delete 0b1c2d3e4f5a6b7c`,
		Args:              arguments(1, -1),
		ValidArgsFunction: r.completeTokens,
		RunE: func(cmd *cobra.Command, ids []string) error {
			s, err := r.connect(cmd)
			if err != nil {
				return err
			}
			if !yes {
				for _, id := range ids {
					t, err := s.Token(cmd.Context(), id)
					if err != nil {
						return err
					}
					if err := confirm(cmd, yes, "Delete token %s (%s, user %s), for good?", id, printable(t.Description), printable(t.User)); err != nil {
						return err
					}
				}
			}
			for _, id := range ids {
				if err := s.DeleteToken(cmd.Context(), id); err != nil {
					return err
				}
				r.note(cmd, "Deleted token %s.", id)
			}
			return nil
		},
	}
	addYes(cmd, &yes)
	return cmd
}
