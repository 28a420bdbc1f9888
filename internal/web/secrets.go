package web

import (
	"net/http"
)

type secretsView struct {
	frame
	Rows []secretRow
}

func (*secretsView) page() string { return "secrets" }

type secretRow struct {
	Name, Ref string
}

func (c *call) secretsPage() error {
	names, err := c.keep.SecretNames(c.ctx(), c.caller, c.org)
	if err != nil {
		return err
	}
	ref, err := c.keep.References(c.ctx(), c.caller, c.org)
	if err != nil {
		return err
	}
	v := &secretsView{}
	for _, name := range names {
		v.Rows = append(v.Rows, secretRow{Name: name, Ref: ref(name)})
	}
	return c.show(http.StatusOK, v)
}
