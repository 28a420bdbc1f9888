package influxbolt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

var (
	// ErrDamaged says that the file is not as InfluxDB wrote it.
	ErrDamaged = errors.New("the bolt file is damaged")
	// ErrForeign says that the file is none of InfluxDB 2.x.
	ErrForeign = errors.New("not a bolt file of InfluxDB 2.x")
	// ErrLocked says that another process, such as an influxd, has the file
	// open.
	ErrLocked = errors.New("in use by another process: stop influxd, or give a copy of the file")
)

// lockTime is how long to wait for a process that has the file open.
const lockTime = time.Second

// The buckets that are read. Every InfluxDB 2.x makes those that are expected;
// where one is missing, the others are read all the same.
const (
	bucketOrganizations = "organizationsv1"
	bucketUsers         = "usersv1"
	bucketPasswords     = "userspasswordv1"
	bucketMembers       = "userresourcemappingsv1"
	bucketTokens        = "authorizationsv1"
	bucketSecrets       = "secretsv1"

	indexOrganizations = "organizationindexv1"
	indexUsers         = "userindexv1"
	indexTokens        = "authorizationindexv1"
	indexHashes        = "authorizationhashedindexv1" // since 2.8
	legacyTokens       = "legacy/authorizationsv1"    // of the API of InfluxDB 1.x
)

var (
	expected = []string{
		bucketOrganizations, bucketUsers, bucketPasswords, bucketMembers, bucketTokens, bucketSecrets,
		indexOrganizations, indexUsers, indexTokens,
	}
	optional = []string{indexHashes, legacyTokens}
)

// toldOlder is what Contents.Skipped says when bolt had to fall back on the
// state before the last change.
const toldOlder = "one of the file's two first pages is damaged: what InfluxDB changed last may be missing"

// toldMissing is what Contents.Skipped says of a bucket that is not there.
const toldMissing = "the file has no bucket %s: what it should hold is missing"

// Read returns what the bolt file at path holds. It changes nothing. The
// error is ErrDamaged, ErrForeign or ErrLocked, wrapped, or one of the file
// system's; damage to a single record is no error, see Contents.Skipped.
func Read(path string) (*Contents, error) {
	c, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return c, nil
}

func read(path string) (_ *Contents, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, plain(err)
	}
	if !info.Mode().IsRegular() || info.Size() == 0 {
		return nil, fmt.Errorf("%w: it is empty or no file", ErrForeign)
	}
	// Whoever ignores the lock, and cuts the file while it is read, causes a
	// memory fault. Nothing of what the panic says is told: it may be made of
	// the file's bytes.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			err = fmt.Errorf("%w: it can't be read", ErrDamaged)
		}
	}()

	var file *os.File
	db, err := bolt.Open(path, 0, &bolt.Options{
		ReadOnly: true,
		Timeout:  lockTime,
		OpenFile: func(name string, flag int, mode os.FileMode) (_ *os.File, err error) {
			file, err = os.OpenFile(name, flag, mode)
			return file, err
		},
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, ErrLocked
	case errors.Is(err, bolterrors.ErrChecksum):
		return nil, fmt.Errorf("%w: neither of its first pages is whole", ErrDamaged)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrVersionMismatch):
		return nil, ErrForeign
	case err != nil && !fromSystem(err):
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	case err != nil:
		return nil, plain(err)
	}
	defer db.Close()

	var c *Contents
	err = db.View(func(tx *bolt.Tx) error {
		r := &reader{tx: tx, out: &Contents{}}
		if err := r.check(file); err != nil {
			return err
		}
		c = r.out
		return r.read()
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// plain leaves out the path, which Read puts in front.
func plain(err error) error {
	var perr *fs.PathError
	if errors.As(err, &perr) {
		return perr.Err
	}
	return err
}

func fromSystem(err error) bool {
	var perr *fs.PathError
	var errno syscall.Errno
	return errors.As(err, &perr) || errors.As(err, &errno)
}

// check makes sure that bbolt can read the buckets that are needed, and tells
// what else is wrong with the file.
func (r *reader) check(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return plain(err)
	}
	pageSize := r.tx.DB().Info().PageSize
	metas := readMetas(file, pageSize)
	if len(metas) < 2 {
		r.skip(toldOlder)
	}
	at := slices.IndexFunc(metas, func(m meta) bool { return m.change == uint64(r.tx.ID()) })
	if at < 0 {
		return fmt.Errorf("%w: its first pages can't be read", ErrDamaged)
	}
	p, err := newPages(file, info.Size(), metas[at], pageSize)
	if err != nil {
		return err
	}
	odd, unread, err := p.check(metas[at].root, slices.Concat(expected, optional))
	if err != nil {
		return err
	}
	r.unread = unread
	for _, line := range odd {
		r.skip("%s", line)
	}
	// No data of an InfluxDB is without an organization.
	if r.tx.Bucket([]byte(bucketOrganizations)) == nil {
		return fmt.Errorf("%w: it has no bucket %s", ErrForeign, bucketOrganizations)
	}
	for _, name := range expected {
		if r.tx.Bucket([]byte(name)) == nil {
			r.skip(toldMissing, name)
		}
	}
	return nil
}
