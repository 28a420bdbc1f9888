package vaultkv

import (
	"context"
	"errors"

	"github.com/fluxkeep/fluxkeep/internal/keep"
)

func (c *call) deleteVersions() error {
	return c.eachVersion("No version number provided", c.keep.DeleteVersions)
}

func (c *call) undeleteVersions() error {
	return c.eachVersion("No version number provided", c.keep.UndeleteVersions)
}

func (c *call) destroyVersions() error {
	return c.eachVersion("no version number provided", c.keep.DestroyVersions)
}

// eachVersion applies do to the versions listed in the body. It rejects an
// empty list, which the domain would take as the newest version.
func (c *call) eachVersion(none string, do func(context.Context, keep.Caller, keep.ID, ...uint64) error) error {
	f, err := c.fieldsOfWriter()
	if err != nil {
		return err
	}
	versions, err := f.versions()
	if err != nil {
		return err
	}
	if len(versions) == 0 {
		return invalid(none)
	}
	return c.remove(func(ctx context.Context, caller keep.Caller, org keep.ID) error {
		return do(ctx, caller, org, versions...)
	})
}

// remove runs do, and succeeds if the document or the organization doesn't
// exist, as in Vault.
func (c *call) remove(do func(context.Context, keep.Caller, keep.ID) error) error {
	org, err := c.organization()
	if err == nil {
		err = do(c.r.Context(), c.caller, org)
	}
	if err != nil && !errors.Is(err, keep.ErrOrganizationNotFound) {
		return err
	}
	return c.noContent()
}
