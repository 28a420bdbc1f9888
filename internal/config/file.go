package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// maxConfigFile limits the size of the file, because parsing deeply nested
// tables takes long.
const maxConfigFile = 32 << 10

// fileEntry is one setting in the configuration file.
type fileEntry struct {
	file  string
	line  int
	key   string
	value any
}

func (e fileEntry) where() string { return fmt.Sprintf("%s:%d", e.file, e.line) }

// text returns the value in the syntax of a flag.
func (e fileEntry) text() (string, error) {
	switch v := e.value.(type) {
	case string:
		return v, nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), nil
	case bool:
		return strconv.FormatBool(v), nil
	case []any:
		texts := make([]string, len(v))
		for i := range v {
			s, ok := v[i].(string)
			if !ok {
				return "", errors.New("must be a list of strings")
			}
			texts[i] = s
		}
		return strings.Join(texts, ","), nil
	}
	return "", errors.New("must be a string, a number or a list of strings")
}

func readConfigFile(path string) ([]fileEntry, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxConfigFile+1))
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	if len(b) > maxConfigFile {
		return nil, fmt.Errorf("read the configuration: %s is larger than %d bytes", path, maxConfigFile)
	}
	return parseConfigFile(filepath.Base(path), string(b))
}

// parseConfigFile returns the settings in the order of their lines.
func parseConfigFile(name, text string) ([]fileEntry, error) {
	var values map[string]toml.Primitive
	md, err := toml.Decode(text, &values)
	if err != nil {
		if wrong, ok := errors.AsType[toml.ParseError](err); ok {
			return nil, fmt.Errorf("%s:%d: %s", name, wrong.Position.Line, wrong.Message)
		}
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	entries := make([]fileEntry, 0, len(values))
	for key, v := range values {
		value, line := locate(&md, v)
		entries = append(entries, fileEntry{name, line, key, value})
	}
	slices.SortFunc(entries, func(a, b fileEntry) int {
		return cmp.Or(cmp.Compare(a.line, b.line), strings.Compare(a.key, b.key))
	})
	return entries, nil
}

// locate returns a value and its line. For a table without a header line, such
// as a in a.b = 1, it is the line of a value in the table.
func locate(md *toml.MetaData, v toml.Primitive) (value any, line int) {
	value, line = lineOf(md, v)
	if _, table := value.(map[string]any); table && line == 0 {
		var inner map[string]toml.Primitive
		if md.PrimitiveDecode(v, &inner) == nil {
			for _, w := range inner {
				_, at := lineOf(md, w)
				line = max(line, at)
			}
		}
	}
	return value, max(line, 1)
}

func lineOf(md *toml.MetaData, v toml.Primitive) (value any, line int) {
	var p position
	if found, ok := errors.AsType[toml.ParseError](md.PrimitiveDecode(v, &p)); ok {
		line = found.Position.Line
	}
	return p.value, line
}

// position rejects every value: the parser reports a value's position only in
// an error.
type position struct{ value any }

func (p *position) UnmarshalTOML(v any) error {
	p.value = v
	return errPosition
}

var errPosition = errors.New("looking for the position")
