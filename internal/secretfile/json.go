package secretfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/fluxkeep/fluxkeep/internal/httpapi"
)

func parseJSON(data []byte) (map[string]string, error) {
	var read map[string]any
	if err := httpapi.Decode(data, &read); err != nil {
		return nil, jsonError(data, err)
	}
	if read == nil {
		return nil, errors.New("it must be an object of names and values")
	}
	out := make(map[string]string, len(read))
	for _, name := range slices.Sorted(maps.Keys(read)) {
		value, ok := read[name].(string)
		if !ok {
			return nil, fmt.Errorf("the value of %q must be a string", name)
		}
		out[name] = value
	}
	return out, nil
}

// jsonError reports the line of an error. The message of encoding/json can quote
// the file.
func jsonError(data []byte, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		line := 1 + bytes.Count(data[:min(max(syntax.Offset-1, 0), int64(len(data)))], []byte{'\n'})
		return fmt.Errorf("line %d is not valid JSON", line)
	case errors.As(err, &kind):
		return errors.New("it must be an object of names and values")
	}
	return fmt.Errorf("it is not valid JSON: %w", err)
}

func appendJSON(dst []byte, secrets map[string]string) ([]byte, error) {
	if secrets == nil {
		secrets = map[string]string{}
	}
	b := bytes.NewBuffer(dst)
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(secrets); err != nil {
		return nil, fmt.Errorf("write JSON: %w", err)
	}
	return b.Bytes(), nil
}
