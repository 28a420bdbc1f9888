package web

import "net/http"

type helpView struct{ frame }

func (*helpView) page() string { return "help" }

func (c *call) helpPage() error { return c.show(http.StatusOK, &helpView{}) }
