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
	// ErrDamaged means that the file is not as InfluxDB wrote it.
	ErrDamaged = errors.New("the bolt file is damaged")
	// ErrForeign means that the file is not one of InfluxDB 2.x.
	ErrForeign = errors.New("not a bolt file of InfluxDB 2.x")
	// ErrLocked means that another process, such as influxd, has the file
	// open.
	ErrLocked = errors.New("in use by another process: stop influxd or use a copy of the file")
)

// lockTime is how long to wait for another process to close the file.
const lockTime = time.Second

// The buckets to read. Every InfluxDB 2.x creates the expected ones; if one is
// missing, the others are read anyway.
const (
	bucketOrganizations = "organizationsv1"
	bucketUsers         = "usersv1"
	bucketPasswords     = "userspasswordv1"
	bucketMembers       = "userresourcemappingsv1"
	bucketTokens        = "authorizationsv1"
	bucketSecrets       = "secretsv1"

	bucketInstance = "idsv1"

	indexOrganizations = "organizationindexv1"
	indexUsers         = "userindexv1"
	indexTokens        = "authorizationindexv1"
	indexHashes        = "authorizationhashedindexv1" // since 2.8
	legacyTokens       = "legacy/authorizationsv1"    // for the InfluxDB 1.x API
)

var (
	expected = []string{
		bucketOrganizations, bucketUsers, bucketPasswords, bucketMembers, bucketTokens, bucketSecrets,
		indexOrganizations, indexUsers, indexTokens,
	}
	optional = []string{bucketInstance, indexHashes, legacyTokens}
)

// skippedChange is in Contents.Skipped if bolt had to fall back to the state
// before the last transaction.
const skippedChange = "one of the file's first two pages is damaged: InfluxDB's last change may be missing"

// skippedBucket is in Contents.Skipped for a missing bucket.
const skippedBucket = "the file has no bucket %s: its records are missing"

// Read returns the contents of the bolt file at path, without changing it. The
// error wraps ErrDamaged, ErrForeign or ErrLocked, or comes from the file
// system. Damage to a single record is not an error; see Contents.Skipped.
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
		return nil, withoutPath(err)
	}
	if !info.Mode().IsRegular() || info.Size() == 0 {
		return nil, fmt.Errorf("%w: it is empty or not a file", ErrForeign)
	}
	// A program that ignores the lock and truncates the file while it is being
	// read causes a memory fault. The panic's message is dropped, since it may
	// contain bytes of the file.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			err = fmt.Errorf("%w: it cannot be read", ErrDamaged)
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
		return nil, fmt.Errorf("%w: both of its first two pages are damaged", ErrDamaged)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrVersionMismatch):
		return nil, ErrForeign
	case err != nil && !fromSystem(err):
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	case err != nil:
		return nil, withoutPath(err)
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

// withoutPath removes the path from an error, since Read adds it.
func withoutPath(err error) error {
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

// check makes sure that bbolt can read the buckets it needs, and reports other
// damage to the file.
func (r *reader) check(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return withoutPath(err)
	}
	pageSize := r.tx.DB().Info().PageSize
	metas := readMetas(file, pageSize)
	if len(metas) < 2 {
		r.skip(skippedChange)
	}
	at := slices.IndexFunc(metas, func(m meta) bool { return m.change == uint64(r.tx.ID()) })
	if at < 0 {
		return fmt.Errorf("%w: its first two pages cannot be read", ErrDamaged)
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
	// Every InfluxDB has this bucket.
	if r.tx.Bucket([]byte(bucketOrganizations)) == nil {
		return fmt.Errorf("%w: it has no bucket %s", ErrForeign, bucketOrganizations)
	}
	for _, name := range expected {
		if r.tx.Bucket([]byte(name)) == nil {
			r.skip(skippedBucket, name)
		}
	}
	return nil
}
