package web

import (
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

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
