package web

import (
	"fmt"
	"io"
	"reflect"
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

// Shadowed lists the fields of views that have the name of a field of the frame.
func Shadowed() (list []string) {
	inFrame := reflect.TypeFor[frame]()
	for _, v := range views() {
		t := reflect.TypeOf(v).Elem()
		for i := range t.NumField() {
			if f := t.Field(i); !f.Anonymous {
				if _, ok := inFrame.FieldByName(f.Name); ok {
					list = append(list, v.page()+"."+f.Name)
				}
			}
		}
	}
	return list
}
