package record

import (
	"errors"
	"fmt"

	"github.com/fluxkeep/fluxkeep/internal/seal"
)

// DamageError reports damage to stored data.
type DamageError struct {
	What string // by kind and IDs, never by content
	Err  error
	// Unnamed says that the damaged record can't be identified.
	Unnamed bool
}

func (e *DamageError) Error() string { return fmt.Sprintf("%s is damaged: %v", e.What, e.Err) }

func (e *DamageError) Unwrap() []error { return []error{seal.ErrDamaged, e.Err} }

// Damaged returns a DamageError for the record at key.
func Damaged(key []byte, err error) error { return &DamageError{What: Describe(key), Err: err} }

// ErrNoEntry says that an object exists but its lookup entry doesn't.
var ErrNoEntry = errors.New("its lookup entry is missing")

// CheckRevisions checks that the two records of the object at key were written
// together.
func CheckRevisions(key []byte, object, entry uint64) error {
	if object != entry {
		return Damaged(key, fmt.Errorf("its records are of revisions %d and %d: one is older than the other", object, entry))
	}
	return nil
}

// Findings collects the damage that a check of all records finds. Each damage is
// reported once, without its consequences elsewhere.
type Findings struct {
	found func(what string, err error)
	told  map[string]bool
	count int
}

// NewFindings returns Findings that call found with each damage.
func NewFindings(found func(what string, err error)) *Findings {
	return &Findings{found: found, told: map[string]bool{}}
}

// Count returns the number of findings.
func (f *Findings) Count() int { return f.count }

// Add reports damage.
func (f *Findings) Add(what string, err error) {
	f.told[what] = true
	f.count++
	f.found(what, err)
}

// Check reports err, unless it is nil, under the name that it contains or else
// under what. It returns false if it reported nothing, for example because that
// name was reported before.
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
