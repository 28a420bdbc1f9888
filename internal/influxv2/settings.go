package influxv2

import (
	"net/http"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// settingsBody has the settings of an organization's versions. In a change, missing
// ones stay as they are.
type settingsBody struct {
	MaxVersions        *int    `json:"maxVersions"`
	CASRequired        *bool   `json:"casRequired"`
	DeleteVersionAfter *string `json:"deleteVersionAfter"` // "0s": never
}

func (c *call) getSettings() error {
	org, err := c.organization()
	if err != nil {
		return err
	}
	s, err := c.keep.Settings(c.ctx(), c.caller, org)
	if err != nil {
		return hideOrganization(err)
	}
	return c.respond(http.StatusOK, settingsBody{&s.MaxVersions, &s.CASRequired, new(s.DeleteVersionAfter.String())})
}

func (c *call) patchSettings() error {
	org, err := c.organization()
	if err != nil {
		return err
	}
	var body *settingsBody
	if err := c.decodeKnown(&body, badJSON); err != nil {
		return c.invalidRequest(org, err)
	}
	if body == nil {
		return c.invalidRequest(org, invalid("the body must be an object"))
	}
	u := keep.SettingsUpdate{MaxVersions: body.MaxVersions, CASRequired: body.CASRequired}
	if body.DeleteVersionAfter != nil {
		after, err := time.ParseDuration(*body.DeleteVersionAfter)
		if err != nil || after < 0 {
			return c.invalidRequest(org, invalid("deleteVersionAfter must be a duration such as 720h, or 0s for never"))
		}
		u.DeleteVersionAfter = &after
	}
	if err := c.keep.UpdateSettings(c.ctx(), c.caller, org, u); err != nil {
		return hideOrganization(err)
	}
	return c.noContent()
}
