package web

import (
	"fmt"
	"io"
)

// RenderAll renders every page with an empty view.
func RenderAll(h *Handler) error {
	for _, v := range views() {
		if err := h.pages[v.page()].ExecuteTemplate(io.Discard, "layout", v); err != nil {
			return fmt.Errorf("%s: %w", v.page(), err)
		}
	}
	return nil
}
