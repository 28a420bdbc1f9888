package record

import (
	"errors"
	"fmt"

	"github.com/fluxkeep/fluxkeep/internal/seal"
)

// DamageError reports stored bytes that can't be right.
type DamageError struct {
	What string // by kind and IDs, never by content
	Err  error
	// Unnamed says that it can't be told which record it is.
	Unnamed bool
}

func (e *DamageError) Error() string { return fmt.Sprintf("%s is damaged: %v", e.What, e.Err) }

func (e *DamageError) Unwrap() []error { return []error{seal.ErrDamaged, e.Err} }

// Damaged says that the record at key is damaged.
func Damaged(key []byte, err error) error { return &DamageError{What: Describe(key), Err: err} }

// ErrNoEntry says that an object exists and the record by which it is found
// does not.
var ErrNoEntry = errors.New("its lookup entry is missing")

// CheckRevisions checks that two records of one object, which stands at key,
// were written together.
func CheckRevisions(key []byte, object, entry uint64) error {
	if object != entry {
		return Damaged(key, fmt.Errorf("its records are of revisions %d and %d: one is older than the other", object, entry))
	}
	return nil
}

// Findings are what a check of all records finds. Damage is told once, and what
// follows from it elsewhere is not.
type Findings struct {
	found func(what string, err error)
	told  map[string]bool
	count int
}

// NewFindings returns findings that are told to found.
func NewFindings(found func(what string, err error)) *Findings {
	return &Findings{found: found, told: map[string]bool{}}
}

// Count returns how many were found.
func (f *Findings) Count() int { return f.count }

// Add tells of damage.
func (f *Findings) Add(what string, err error) {
	f.told[what] = true
	f.count++
	f.found(what, err)
}

// Check tells of err, if there is one, by the name that it carries or else by
// what. It reports whether it did: it does not if that was told of before.
func (f *Findings) Check(what string, err error) bool {
	if err == nil {
		return false
	}
	var d *DamageError
	if errors.As(err, &d) {
		what, err = d.What, d.Err
	}
	if f.told[what] {
		return false
	}
	f.Add(what, err)
	return true
}
