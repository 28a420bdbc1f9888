package web

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestCanaryDay uses the page for a day, in a browser with a profile that crashes at the
// end and restores its session. Afterwards neither the profile, nor the server's files
// and log, nor the log of a proxy in between has a name, a value, a token or a password.
func TestCanaryDay(t *testing.T) {
	t.Parallel()
	s := start(t, "--audit-names", "hashed", "--log-level", "debug", "--trusted-proxies", "127.0.0.1")
	proxy := &loggingProxy{}
	s.url = proxy.start(t, s.url)
	s.user, s.password, s.name = "admin", "canary-password-9461", "acme"
	confidential := map[string]string{"the password": s.password, "a wrong password": "canary-wrong-7745"}
	confide := func(what string) string {
		confidential[what] = fmt.Sprintf("canary_%s_%d", strings.ReplaceAll(what, " ", "_"), 5000+len(confidential))
		return confidential[what]
	}

	profile := newProfile(t)
	b := s.openIn(profile, "/")
	b.setUp()
	confidential["the operator token"] = s.token
	b.click("input[type=checkbox][required]")
	b.button("Continue")
	b.await("No secrets in acme yet")
	var orgs struct{ Orgs []struct{ ID string } }
	s.api("GET", "/api/v2/orgs", nil, &orgs)
	s.org = orgs.Orgs[0].ID

	// A form that is answered with a question, and then saved.
	name := confide("name")
	b.goTo(s.orgPath("/secrets/new"))
	b.fill("#name", name)
	b.fill("#value", confide("value")+" ")
	b.button("Add the secret")
	b.await("The value ends with white space")
	b.click("[name=anyway]")
	b.await("Added. Saved as version 1.")
	b.click("[data-do=show]")
	b.await("Keep showing")
	b.click("[data-do=copy]")
	b.await("It stays in the clipboard")
	b.click("[data-key=e]")
	b.await("New value")
	b.fill("#value", confide("changed value"))
	b.button("Save the new value")
	b.await("Saved as version 2.")

	b.goTo(s.orgPath("/secrets"))
	b.fill("#filter", name)
	b.press("\r")
	b.await("1 of 1", "Clear")
	b.click("[name=select]")
	b.button("Delete…")
	b.await("Delete 1 secret?")
	b.goTo("/ui/me")
	b.click("details.menu:not(.narrow) > summary")
	b.button("Sign out")
	b.await("You are signed out.")
	b.fill("#username", s.user)
	b.fill("#password", confidential["a wrong password"])
	b.button("Sign in")
	b.await("The username or the password is wrong.")
	b.button("Use a token instead")
	b.fill("#token", s.token)
	b.press("\r")
	b.await(name)

	// The browser crashes with what was typed in a field and in a preview.
	b.goTo(s.orgPath("/secrets/import"))
	b.fill("#content", confide("pasted name")+"="+confide("pasted value"))
	b.button("Preview")
	b.await("Nothing has been written yet")
	b.crash()

	restored := s.openIn(profile, "/ui/help", chromedp.Flag("restore-last-session", true))
	restored.await("Fluxkeep")
	restored.end()
	s.stop()

	files := searchFiles(t, profile, confidential)
	files += searchFiles(t, s.dir, confidential)
	search(t, "the server's log", []byte(s.log.String()), confidential)
	search(t, "the proxy's log", proxy.log.Bytes(), confidential)
	if !bytes.Contains(proxy.log.Bytes(), []byte("/ui/orgs/"+s.org+"/secrets")) || !strings.Contains(s.log.String(), "route=") || files < 50 {
		t.Errorf("the logs or the %d files have less than they should", files)
	}
	for what, text := range map[string]string{"the pages that were open": s.org, "the script, which is compressed": "hideValues"} {
		if !contains(t, profile, text) {
			t.Errorf("the profile doesn't have %s, so the search finds nothing", what)
		}
	}
	for line := range strings.Lines(proxy.log.String()) {
		if strings.Contains(line, "Content-Encoding") && !strings.Contains(line, "gzip") {
			t.Errorf("the search can't decompress what came with %s", line)
		}
	}
}

// loggingProxy is a reverse proxy that logs all that a proxy may.
type loggingProxy struct {
	mu  sync.Mutex
	log bytes.Buffer
}

// start starts the proxy in front of a server, and returns its address.
func (p *loggingProxy) start(t *testing.T, to string) string {
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	note := func(line string, header http.Header, without string) {
		p.mu.Lock()
		defer p.mu.Unlock()
		fmt.Fprintln(&p.log, line)
		for name, values := range header {
			if name != without && name != "Authorization" {
				fmt.Fprintf(&p.log, "\t%s: %q\n", name, values)
			}
		}
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(u)
			r.Out.Host = r.In.Host
			note(r.In.Method+" "+r.In.RequestURI, r.In.Header, "Cookie")
		},
		ModifyResponse: func(r *http.Response) error {
			note(r.Status, r.Header, "Set-Cookie")
			return nil
		},
	}
	front := httptest.NewServer(proxy)
	t.Cleanup(front.Close)
	return front.URL
}

// search looks for confidential texts in some content, in every form that they may have.
func search(t *testing.T, where string, content []byte, confidential map[string]string) {
	t.Helper()
	for _, part := range unpacked(content) {
		search(t, where+", decompressed", part, confidential)
	}
	for what, text := range confidential {
		for form, encoded := range encodings(text) {
			if bytes.Contains(content, []byte(encoded)) {
				t.Errorf("%s is in %s, %s", what, where, form)
			}
		}
	}
}

// unpacked returns what the gzip streams in some content hold. The server compresses its
// pages, and the browser's cache has them as they came.
func unpacked(content []byte) (parts [][]byte) {
	for {
		_, after, found := bytes.Cut(content, []byte{0x1f, 0x8b, 8})
		if !found {
			return parts
		}
		if z, err := gzip.NewReader(bytes.NewReader(content[len(content)-len(after)-3:])); err == nil {
			z.Multistream(false)
			part, _ := io.ReadAll(z) // what comes before damage counts too
			parts = append(parts, part)
		}
		content = after
	}
}

func encodings(text string) map[string]string {
	out := map[string]string{
		"as it is": text, "in hex": hex.EncodeToString([]byte(text)), "URL-escaped": url.QueryEscape(text),
		"in UTF-16": strings.TrimSuffix(strings.Join(strings.Split(text, ""), "\x00"), "\x00"),
	}
	for before := range 3 {
		// Without the characters that depend on what is next to the text.
		encoded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("\x00", before) + text))
		out[fmt.Sprintf("in base64, %d bytes in", before)] = encoded[(before*8+5)/6 : (before+len(text))*8/6]
	}
	return out
}

// searchFiles searches all files of a folder, and returns how many there are.
func searchFiles(t *testing.T, dir string, confidential map[string]string) (files int) {
	t.Helper()
	each(t, dir, func(name string, content []byte) {
		files++
		search(t, name, content, confidential)
	})
	return files
}

func contains(t *testing.T, dir, text string) (found bool) {
	t.Helper()
	each(t, dir, func(_ string, content []byte) {
		for _, part := range append(unpacked(content), content) {
			found = found || bytes.Contains(part, []byte(text))
		}
	})
	return found
}

// each reads all files of a folder. The browser's processes still remove some for a moment
// after it has ended.
func each(t *testing.T, dir string, fn func(name string, content []byte)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if path != dir && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			fn(strings.TrimPrefix(path, dir), content)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// crash ends the browser as a crash does.
func (b *tab) crash() {
	b.t.Helper()
	c := chromedp.FromContext(b.ctx)
	if err := c.Browser.Process().Kill(); err != nil {
		b.t.Fatal(err)
	}
	c.Allocator.Wait()
}

// end closes the browser.
func (b *tab) end() {
	b.t.Helper()
	if err := chromedp.Cancel(b.ctx); err != nil && b.ctx.Err() == nil {
		b.t.Error(err)
	}
}
