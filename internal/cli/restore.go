package cli

import (
	"errors"
	"os"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/backup"
	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/datadir"
	"github.com/spf13/cobra"
)

func newRestoreCommand() *cobra.Command {
	o := newOffline()
	cmd := &cobra.Command{
		Use:   "restore FILE --data-dir DIR",
		Short: "Restore a backup into an empty data folder",
		Long: `Restore a backup into a data folder that is empty or doesn't exist. This needs no
server, only the key-encryption key of the server that was backed up; with the wrong
key, the command says which one it needs.

Before it writes anything, the command reads the whole backup and decrypts every record.
It refuses a damaged or partial backup, and then changes nothing. A backup contains
neither sessions nor the audit log.`,
		Example: `  fluxkeep restore fluxkeep.backup --data-dir /var/lib/fluxkeep --key-file /etc/fluxkeep/key
  fluxkeep serve --data-dir /var/lib/fluxkeep --key-file /etc/fluxkeep/key`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.load(); err != nil {
				return err
			}
			return restoreBackup(cmd, o, args[0])
		},
	}
	o.addTo(cmd)
	return cmd
}

// restoreReport describes a restored backup.
type restoreReport struct {
	DataDir    string    `json:"dataDir,omitempty"`
	EtcdPrefix string    `json:"etcdPrefix,omitempty"` // instead, with the store in etcd
	CreatedAt  time.Time `json:"createdAt"`            // of the backup
	Records    int       `json:"records"`
}

func restoreBackup(cmd *cobra.Command, o *offline, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && !info.Mode().IsRegular() {
		return withHint(errors.New("a backup is restored from a file, since it is read twice"), "write it to a file first")
	}
	done, err := datadir.Restore(cmd.Context(), o.config, f)
	if err != nil {
		return restoreHint(err)
	}
	report := restoreReport{DataDir: o.config.DataDir, CreatedAt: done.Created, Records: done.Records}
	into, quiet := printable(report.DataDir), report.DataDir
	if o.config.Store == config.StoreEtcd {
		report.DataDir, report.EtcdPrefix = "", o.config.Etcd.Prefix
		into, quiet = "etcd under "+report.EtcdPrefix, report.EtcdPrefix
	}
	switch {
	case o.structured():
		return o.printValue(cmd, report)
	case o.quiet:
		return printLines(cmd.OutOrStdout(), []string{quiet})
	}
	o.note(cmd, "Restored %s of %s into %s.", count(done.Records, "record"), formatTime(done.Created), into)
	return nil
}

func restoreHint(err error) error {
	switch {
	case is[*datadir.BackupKeyError](err):
		return withHint(err, "nothing was changed; give that key with --key-file, --passphrase-file or the flags of its provider")
	case errors.Is(err, backup.ErrDamaged):
		return withHint(err, "nothing was changed; take another backup, or copy this one again from where it is whole")
	case errors.Is(err, backup.ErrNewerFormat):
		return withHint(err, "nothing was changed; restore it with the version that wrote it, or a newer one")
	}
	return hintAtLock(err)
}
