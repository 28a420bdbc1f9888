package vaultkv

import (
	"context"

	"github.com/fluxkeep/fluxkeep/internal/keep"
)

func (c *call) deleteVersions() error   { return c.eachVersion(c.keep.DeleteVersions) }
func (c *call) undeleteVersions() error { return c.eachVersion(c.keep.UndeleteVersions) }
func (c *call) destroyVersions() error  { return c.eachVersion(c.keep.DestroyVersions) }

// eachVersion does something with the versions that the body lists, of which
// there is at least one: the domain takes none for the newest.
func (c *call) eachVersion(do func(context.Context, keep.Caller, keep.ID, ...uint64) error) error {
	f, err := c.fields()
	if err != nil {
		return err
	}
	versions, err := f.versions()
	if err != nil {
		return err
	}
	org, err := c.organization()
	if err != nil {
		return err
	}
	if err := do(c.r.Context(), c.caller, org, versions...); err != nil {
		return err
	}
	return c.done(warnUnknown(f, "versions"))
}
