package cli

import (
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
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
}

func newBackupCommand() *cobra.Command {
	var b backupCommand
	cmd := &cobra.Command{
		Use:   "backup --output FILE",
		Short: "Back up a running server",
		Long: `Back up a snapshot of a running server to a file, without interrupting it. This needs an
operator token.

The backup is encrypted like the data: nobody, including you, can read it without the
server's key-encryption key, so keep a copy of that key somewhere else. The file is
verified while it is written, and gets its final name only once it is complete.`,
		Example: `  fluxkeep backup --output fluxkeep.backup
  fluxkeep backup --output - | ssh elsewhere 'cat > fluxkeep.backup'`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return b.run(cmd) },
	}
	fs := cmd.Flags()
	fs.StringVar(&b.file, "output", "", "`file` to write; \"-\" for standard output")
	fs.BoolVar(&b.force, "force", false, "overwrite the file")
	b.addToOperator(cmd)
	return cmd
}

func (b *backupCommand) run(cmd *cobra.Command) error {
	switch {
	case b.file == "":
		return usageError(cmd, errors.New("--output is missing"))
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
	b.note(cmd, "Wrote %s.", r)
	return nil
}

// toFile writes the complete file or none.
func (b *backupCommand) toFile(cmd *cobra.Command) error {
	if _, err := os.Lstat(b.file); err == nil && !b.force {
		return withHint(fmt.Errorf("%s exists", b.file), "overwrite it with --force")
	}
	temp := b.file + ".tmp"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := durable.CreateFile(temp)
	if err != nil {
		return err
	}
	r, err := b.receive(cmd, f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = durable.Rename(temp, b.file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	r.File = b.file
	switch {
	case b.structured():
		return b.printValue(cmd, r)
	case b.quiet:
		return printLines(cmd.OutOrStdout(), []string{b.file})
	}
	b.note(cmd, "Wrote %s to %s.", r, printable(b.file))
	return nil
}

// backupReport describes a backup.
type backupReport struct {
	File      string    `json:"file,omitempty"`
	CreatedAt time.Time `json:"createdAt"`
	Records   int       `json:"records"`
	Bytes     int64     `json:"bytes"`
	Provider  string    `json:"keyProvider"` // of the key-encryption key
	KeyID     string    `json:"keyID"`
}

func (r backupReport) String() string {
	return fmt.Sprintf("%s, %.1f KiB, which need the %s key %s", count(r.Records, "record"), float64(r.Bytes)/(1<<10), r.Provider, r.KeyID)
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
	counted := &meter{w: to, show: newMeter(cmd.ErrOrStderr(), b.structured() || b.quiet)}
	err = s.Backup(cmd.Context(), io.MultiWriter(counted, out))
	_ = out.CloseWithError(err) // never fails
	if cerr := <-checked; err == nil {
		err = cerr
	}
	counted.end()
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
	w    io.Writer
	n    int64
	show func(n int64, last bool) // nil when nobody would see it
}

func (m *meter) Write(p []byte) (int, error) {
	n, err := m.w.Write(p)
	m.n += int64(n)
	if m.show != nil {
		m.show(m.n, false)
	}
	return n, err
}

func (m *meter) end() {
	if m.show != nil {
		m.show(m.n, true)
	}
}

func newMeter(w io.Writer, off bool) func(n int64, last bool) {
	if off || !isTerminal(w) {
		return nil
	}
	var shown time.Time
	return func(n int64, last bool) {
		now := time.Now()
		if !last && now.Sub(shown) < 100*time.Millisecond {
			return
		}
		if last && shown.IsZero() {
			return // too short to show anything
		}
		shown = now
		fmt.Fprintf(w, "\rreceived %.1f MiB", float64(n)/(1<<20))
		if last {
			fmt.Fprintln(w)
		}
	}
}
