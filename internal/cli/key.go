package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/spf13/cobra"
)

func newKeyCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "key",
		Short: "Manage encryption keys",
		Long: `Manage encryption keys. Data keys encrypt the data. They are stored with it, wrapped by
the key-encryption key, which is somewhere else: in a file, in a passphrase, or in a key
management service.

"create" makes a new key-encryption key in a file. "rotate" replaces the data key while
the server runs. "rewrap" replaces the key-encryption key while it is stopped.`,
		Example: `  fluxkeep key status
  fluxkeep key rotate --wait
  fluxkeep key rewrap --data-dir /var/lib/fluxkeep --key-file old.key --new-key-file new.key`,
	},
		newKeyCreateCommand(),
		newKeyStatusCommand(),
		newKeyRotateCommand(),
		newKeyRewrapCommand(),
	)
}

func newKeyStatusCommand() *cobra.Command {
	r := &remote{}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the data keys and the progress of a rotation",
		Long: `Show the IDs of a server's data keys, never the keys themselves, and which key encrypts
new data. More than one key means that a rotation is in progress. This needs an operator
token.`,
		Example: `  fluxkeep key status`,
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := r.connect(cmd)
			if err != nil {
				return err
			}
			keys, err := s.DataKeys(cmd.Context())
			if err != nil {
				return err
			}
			return r.printKeys(cmd, keys)
		},
	}
	r.addToOperator(cmd)
	return cmd
}

func (r *remote) printKeys(cmd *cobra.Command, keys client.DataKeys) error {
	t := table{header: []string{"DATA KEY", "CREATED", "USE"}}
	for _, k := range keys.Keys {
		use := "encrypts what is written"
		if !k.Primary {
			use = "until everything is re-encrypted"
		}
		t.add(k.ID, k.ID, formatTime(k.CreatedAt), use)
	}
	if err := r.print(cmd, keys, &t); err != nil {
		return err
	}
	switch {
	case keys.Error != "":
		warn(cmd, "the re-encryption has stopped, and is resumed later: %s", keys.Error)
	case keys.Rotating:
		r.note(cmd, "A rotation is under way: %d of %d records.", keys.Done, keys.Total)
	}
	return nil
}

type keyRotate struct {
	remote
	wait bool
}

func newKeyRotateCommand() *cobra.Command {
	var k keyRotate
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Create a data key and re-encrypt everything with it",
		Long: `Create a new data key, which encrypts all new data. The server re-encrypts existing data
in the background, and drops the old key once no record needs it. If the server is
stopped before that, it resumes at the next start. This needs an operator token.

You can still restore earlier backups: each contains the data keys of its time.`,
		Example: `  fluxkeep key rotate
  fluxkeep key rotate --wait`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return k.run(cmd) },
	}
	cmd.Flags().BoolVar(&k.wait, "wait", false, "wait until everything is encrypted with the new key")
	k.addToOperator(cmd)
	return cmd
}

func (k *keyRotate) run(cmd *cobra.Command) error {
	s, err := k.connect(cmd)
	if err != nil {
		return err
	}
	keys, err := s.RotateKeys(cmd.Context())
	if errors.Is(err, client.ErrConflict) {
		return withHint(err, `"fluxkeep key status" shows how far it is`)
	}
	if err == nil && k.wait {
		keys, err = awaitRotation(cmd.Context(), s, k.progress(cmd))
	}
	if err != nil {
		return err
	}
	return k.printKeys(cmd, keys)
}

// rotationPoll is the interval for asking the server about its progress. Each
// request adds a line to the audit log.
const rotationPoll = time.Second

// awaitRotation polls until a single key is left or the server reports an
// error.
func awaitRotation(ctx context.Context, s *session, shown *progress) (client.DataKeys, error) {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, rotationPoll) {
		keys, err := s.DataKeys(ctx)
		if err != nil {
			return keys, err
		}
		if done := keys.Done; keys.Total > 0 {
			if !keys.Rotating {
				done = keys.Total
			}
			shown.show(!keys.Rotating, "re-encrypted %d of %d records", done, keys.Total)
		}
		switch {
		case !keys.Rotating:
			return keys, nil
		case keys.Error != "":
			return keys, withHint(fmt.Errorf("the re-encryption has stopped: %s", keys.Error),
				`the server tries again every minute; "fluxkeep doctor" finds what is damaged`)
		}
		select {
		case <-ctx.Done():
			return keys, ctx.Err()
		case <-time.After(pause):
		}
	}
}
