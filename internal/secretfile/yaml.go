package secretfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"

	"go.yaml.in/yaml/v3"
)

func parseYAML(data []byte) (map[string]string, error) {
	d := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	err := d.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return map[string]string{}, nil
	}
	if err != nil {
		return nil, yamlError(err)
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		if err != nil {
			return nil, yamlError(err)
		}
		return nil, errors.New("there is more than one YAML document in it")
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return map[string]string{}, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("line %d: it must be a mapping of names to values", root.Line)
	}
	return yamlMapping(root)
}

func yamlMapping(root *yaml.Node) (map[string]string, error) {
	out := make(map[string]string)
	lines := make(map[string]int)
	for pair := range slices.Chunk(root.Content, 2) {
		name, err := yamlText(pair[0])
		if err != nil {
			return nil, fmt.Errorf("line %d: a name %w", pair[0].Line, err)
		}
		value, err := yamlText(pair[1])
		if err != nil {
			return nil, fmt.Errorf("line %d: the value of %q %w", pair[1].Line, name, err)
		}
		if first, ok := lines[name]; ok {
			return nil, fmt.Errorf("line %d: %q is already on line %d", pair[0].Line, name, first)
		}
		out[name], lines[name] = value, pair[0].Line
	}
	return out, nil
}

// yamlText returns a scalar as it is written: in YAML, 0123 and on are a number
// and a boolean, but a user who writes them as a secret's value means the text.
func yamlText(n *yaml.Node) (string, error) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.ScalarNode {
		return "", errors.New("must be text")
	}
	switch n.ShortTag() {
	case "!!str", "!!int", "!!float", "!!bool", "!!timestamp":
		return n.Value, nil
	case "!!null":
		return "", errors.New(`must be text, not null; the empty value is ""`)
	}
	return "", errors.New("must be text, without a tag")
}

var yamlLine = regexp.MustCompile(`line (\d+)`)

// yamlError reports the line of an error, without the text that the library
// quotes.
func yamlError(err error) error {
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		return fmt.Errorf("line %s is not valid YAML", m[1])
	}
	return errors.New("it is not valid YAML")
}

func appendYAML(dst []byte, secrets map[string]string) ([]byte, error) {
	root := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	if len(secrets) == 0 {
		root.Style = yaml.FlowStyle
	}
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		root.Content = append(root.Content, YAMLText(name), YAMLText(secrets[name]))
	}
	b := bytes.NewBuffer(dst)
	e := yaml.NewEncoder(b)
	if err := errors.Join(e.Encode(root), e.Close()); err != nil {
		return nil, fmt.Errorf("write YAML: %w", err)
	}
	return b.Bytes(), nil
}

// yamlPlain matches text that needs no quotes, unless it is a boolean or null
// in some version of YAML.
var (
	yamlPlain = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	yamlWord  = regexp.MustCompile(`^(?i:y|n|yes|no|on|off|true|false|null)$`)
)

// YAMLText returns a scalar. It quotes any text that some reader could interpret differently.
func YAMLText(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s, Style: yaml.DoubleQuotedStyle}
	if yamlPlain.MatchString(s) && !yamlWord.MatchString(s) {
		n.Style = 0
	}
	return n
}
