package cli

import (
	"fmt"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/spf13/cobra"
)

func newScrubCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "scrub",
		Short: "Show whether the stored data is complete",
		Long: `Show whether the stored data is complete. At its start and every six hours, a server
compares its records with their sums, which reveals records that are missing or were
replaced by older copies.`,
		Example: `  fluxkeep scrub status`,
	},
		newScrubStatusCommand(),
	)
}

func newScrubStatusCommand() *cobra.Command {
	r := &remote{}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the progress of verification and any damage",
		Long: `Show how much of its data a server has verified, and list damage by kind and ID. The
exit status is 1 if there is damage. This needs an operator token.

The server refuses to use damaged records; everything else keeps working. Stop the
server and run "fluxkeep doctor" for details.`,
		Example: `  fluxkeep scrub status
  fluxkeep scrub status --json | jq '.damage[]'`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := r.connect(cmd)
			if err != nil {
				return err
			}
			status, err := s.Scrub(cmd.Context())
			if err != nil {
				return err
			}
			return r.printScrub(cmd, status)
		},
	}
	r.addToOperator(cmd)
	return cmd
}

func (r *remote) printScrub(cmd *cobra.Command, s client.Scrub) error {
	t := table{header: []string{"DAMAGED"}}
	for _, what := range s.Damage {
		t.add(what, what)
	}
	if len(s.Damage) > 0 || r.structured() {
		if err := r.print(cmd, s, &t); err != nil {
			return err
		}
	}
	if s.Running {
		r.note(cmd, "Verifying: %d of %d organizations.", s.Done, s.Total)
	}
	if !s.PassedAt.IsZero() {
		r.note(cmd, "The last pass over all data ended at %s.", formatTime(s.PassedAt))
	}
	if n := len(s.Damage); n > 0 {
		return withHint(fmt.Errorf("the server found damage: %s", count(n, "place")),
			"stop the server, keep a copy of its data folder, and run fluxkeep doctor")
	}
	return nil
}
