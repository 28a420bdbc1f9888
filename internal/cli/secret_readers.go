package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/spf13/cobra"
)

func newSecretReadersCommand(r *remote) *cobra.Command {
	return &cobra.Command{
		Use:   "readers NAME",
		Short: "Show who has read a secret",
		Long: `Show the last read of a secret by each token, and by each user who was signed in, the
latest first. A read of all secrets counts for each of them, a read before the secret was
added doesn't count. "older" marks readers whose value has changed since.

Tokens and users that you may not see have no name. The audit log has every read.`,
		Example: `  fluxkeep secret readers db_password
  fluxkeep secret readers db_password --json | jq '.[] | select(.outdated)'`,
		Args:              arguments(1, 1),
		ValidArgsFunction: r.completeSecrets,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, org, err := r.open(cmd)
			if err != nil {
				return err
			}
			found, err := s.Readers(cmd.Context(), org.ID, args[0])
			if err != nil {
				return err
			}
			if len(found) == 0 {
				return missingError(args)
			}
			readers := found[0].Readers
			t := table{header: []string{"READER", "USER", "VIA", "VERSION", "READ", "REMARKS"}}
			for _, reader := range readers {
				version, remark := "", ""
				if reader.Version != 0 {
					version = strconv.FormatUint(reader.Version, 10)
				}
				if reader.Outdated {
					remark = "older"
				}
				t.add(reader.TokenID, readerName(reader), reader.User, reader.Protocol, version, formatTime(reader.ReadAt), remark)
			}
			return r.print(cmd, orEmpty(readers), &t)
		},
	}
}

// readerName names a reader: a token by its description or ID, a user by name.
func readerName(r client.SecretReader) string {
	return cmp.Or(r.Description, r.TokenID, r.User, r.UserID, "(somebody else)")
}

const (
	recently   = 30 * 24 * time.Hour
	mostNames  = 50 // in one request
	mostShown  = 3  // readers of one secret
	mostRecent = 10 // secrets
)

// recentReaders returns a sentence for each secret that was read recently. It returns
// nothing if the token or the server can't tell.
func recentReaders(cmd *cobra.Command, s *session, orgID string, names []string, now time.Time) []string {
	ask := names
	if len(names) > mostNames {
		ask = nil // the last reader of each is enough
	}
	found, err := s.Readers(cmd.Context(), orgID, ask...)
	if err != nil {
		return nil
	}
	var out []string
	more := 0
	for _, secret := range found {
		if !slices.Contains(names, secret.Name) {
			continue
		}
		var who []string
		for _, r := range secret.Readers {
			if now.Sub(r.ReadAt) < recently {
				who = append(who, printable(readerName(r))+" ("+formatPast(r.ReadAt, now, false)+")")
			}
		}
		switch {
		case len(who) == 0:
		case len(out) == mostRecent:
			more++
		default:
			out = append(out, fmt.Sprintf("%s was read by %s.", printable(secret.Name), some(who, mostShown)))
		}
	}
	if more > 0 {
		out = append(out, fmt.Sprintf("%s more were read in the last 30 days.", count(more, "secret")))
	}
	return out
}
