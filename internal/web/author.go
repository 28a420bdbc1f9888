package web

import (
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// orgPath returns the path of a page of the organization.
func (c *call) orgPath(rest string) string { return "/ui/orgs/" + c.org.String() + rest }

// done returns the sentence for the word in ?done=, "" for an unknown one.
func (c *call) done(sentences map[string]string) string {
	return sentences[c.r.URL.Query().Get("done")]
}

// viewSecrets calls fn with the organization's secrets. All that a page shows of them is
// read there, so that it is consistent and has one audit record.
func (c *call) viewSecrets(action string, fn func(*keep.SecretsView) error) error {
	return c.keep.ViewSecrets(c.ctx(), c.caller, action, c.org, nil, fn)
}

// author describes who made a change or a read.
type author struct {
	Name     string // "" if the caller may not know
	Protocol keep.Protocol
}

// String returns the name, "" if nothing is known.
func (a author) String() string {
	if a.Name == "" && a.Protocol != "" {
		return "somebody"
	}
	return a.Name
}

func authorOf(ch keep.SecretChange) author {
	return authorNamed(ch.Author.User, ch.Author.Token, ch.UserName, ch.Description, ch.Author.Protocol)
}

func readerOf(r keep.SecretReader) author {
	return authorNamed(r.User, r.Token, r.UserName, r.Description, r.Protocol)
}

// authorNamed names a token by its description and a user by its name, and either by
// its ID if that is unknown.
func authorNamed(user, token keep.ID, userName, description string, p keep.Protocol) author {
	a := author{Name: userName, Protocol: p}
	switch {
	case token != 0:
		if a.Name = description; a.Name == "" {
			a.Name = token.String()
		}
	case user != 0 && a.Name == "":
		a.Name = user.String()
	}
	return a
}
