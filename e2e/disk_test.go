package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// confidential lists what must not be readable on the disk. All names of secrets
// contain one word and everything else contains another, so searching for two words
// finds all of them, even in a modified form. Tokens, which the server chooses, are
// added one by one.
type confidential struct {
	name  string
	other string

	mu     sync.Mutex
	tokens []string
}

func (c *confidential) add(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tokens = append(c.tokens, token)
}

// in returns the confidential words that are readable in a file. The audit log may
// contain names of secrets.
func (c *confidential) in(content []byte, isAudit bool) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	words := append(slices.Clone(c.tokens), c.other)
	if !isAudit {
		words = append(words, c.name)
	}
	var found []string
	for _, w := range words {
		for form, text := range forms(w) {
			if bytes.Contains(content, []byte(text)) {
				found = append(found, fmt.Sprintf("%s as %s", w, form))
			}
		}
	}
	return found
}

// forms returns the forms in which a word can be read.
func forms(word string) map[string]string {
	out := map[string]string{"it is": word, "hex": hex.EncodeToString([]byte(word))}
	out["upper-case hex"] = strings.ToUpper(out["hex"])
	out["URL-escaped"] = url.QueryEscape(word)
	var escaped strings.Builder
	for _, b := range []byte(word) {
		fmt.Fprintf(&escaped, "%%%02X", b)
	}
	out["wholly URL-escaped"] = escaped.String()
	out["UTF-16"] = string(utf16(word))
	for name, encoding := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
		// Three bytes become four characters, so the word has three encodings,
		// depending on its position. The characters at both ends also depend on
		// the adjacent bytes.
		for before := range 3 {
			text := encoding.EncodeToString([]byte(strings.Repeat("\x00", before) + word))
			first, last := (before*8+5)/6, (before+len(word))*8/6
			out[fmt.Sprintf("%s, %d bytes in", name, before)] = text[first:last]
		}
	}
	return out
}

func utf16(word string) []byte {
	var out []byte
	for _, b := range []byte(word) { // words are ASCII
		out = append(out, b, 0)
	}
	return out[:len(out)-1]
}

// checkNothingReadable searches all files that the server has written.
func (s *server) checkNothingReadable() {
	s.t.Helper()
	found, searched, err := s.secrets.search(s.dir, s.logFile)
	if err != nil {
		s.t.Errorf("search the disk: %v", err)
	}
	for _, f := range found {
		s.t.Errorf("readable on the disk: %s", f)
	}
	if searched < 4 {
		s.t.Errorf("only %d files were searched", searched)
	}
}

// search searches files and folders, and reports what is readable where.
func (c *confidential) search(paths ...string) (found []string, searched int, err error) {
	for _, path := range paths {
		err = errors.Join(err, filepath.WalkDir(path, func(file string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // a running server removes files
			}
			if err != nil || d.IsDir() {
				return err
			}
			content, err := os.ReadFile(file)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			searched++
			content = bytes.TrimRight(content, "\x00") // etcd reserves space
			isAudit := strings.HasPrefix(d.Name(), "audit.log")
			for _, f := range c.in(append(content, d.Name()...), isAudit) {
				found = append(found, f+" in "+d.Name())
			}
			return err
		}))
	}
	return found, searched, err
}

// TestSearchFinds checks the search with which every test ends.
func TestSearchFinds(t *testing.T) {
	c := &confidential{name: randomWord(), other: randomWord()}
	token := "p9_" + randomWord() + "-?>~=="
	c.add(token)
	for _, word := range []string{c.name, c.other, token} {
		for _, around := range []struct{ before, after string }{{"", ""}, {"x", "y"}, {"{\"k\":\"", "\"}"}, {"\xff\xfe", "\x00"}} {
			text := []byte(around.before + word + around.after)
			for form, content := range map[string]string{
				"plain":      string(text),
				"base64":     base64.StdEncoding.EncodeToString(text),
				"base64url":  base64.URLEncoding.EncodeToString(text),
				"hex":        hex.EncodeToString(text),
				"HEX":        fmt.Sprintf("%X", text),
				"URL query":  url.QueryEscape(string(text)),
				"in a name":  "",
				"long after": strings.Repeat("\x00", 1<<20) + string(text),
			} {
				dir := t.TempDir()
				name := "file"
				if form == "in a name" {
					if strings.ContainsAny(string(text), "\x00/") {
						continue
					}
					name = string(text)
				}
				if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
				found, searched, err := c.search(dir)
				if err != nil || searched != 1 || len(found) == 0 {
					t.Errorf("%s of %q: found %q in %d files, %v", form, text, found, searched, err)
				}
			}
		}
	}
	if found := c.in([]byte(c.name), true); len(found) > 0 {
		t.Errorf("the audit log may name secrets, and %q was found", found)
	}
	if found := c.in([]byte(randomWord()+token[:len(token)-4]), false); len(found) > 0 {
		t.Errorf("%q was found in a file without it", found)
	}
}
