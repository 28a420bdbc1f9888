package influxv2

import (
	"net/http"

	"github.com/fluxkeep/fluxkeep/internal/keep"
)

type memberAnswer struct {
	Role keep.Role `json:"role"`
	userAnswer
}

type membersAnswer struct {
	Links map[string]string `json:"links"`
	Users []memberAnswer    `json:"users"`
}

func (c *call) listMembers(role keep.Role) error {
	org, err := c.organization()
	if err != nil {
		return err
	}
	users, err := c.keep.Members(c.ctx(), c.caller, org, role)
	if err != nil {
		return hideOrganization(err)
	}
	self := "/api/v2/orgs/" + org.String() + "/" + string(role) + "s"
	out := membersAnswer{map[string]string{"self": self}, make([]memberAnswer, len(users))}
	for i, u := range users {
		out.Users[i] = memberAnswer{role, userAnswerOf(u.User)}
	}
	return c.respondList(out)
}

func (c *call) addMember(role keep.Role) error {
	org, err := c.organization()
	if err != nil {
		return err
	}
	var body userBody
	if err := c.decode(&body, badPlain); err != nil {
		return c.invalidRequest(org, err)
	}
	if body.ID == 0 {
		return c.invalidRequest(org, invalid("user id missing or invalid"))
	}
	u, err := c.keep.AddMember(c.ctx(), c.caller, org, body.ID, role)
	if err != nil {
		return hideOrganization(err)
	}
	return c.respond(http.StatusCreated, memberAnswer{role, userAnswerOf(u)})
}

// removeMember removes the user's role, whichever it is: as in InfluxDB, the
// path doesn't select the role.
func (c *call) removeMember() error {
	org, err := c.organization()
	if err != nil {
		return err
	}
	user, err := c.id("userID")
	if err != nil {
		return c.invalidRequest(org, err)
	}
	if err := c.keep.RemoveMember(c.ctx(), c.caller, org, user); err != nil {
		return hideOrganization(err)
	}
	return c.noContent()
}
