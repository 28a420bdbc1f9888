package secretfile

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// This package reads the dotenv syntax that most tools and shells agree on:
//
//	# a comment
//	export NAME=plain text   # and a comment after a space
//	NAME='literal text, over several lines if necessary'
//	NAME="the same, with the escapes \n \r \t \\ \" \$ and \`"
//
// Nothing is expanded: a $ is a $. Tools must not read different values from
// the same file.

// dotenvName matches names that all tools accept.
var dotenvName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)

// escapes are the escapes in double quotes. Any other backslash is literal.
var escapes = map[byte]byte{'n': '\n', 'r': '\r', 't': '\t', '\\': '\\', '"': '"', '$': '$', '`': '`'}

type dotenvParser struct {
	text string
	at   int
	line int
}

// maxErrors limits the errors about one file.
const maxErrors = 20

// parseDotenv returns all errors of the file, each with its line.
func parseDotenv(text string) (map[string]string, error) {
	p := dotenvParser{text: text, line: 1}
	out := make(map[string]string)
	lines := make(map[string]int)
	var wrong []error
	for p.skipToName(); p.at < len(p.text) && len(wrong) < maxErrors; p.skipToName() {
		line := p.line
		name, value, err := p.assignment()
		if first, ok := lines[name]; err == nil && ok {
			err = fmt.Errorf("%s is already on line %d", name, first)
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("line %d: %w", line, err))
			p.toLineEnd()
			continue
		}
		out[name], lines[name] = value, line
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	return out, nil
}

// skipToName skips empty lines and comments.
func (p *dotenvParser) skipToName() {
	for p.at < len(p.text) {
		switch p.text[p.at] {
		case '\n':
			p.line++
			p.at++
		case ' ', '\t', '\r':
			p.at++
		case '#':
			p.toLineEnd()
		default:
			return
		}
	}
}

// toLineEnd returns the rest of the line.
func (p *dotenvParser) toLineEnd() string {
	rest := p.text[p.at:]
	if end := strings.IndexByte(rest, '\n'); end >= 0 {
		rest = rest[:end]
	}
	p.at += len(rest)
	return rest
}

func (p *dotenvParser) blanks() {
	p.at += len(p.text[p.at:]) - len(strings.TrimLeft(p.text[p.at:], " \t"))
}

func (p *dotenvParser) word() string {
	rest := p.text[p.at:]
	end := strings.IndexAny(rest, " \t\r\n=#'\"")
	if end < 0 {
		end = len(rest)
	}
	p.at += end
	return rest[:end]
}

func (p *dotenvParser) assignment() (name, value string, err error) {
	name = p.word()
	before := p.at
	if p.blanks(); name == "export" && p.at > before && !p.next('=') {
		name = p.word()
		p.blanks()
	}
	if !dotenvName.MatchString(name) || !p.next('=') {
		return "", "", fmt.Errorf("this is not NAME=value")
	}
	p.at++
	p.blanks()
	value, err = p.value()
	return name, value, err
}

func (p *dotenvParser) next(c byte) bool { return p.at < len(p.text) && p.text[p.at] == c }

func (p *dotenvParser) value() (string, error) {
	switch {
	case p.next('\''):
		return p.quoted('\'')
	case p.next('"'):
		return p.quoted('"')
	}
	line := p.toLineEnd()
	for i := range len(line) {
		if line[i] == '#' && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t') {
			line = line[:i]
			break
		}
	}
	return strings.Trim(line, " \t\r"), nil
}

// quoted reads up to the closing quote, over several lines if necessary.
func (p *dotenvParser) quoted(quote byte) (string, error) {
	var b strings.Builder
	for p.at++; p.at < len(p.text); p.at++ {
		c := p.text[p.at]
		switch {
		case c == quote:
			p.at++
			return b.String(), p.lineEnds()
		case c == '\\' && quote == '"' && p.at+1 < len(p.text) && escapes[p.text[p.at+1]] != 0:
			p.at++
			c = escapes[p.text[p.at]]
		case c == '\n':
			p.line++
		}
		b.WriteByte(c)
	}
	return "", fmt.Errorf("the closing %c is missing", quote)
}

// lineEnds makes sure that the rest of the line is empty or a comment.
func (p *dotenvParser) lineEnds() error {
	rest := strings.TrimSpace(p.toLineEnd())
	if rest != "" && rest[0] != '#' {
		return fmt.Errorf("there is text after the closing quote")
	}
	return nil
}

// dotenvPlain matches values that need no quotes, even in a shell.
var dotenvPlain = regexp.MustCompile(`^[A-Za-z0-9_./:@%+,=-]+$`)

func appendDotenv(dst []byte, secrets map[string]string) ([]byte, error) {
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		if !dotenvName.MatchString(name) {
			return nil, &NameError{Format: Dotenv, Name: name}
		}
		dst = append(dst, name...)
		dst = append(dst, '=')
		dst = appendQuoted(dst, secrets[name])
		dst = append(dst, '\n')
	}
	return dst, nil
}

// appendQuoted writes a value in the simplest form that all tools read alike.
func appendQuoted(dst []byte, value string) []byte {
	switch {
	case dotenvPlain.MatchString(value):
		return append(dst, value...)
	case !strings.ContainsAny(value, "'\\\r"):
		dst = append(dst, '\'')
		dst = append(dst, value...)
		return append(dst, '\'')
	}
	dst = append(dst, '"')
	for i := range len(value) {
		switch c := value[i]; c {
		case '\\', '"', '$', '`':
			dst = append(dst, '\\', c)
		case '\r':
			dst = append(dst, `\r`...)
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// NameError reports that a format can't hold a name.
type NameError struct {
	Format Format
	Name   string
}

func (e *NameError) Error() string {
	return fmt.Sprintf("%s can't hold the name %q", e.Format, e.Name)
}
