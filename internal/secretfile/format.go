package secretfile

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// Format is a file format.
type Format string

// The formats.
const (
	Dotenv Format = "dotenv"
	JSON   Format = "json"
	YAML   Format = "yaml"
)

// Formats returns all formats.
func Formats() []Format { return []Format{Dotenv, JSON, YAML} }

// ParseFormat finds a format by its name.
func ParseFormat(s string) (Format, error) {
	for _, f := range Formats() {
		if strings.EqualFold(s, string(f)) {
			return f, nil
		}
	}
	return "", fmt.Errorf("there is no format %q: it is dotenv, json or yaml", s)
}

// FormatOf returns the format for a file's name: Dotenv unless it ends with
// .json, .yaml or .yml.
func FormatOf(path string) Format {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".json":
		return JSON
	case ".yaml", ".yml":
		return YAML
	}
	return Dotenv
}

// Parse reads a file.
func Parse(f Format, data []byte) (map[string]string, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !utf8.Valid(data) {
		return nil, errors.New("it is not valid UTF-8")
	}
	switch f {
	case JSON:
		return parseJSON(data)
	case YAML:
		return parseYAML(data)
	}
	return parseDotenv(string(data))
}

// Append appends a file's text to dst, with the names in byte order.
func Append(dst []byte, f Format, secrets map[string]string) ([]byte, error) {
	for name, value := range secrets {
		if !utf8.ValidString(name) || !utf8.ValidString(value) {
			return nil, fmt.Errorf("secret %q is not valid UTF-8", name)
		}
	}
	switch f {
	case JSON:
		return appendJSON(dst, secrets)
	case YAML:
		return appendYAML(dst, secrets)
	}
	return appendDotenv(dst, secrets)
}
