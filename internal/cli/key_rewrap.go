package cli

import (
	"errors"

	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/datadir"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// newKeyPrefix marks the flags for the new key-encryption key.
const newKeyPrefix = "new-"

type keyRewrap struct {
	*offline
	to *config.Config
}

func newKeyRewrapCommand() *cobra.Command {
	k := keyRewrap{newOffline(), config.New()}
	cmd := &cobra.Command{
		Use:   "rewrap --data-dir DIR",
		Short: "Change the key-encryption key of a stopped server",
		Long: `Replace the key-encryption key of a stopped server, or change where it comes from: from
one key file to another, to a passphrase, or to a key management service. Only the data
keys are wrapped again; the data doesn't change, so this is fast. If the new key file
doesn't exist, it is created; keep a copy of it.

The result is verified with the new key before it replaces the old one. Earlier backups
still need the old key: destroy it only after you have deleted them.`,
		Example: `  fluxkeep key rewrap --data-dir /var/lib/fluxkeep --key-file old.key --new-key-file new.key
  fluxkeep key rewrap --data-dir /var/lib/fluxkeep --key-file old.key --new-passphrase-file pass
  fluxkeep serve --data-dir /var/lib/fluxkeep --passphrase-file pass`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return k.run(cmd) },
	}
	fs := k.addTo(cmd)
	shared := pflag.NewFlagSet("", pflag.ContinueOnError)
	addKeyFlags(shared, k.to)
	shared.VisitAll(func(f *pflag.Flag) {
		again := *f
		again.Name, again.Usage = newKeyPrefix+f.Name, newKeyUsage[f.Name]
		fs.AddFlag(&again)
	})
	return cmd
}

// newKeyUsage describes the server's flags when they select the new key.
var newKeyUsage = map[string]string{
	"key-provider":       "`kind` of the new key-encryption key (default: selected by the other flags)",
	"key-file":           "`file` with the new key-encryption key, created if it doesn't exist",
	"passphrase-file":    "`file` with the new passphrase",
	"transit-address":    "`URL` of the Vault or OpenBao server that holds the new key",
	"transit-token-file": "`file` with the token for it",
	"transit-key":        "`name` of the new key in the transit engine",
	"transit-mount":      "`path` of the transit engine (default transit)",
	"transit-namespace":  "`namespace` of the transit engine",
	"aws-kms-key":        "`ARN` of the new key in AWS KMS",
	"gcp-kms-key":        "resource `name` of the new key in Google Cloud KMS",
}

func (k *keyRewrap) run(cmd *cobra.Command) error {
	given := false
	for name := range newKeyUsage {
		given = given || cmd.Flags().Changed(newKeyPrefix+name)
	}
	if !given {
		return usageError(cmd, errors.New("the new key-encryption key is missing: give --new-key-file, --new-passphrase-file or the flags of another provider"))
	}
	if err := k.load(); err != nil {
		return err
	}
	// Ignore environment and file: they describe the server's current key.
	k.to.DataDir = k.config.DataDir
	if err := k.to.Load(nil); err != nil {
		if wrong, ok := errors.AsType[*config.Error](err); ok {
			wrong.Setting = newKeyPrefix + wrong.Setting
		}
		return err
	}
	done, err := datadir.Rewrap(cmd.Context(), k.config, k.to)
	if err != nil {
		return hintAtLock(err)
	}
	return k.report(cmd, done)
}

func (k *keyRewrap) report(cmd *cobra.Command, done datadir.RewrapResult) error {
	t := table{header: []string{"KEY-ENCRYPTION KEY", "PROVIDER", "ID"}}
	t.add(done.Before.KeyID, "before", done.Before.Kind, done.Before.KeyID)
	t.add(done.After.KeyID, "now", done.After.Kind, done.After.KeyID)
	if k.quiet {
		t.ids = t.ids[1:]
	}
	type key struct {
		Provider string `json:"provider"`
		ID       string `json:"id"`
	}
	value := struct {
		Before  key    `json:"before"`
		Now     key    `json:"now"`
		NewFile string `json:"newKeyFile,omitempty"`
	}{key{done.Before.Kind, done.Before.KeyID}, key{done.After.Kind, done.After.KeyID}, done.NewKeyFile}
	if err := k.print(cmd, value, &t); err != nil {
		return err
	}
	if done.NewKeyFile != "" {
		k.note(cmd, "Created the key file %s: keep a copy, without it the data can't be read.", printable(done.NewKeyFile))
	}
	k.note(cmd, "Start the server with the new key from now on.")
	return nil
}
