package client

import (
	"net/http"
	"reflect"
	"unicode/utf8"
)

// errText is the error of a request that JSON cannot represent unchanged.
var errText = &Error{Status: http.StatusBadRequest, Code: ErrInvalid, Message: "the request must be valid UTF-8"}

// checkText refuses a request with text that is not valid UTF-8. encoding/json
// would silently replace each invalid byte by U+FFFD, and the server would
// store a different secret.
func checkText(v reflect.Value) error {
	switch v.Kind() {
	case reflect.String:
		if !utf8.ValidString(v.String()) {
			return errText
		}
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			return checkText(v.Elem())
		}
	case reflect.Map:
		for entries := v.MapRange(); entries.Next(); {
			if err := checkText(entries.Key()); err != nil {
				return err
			}
			if err := checkText(entries.Value()); err != nil {
				return err
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if err := checkText(v.Index(i)); err != nil {
				return err
			}
		}
	case reflect.Struct:
		for field, value := range v.Fields() {
			if !field.IsExported() {
				continue // not sent, such as the fields of a time
			}
			if err := checkText(value); err != nil {
				return err
			}
		}
	}
	return nil
}
