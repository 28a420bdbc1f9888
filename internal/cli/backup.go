package cli

import (
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/backup"
	"github.com/fluxkeep/fluxkeep/internal/durable"
	"github.com/fluxkeep/fluxkeep/internal/seal"
	"github.com/spf13/cobra"
)

type backupCommand struct {
	remote
	file  string
	force bool
	dir   string
	keep  int
}

func newBackupCommand() *cobra.Command {
	var b backupCommand
	cmd := &cobra.Command{
		Use:   "backup {--output FILE | --to DIR}",
		Short: "Back up a running server",
		Long: `Back up a snapshot of a running server to a file, without interrupting it. This needs an
operator token.

The backup is encrypted like the data: nobody, including you, can read it without the
server's key-encryption key, so keep a copy of that key somewhere else. The file is
verified while it is written, and gets its final name only once it is complete.

With --to, the file gets a name with the current time in a folder that other backups may
be in. With --keep, the command then reads the backups in that folder again, from the
newest to the oldest, until it has found that many that are complete, and deletes all
older ones. A damaged backup doesn't count: it is reported, and the exit status is 1. A
backup from the future, named while a clock was wrong, is neither counted nor deleted.`,
		Example: `  fluxkeep backup --output fluxkeep.backup
  fluxkeep backup --output - | ssh elsewhere 'cat > fluxkeep.backup'
  fluxkeep backup --to /var/backups/fluxkeep --keep 14`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return b.run(cmd) },
	}
	fs := cmd.Flags()
	fs.StringVar(&b.file, "output", "", "`file` to write; \"-\" for standard output")
	fs.BoolVar(&b.force, "force", false, "overwrite the file")
	fs.StringVar(&b.dir, "to", "", "`folder` to write a file to that is named after the current time")
	fs.IntVar(&b.keep, "keep", 0, "`number` of complete backups to keep in the folder (default all)")
	cmd.MarkFlagsMutuallyExclusive("output", "to")
	b.addToOperator(cmd)
	return cmd
}

func (b *backupCommand) run(cmd *cobra.Command) error {
	switch {
	case b.keep < 0, b.keep > 0 && b.dir == "":
		return usageError(cmd, errors.New("--keep needs a number of backups and --to"))
	case b.dir != "":
		return b.toFolder(cmd, time.Now())
	case b.file == "":
		return usageError(cmd, errors.New("--output or --to is missing"))
	case b.file != "-":
		return b.toFile(cmd)
	case b.structured() || b.quiet:
		return usageError(cmd, errors.New("standard output is for the backup: --json and --quiet need a file"))
	case isTerminal(cmd.OutOrStdout()):
		return withHint(errors.New("a backup is not written to a terminal"), "give a file with --output, or send it on: %s --output - | command", cmd.CommandPath())
	}
	r, err := b.receive(cmd, cmd.OutOrStdout())
	if err != nil {
		return withHint(err, "the output is not a usable backup")
	}
	b.note(cmd, "Wrote %s", r)
	return nil
}

// toFile writes the complete file or none.
func (b *backupCommand) toFile(cmd *cobra.Command) error {
	r, err := b.write(cmd)
	if err != nil {
		return err
	}
	return b.report(cmd, r)
}

func (b *backupCommand) report(cmd *cobra.Command, r backupReport) error {
	switch {
	case b.structured():
		return b.printValue(cmd, r)
	case b.quiet:
		return printLines(cmd.OutOrStdout(), []string{r.File})
	}
	b.note(cmd, "Wrote %s: %s", printable(r.File), r)
	return nil
}

// write writes the file and gives it its name once it is complete.
func (b *backupCommand) write(cmd *cobra.Command) (backupReport, error) {
	var r backupReport
	if _, err := os.Lstat(b.file); err == nil && !b.force {
		return r, withHint(fmt.Errorf("%s exists", b.file), "overwrite it with --force")
	}
	// Each run has its own file, since two may write the same backup.
	f, err := durable.CreateTemp(filepath.Dir(b.file), filepath.Base(b.file)+".*"+backupTemp)
	if err != nil {
		return r, err
	}
	r, err = b.receive(cmd, f)
	r.File = b.file
	return r, durable.Commit(f, b.file, err)
}

// backupReport describes a backup.
type backupReport struct {
	File      string    `json:"file,omitempty"`
	CreatedAt time.Time `json:"createdAt"`
	Records   int       `json:"records"`
	Bytes     int64     `json:"bytes"`
	Provider  string    `json:"keyProvider"` // of the key-encryption key
	KeyID     string    `json:"keyID"`

	Deleted []string `json:"deleted,omitempty"` // older backups, with --keep
	Damaged []string `json:"damaged,omitempty"`
	Future  []string `json:"future,omitempty"` // backups that --keep ignores
}

func (r backupReport) String() string {
	return fmt.Sprintf("%s, %.1f KiB. To restore it, you need the %s key %s.", count(r.Records, "record"), float64(r.Bytes)/(1<<10), r.Provider, r.KeyID)
}

// receive copies the backup from the server and verifies it on the way.
func (b *backupCommand) receive(cmd *cobra.Command, to io.Writer) (backupReport, error) {
	var r backupReport
	s, err := b.connect(cmd)
	if err != nil {
		return r, err
	}
	in, out := io.Pipe()
	checked := make(chan error, 1)
	go func() {
		err := r.read(in)
		_ = in.CloseWithError(err) // also stops the copy if the backup is damaged
		checked <- err
	}()
	counted := &meter{w: to, progress: b.progress(cmd)}
	err = s.Backup(cmd.Context(), io.MultiWriter(counted, out))
	_ = out.CloseWithError(err) // never fails
	if cerr := <-checked; err == nil {
		err = cerr
	}
	if counted.n > 0 {
		counted.show(true)
	}
	r.Bytes = counted.n
	return r, err
}

// read reads a backup to its end, where the checksum is.
func (r *backupReport) read(in io.Reader) error {
	return backup.Read(in, func(h backup.Header) (hash.Hash, error) {
		key, err := seal.Describe(h.Keyset)
		r.CreatedAt, r.Provider, r.KeyID = h.Created, key.Kind, key.KeyID
		return nil, err
	}, func(_, _ []byte) error { r.Records++; return nil })
}

// meter counts written bytes and shows the progress.
type meter struct {
	w        io.Writer
	n        int64
	progress *progress
}

func (m *meter) Write(p []byte) (int, error) {
	n, err := m.w.Write(p)
	m.n += int64(n)
	m.show(false)
	return n, err
}

func (m *meter) show(last bool) { m.progress.show(last, "received %s", megabytes(m.n)) }
