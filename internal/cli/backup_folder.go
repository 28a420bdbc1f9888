package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/durable"
	"github.com/spf13/cobra"
)

const (
	// backupTemp ends the name of a backup that is being written.
	backupTemp = ".tmp"
	// backupTime is the form of the time in names, with milliseconds. Names sort
	// by it.
	backupTime = "20060102T150405.000Z"
	// backupPatience is how long a temporary file may belong to a running backup.
	backupPatience = 24 * time.Hour
)

var backupName = regexp.MustCompile(`^fluxkeep-\d{8}T\d{6}\.\d{3}Z\.backup(\.\d+\.tmp)?$`)

// toFolder writes a backup named after the current time, and then deletes older
// ones.
func (b *backupCommand) toFolder(cmd *cobra.Command, now time.Time) error {
	if err := durable.MkdirAll(b.dir); err != nil {
		return err
	}
	b.file = filepath.Join(b.dir, "fluxkeep-"+now.UTC().Format(backupTime)+".backup")
	r, err := b.write(cmd)
	if err != nil {
		return err
	}
	if b.keep > 0 {
		err = r.prune(b.dir, b.keep, now)
	}
	if err := errors.Join(b.report(cmd, r), err); err != nil {
		return err
	}
	if len(r.Damaged) > 0 {
		return withHint(fmt.Errorf("%s in %s can't be restored: %s", count(len(r.Damaged), "backup"), printable(b.dir), some(r.Damaged, 5)),
			"the new backup is complete; delete the damaged ones, and check the disk")
	}
	if len(r.Future) > 0 {
		b.note(cmd, "Neither counted nor deleted, because the name is in the future: %s.", some(r.Future, 3))
	}
	if n := len(r.Deleted); n > 0 {
		b.note(cmd, "Deleted %s.", count(n, "older backup"))
	}
	return nil
}

// prune deletes backups that are older than the given number of complete ones,
// and files that an interrupted backup left behind. The backup just written is
// complete. Backups from the future are neither counted nor deleted: the clock was
// wrong when they were written, or is wrong now.
func (r *backupReport) prune(dir string, keep int, now time.Time) error {
	names, err := backupsIn(dir, now)
	if err != nil {
		return err
	}
	complete := 1
	for _, name := range names {
		path := filepath.Join(dir, name)
		switch {
		case path == r.File:
		case isAfter(name, now):
			r.Future = append(r.Future, name)
		case complete >= keep || filepath.Ext(name) == backupTemp:
			if err := os.Remove(path); err != nil {
				return err
			}
			r.Deleted = append(r.Deleted, name)
		case readBackup(path) == nil:
			complete++
		default:
			r.Damaged = append(r.Damaged, name)
		}
	}
	return durable.SyncDir(dir)
}

// backupsIn lists the files that toFolder wrote, the newest first, without those
// that may still be being written.
func backupsIn(dir string, now time.Time) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || !backupName.MatchString(e.Name()) {
			continue
		}
		if filepath.Ext(e.Name()) == backupTemp && now.Sub(info.ModTime()) < backupPatience {
			continue
		}
		names = append(names, e.Name())
	}
	slices.Reverse(names)
	return names, nil
}

// isAfter reports whether a file is named after a time later than now.
func isAfter(name string, now time.Time) bool {
	return name > "fluxkeep-"+now.UTC().Format(backupTime)+".backup.~"
}

// readBackup returns nil if a backup is complete.
func readBackup(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return new(backupReport).read(f)
}
