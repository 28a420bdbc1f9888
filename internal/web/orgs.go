package web

import (
	"net/http"
	"slices"
	"strings"

	"github.com/fluxkeep/fluxkeep/internal/keep"
)

type organizationsView struct {
	frame
	Organizations []keep.Organization
}

func (*organizationsView) page() string { return "organizations" }

// organizationsPage lists the organizations. If there is only one, it opens that.
func (c *call) organizationsPage() error {
	list, err := c.keep.Organizations(c.ctx(), c.caller, keep.OrganizationFilter{})
	if err != nil {
		return err
	}
	if len(list) == 0 && c.caller.Token != 0 {
		// A token for secrets alone can't read its organization.
		token, err := c.keep.TokenSelf(c.ctx(), c.caller)
		if err != nil {
			return err
		}
		if c.caller.ReadsSecrets(token.Org) || c.caller.WritesSecrets(token.Org) {
			return c.redirect("/ui/orgs/" + token.Org.String() + "/secrets")
		}
	}
	if len(list) == 1 && !c.r.URL.Query().Has("all") {
		return c.redirect("/ui/orgs/" + list[0].ID.String() + "/secrets")
	}
	slices.SortFunc(list, func(a, b keep.Organization) int { return strings.Compare(a.Name, b.Name) })
	return c.show(http.StatusOK, &organizationsView{Organizations: list})
}
