package web

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

var pictures = flag.Bool("pictures", false, "make the pictures of docs/web.md")

// TestMain sets these for all tests.
var (
	program  string // the path of the program
	chromium string // the browser's, "" if there is none
	noChrome string // why there is none
)

func TestMain(m *testing.M) {
	flag.Parse()
	status, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e/web:", err)
		status = 1
	}
	os.Exit(status)
}

func run(m *testing.M) (int, error) {
	if testing.Short() {
		noChrome = "no browser is started in short mode"
		return m.Run(), nil
	}
	dir, err := os.MkdirTemp("", "fluxkeep-e2e-web-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "fluxkeep")
	build := exec.Command("go", "build", "-trimpath", "-o", program, "./cmd/fluxkeep")
	build.Dir, build.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("build the program: %w\n%s", err, out)
	}
	path, err := exec.LookPath("chromium")
	if err != nil {
		noChrome = "there is no Chromium: install Debian's package chromium"
		return m.Run(), nil
	}
	chromium = path
	return m.Run(), nil
}

// server is the program, with its own data folder.
type server struct {
	t                    testing.TB
	url, address         string
	org, token           string // after setUp
	cmd                  *exec.Cmd
	log                  *output
	dir                  string
	exited               chan struct{}
	user, password, name string // the first user's, and the organization's name
}

// output is what a server has printed.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// start runs a server that isn't set up.
func start(t testing.TB, args ...string) *server {
	t.Helper()
	return startAt(t, "127.0.0.1", args...)
}

// startElsewhere runs a server that browsers take for another machine's.
func startElsewhere(t testing.TB, scheme string) *server {
	t.Helper()
	var args []string
	if scheme == "https" {
		with := httptest.NewUnstartedServer(nil)
		with.StartTLS()
		defer with.Close()
		certificate := with.TLS.Certificates[0]
		key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		for flag, block := range map[string]*pem.Block{
			"--tls-cert": {Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}, "--tls-key": {Type: "PRIVATE KEY", Bytes: key},
		} {
			file := filepath.Join(t.TempDir(), "pem")
			if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
				t.Fatal(err)
			}
			args = append(args, flag, file)
		}
	}
	s := startAt(t, "0.0.0.0", args...)
	_, port, _ := net.SplitHostPort(s.address)
	s.url = scheme + "://" + elsewhere + ":" + port
	return s
}

// elsewhere is a name that browsers resolve to this machine.
const elsewhere = "keep.example"

func startAt(t testing.TB, host string, args ...string) *server {
	t.Helper()
	if chromium == "" {
		if os.Getenv("FLUXKEEP_E2E") == "require" && !testing.Short() {
			t.Fatal(noChrome)
		}
		t.Skip(noChrome)
	}
	s := &server{t: t, user: "admin", password: "correct horse 1", name: "acme"}
	for range 20 {
		if s.serve(host, args...) {
			return s
		}
	}
	t.Fatalf("the server doesn't start:\n%s", s.log)
	return nil
}

func (s *server) serve(host string, args ...string) bool {
	// Below the range from which systems choose ports, and above those of tests in other
	// folders. No two tests get the same.
	port := strconv.Itoa(int(30_000 + (firstPort+ports.Add(1))%1_000))
	s.address = net.JoinHostPort("127.0.0.1", port)
	s.dir = s.t.TempDir()
	s.url, s.log = "http://"+s.address, &output{}
	s.cmd = exec.Command(program, append([]string{"serve", "--http-bind-address", net.JoinHostPort(host, port), "--data-dir", filepath.Join(s.dir, "data")}, args...)...)
	s.cmd.Env = append(os.Environ(), "HOME="+s.dir)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	exited := make(chan struct{})
	s.exited = exited
	go func() { _ = s.cmd.Wait(); close(exited) }()
	s.t.Cleanup(s.stop)
	for !strings.Contains(s.log.String(), "msg=listening ") {
		select {
		case <-exited:
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
	return true
}

var (
	firstPort = rand.Int64N(1_000) // another run of the tests probably has another one
	ports     atomic.Int64
)

// stop stops the server.
func (s *server) stop() {
	_ = s.cmd.Process.Signal(os.Interrupt) // it may have exited
	<-s.exited
}

// setUp sets the server up, with secrets.
func (s *server) setUp(secrets map[string]string) {
	s.t.Helper()
	var done struct {
		Org  struct{ ID string }
		Auth struct{ Token string }
	}
	s.api("POST", "/api/v2/setup", map[string]string{"username": s.user, "password": s.password, "org": s.name, "bucket": "b"}, &done)
	s.org, s.token = done.Org.ID, done.Auth.Token
	if secrets != nil {
		s.set(secrets)
	}
}

func (s *server) set(secrets map[string]string) {
	s.t.Helper()
	s.api("PATCH", "/api/v2/orgs/"+s.org+"/secrets/values", secrets, nil)
}

func (s *server) values() map[string]string {
	s.t.Helper()
	var out map[string]string
	s.api("GET", "/api/v2/orgs/"+s.org+"/secrets/values", nil, &out)
	return out
}

// history returns the number of versions.
func (s *server) history() int {
	s.t.Helper()
	var out struct{ Versions []struct{ Number int } }
	s.api("GET", "/api/v2/orgs/"+s.org+"/secrets/history", nil, &out)
	return len(out.Versions)
}

// api calls the server's API as the operator.
func (s *server) api(method, path string, in, out any) {
	s.t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		s.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if s.token != "" {
		r.Header.Set("Authorization", "Bearer "+s.token) // both APIs accept it
	}
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.address)
		},
	}}
	answer, err := client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 300 {
		s.t.Fatalf("%s %s: %s", method, path, answer.Status)
	}
	if out != nil {
		if err := json.NewDecoder(answer.Body).Decode(out); err != nil {
			s.t.Fatal(err)
		}
	}
}

// tab is a tab of its own browser. When the test ends, errors in the
// console, violations of the page's policy and requests to other hosts fail it.
type tab struct {
	t   testing.TB
	s   *server
	ctx context.Context
	way way

	mu       sync.Mutex
	problems []string
	sent     []sentForm
}

// way is how somebody uses the page.
type way string

const (
	byMouse       way = "by mouse"
	byKeyboard    way = "by keyboard alone"
	onPhone       way = "at 360 pixels"
	withoutScript way = "without script"
)

// inEachWay tells a story in each of the ways.
func inEachWay(t *testing.T, ways []way, story func(*testing.T, way)) {
	t.Parallel()
	for _, w := range ways {
		t.Run(string(w), func(t *testing.T) {
			t.Parallel()
			story(t, w)
		})
	}
}

var (
	everyWay   = []way{byMouse, byKeyboard, onPhone, withoutScript}
	withScript = []way{byMouse, byKeyboard, onPhone} // for what only script can do
)

// sentForm is a form that the tab sent.
type sentForm struct{ url, body string }

// patience is how long something may take on a busy machine.
const patience = 90 * time.Second

// open opens a tab of a new browser.
func (s *server) open(path string) *tab {
	s.t.Helper()
	return s.openIn(newProfile(s.t), path)
}

// openBy opens a tab of a new browser, for somebody who uses the page in a way.
func (s *server) openBy(w way, path string) *tab {
	s.t.Helper()
	b := s.open(path)
	if w != byMouse {
		b.use(w)
		b.goTo(path)
	}
	return b
}

// newProfile returns a folder for a browser's profile. The browser's processes still
// write there for a moment after it has ended, which t.TempDir doesn't allow.
func newProfile(t testing.TB) string {
	dir, err := os.MkdirTemp("", "fluxkeep-profile-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
			if err := os.RemoveAll(dir); err == nil || time.Now().After(end) {
				return
			}
		}
	})
	return dir
}

// openIn opens a tab of a browser with a profile.
func (s *server) openIn(profile, path string, more ...chromedp.ExecAllocatorOption) *tab {
	s.t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium), chromedp.UserDataDir(profile), chromedp.NoSandbox, chromedp.WSURLReadTimeout(patience), chromedp.WindowSize(1280, 800),
		chromedp.Flag("host-resolver-rules", "MAP "+elsewhere+" 127.0.0.1"), chromedp.Flag("ignore-certificate-errors", true),
		chromedp.Flag("disable-features", "Translate,OptimizationHints,MediaRouter"), chromedp.Flag("font-render-hinting", "none"))
	allocator, stop := chromedp.NewExecAllocator(context.Background(), append(options, more...)...)
	ctx, end := chromedp.NewContext(allocator, chromedp.WithErrorf(func(string, ...any) {})) // events that are newer than the driver
	s.t.Cleanup(func() { end(); stop() })
	return s.tab(ctx, path)
}

// another opens another tab of the same browser.
func (b *tab) another(path string) *tab {
	b.t.Helper()
	ctx, end := chromedp.NewContext(b.ctx)
	b.t.Cleanup(end)
	other := b.s.tab(ctx, path)
	other.use(b.way)
	return other
}

// front brings the tab to the front.
func (b *tab) front() {
	b.t.Helper()
	b.do(page.BringToFront())
}

func (s *server) tab(ctx context.Context, path string) *tab {
	s.t.Helper()
	b := &tab{t: s.t, s: s, ctx: ctx, way: byMouse}
	s.t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, p := range b.problems {
			s.t.Error(p)
		}
	})
	// The first action starts the browser, which ends with its first context.
	if err := chromedp.Run(ctx); err != nil {
		s.t.Fatal(err)
	}
	chromedp.ListenTarget(ctx, b.watch)
	b.do(network.Enable(), runtime.Enable(), cdplog.Enable())
	if !strings.HasPrefix(s.url, "http://"+elsewhere) { // where no page gets it
		b.do(browser.GrantPermissions([]browser.PermissionType{browser.PermissionTypeClipboardReadWrite, browser.PermissionTypeClipboardSanitizedWrite}).WithOrigin(s.url))
	}
	b.goTo(path)
	return b
}

func (b *tab) watch(event any) {
	problem := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		problem = "the script failed: " + e.ExceptionDetails.Error()
	case *runtime.EventConsoleAPICalled:
		problem = fmt.Sprintf("console.%s was called", e.Type)
	case *cdplog.EventEntryAdded:
		// The network's are such as a form that is refused.
		// Without TLS, browsers ignore that header.
		ignored := strings.HasPrefix(b.s.url, "http://"+elsewhere) && strings.HasPrefix(e.Entry.Text, "The Cross-Origin-Opener-Policy header has been ignored")
		if e.Entry.Source != cdplog.SourceNetwork && e.Entry.Level == cdplog.LevelError && !ignored {
			problem = fmt.Sprintf("the console shows: %s %s", e.Entry.Source, e.Entry.Text)
		}
	case *network.EventRequestWillBeSent:
		u, err := url.Parse(e.Request.URL)
		if err != nil || u.Scheme != "blob" && u.Scheme != "data" && u.Scheme+"://"+u.Host != b.s.url {
			problem = "a request goes to " + e.Request.URL
		}
		b.mu.Lock()
		if e.Request.Method == http.MethodPost && (e.Type == network.ResourceTypeDocument || e.Type == network.ResourceTypeXHR) {
			body := ""
			for _, part := range e.Request.PostDataEntries {
				text, _ := base64.StdEncoding.DecodeString(part.Bytes)
				body += string(text)
			}
			b.sent = append(b.sent, sentForm{e.Request.URL, body})
		}
		b.mu.Unlock()
	}
	if problem != "" {
		b.mu.Lock()
		b.problems = append(b.problems, problem)
		b.mu.Unlock()
	}
}

// do runs actions, and fails the test if they don't succeed in time.
func (b *tab) do(actions ...chromedp.Action) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Run(ctx, actions...); err != nil {
		var where, text string
		last, cancel := context.WithTimeout(b.ctx, 5*time.Second)
		defer cancel()
		_ = chromedp.Run(last, chromedp.Location(&where), chromedp.Text("body", &text))
		b.t.Fatalf("%v\nat %s:\n%s", err, where, text)
	}
}

func (b *tab) goTo(path string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.s.url + path))
}

// use uses the page in another way from now on. Without script, that begins with
// the next page.
func (b *tab) use(w way) {
	b.t.Helper()
	switch b.way = w; w {
	case onPhone:
		b.do(emulation.SetDeviceMetricsOverride(phoneWidth, 740, 1, true), emulation.SetTouchEmulationEnabled(true))
	case withoutScript:
		b.do(emulation.SetScriptExecutionDisabled(true))
	}
}

const phoneWidth = 360

// fill replaces what is in a field.
func (b *tab) fill(field, text string) {
	b.t.Helper()
	b.focus(field)
	b.do(chromedp.Evaluate("document.activeElement.select()", nil), chromedp.KeyEvent(text))
}

// focus moves the focus to a field.
func (b *tab) focus(field string) {
	b.t.Helper()
	if b.way == byKeyboard {
		b.tabTo(field)
		return
	}
	b.click(field)
}

// click clicks an element, or presses the key for it.
func (b *tab) click(selector string) {
	b.t.Helper()
	if b.way == byKeyboard {
		switch eval[string](b, fmt.Sprintf(`document.querySelector(%q)?.type ?? ""`, selector)) {
		case "radio": // Tab reaches the chosen one of the group, and the arrows choose
			b.tabUntil(selector, fmt.Sprintf(`e.name === document.querySelector(%q).name`, selector))
			for !eval[bool](b, fmt.Sprintf("document.activeElement.matches(%q)", selector)) {
				b.press(kb.ArrowDown)
			}
		case "checkbox":
			b.tabTo(selector)
			b.press(" ")
		default:
			b.tabTo(selector)
			b.press(kb.Enter)
		}
		return
	}
	b.do(chromedp.WaitVisible(selector, chromedp.ByQuery), chromedp.ScrollIntoView(selector, chromedp.ByQuery), chromedp.Click(selector, chromedp.ByQuery))
}

// button clicks the visible button or link with a text, or presses Enter on it.
func (b *tab) button(text string) {
	b.t.Helper()
	if b.way == byKeyboard {
		b.tabUntil(text, fmt.Sprintf(`e.matches("button, a, summary") && e.textContent.trim().replace(/\s+/g, " ") === %q`, text))
		b.press(kb.Enter)
		return
	}
	b.do(chromedp.Click(buttonPath(text), chromedp.BySearch, chromedp.NodeVisible))
}

func buttonPath(text string) string {
	return fmt.Sprintf(`//*[self::button or self::a or self::summary][normalize-space()=%q and not(ancestor::dialog)]`, text)
}

// press sends keys to the page.
func (b *tab) press(keys string) {
	b.t.Helper()
	b.do(chromedp.KeyEvent(keys))
}

// tabTo presses Tab until the element has the focus.
func (b *tab) tabTo(selector string) {
	b.t.Helper()
	b.tabUntil(selector, fmt.Sprintf("e.matches(%q)", selector))
}

// tabUntil presses Tab until the condition holds for the focused element e, on the next page
// if the tab is on its way there.
func (b *tab) tabUntil(what, condition string) {
	b.t.Helper()
	condition = fmt.Sprintf("(e => !!e && %s)(document.activeElement)", condition)
	for end := time.Now().Add(patience); !eval[bool](b, condition); b.press(kb.Tab) {
		if time.Now().After(end) {
			b.t.Fatalf("Tab doesn't reach %s at %s", what, b.path())
		}
	}
}

// navigate opens a page of the organization through the page's navigation.
func (b *tab) navigate(rest string) {
	b.t.Helper()
	link := fmt.Sprintf("a[href=%q]", b.s.orgPath(rest))
	if b.way == onPhone {
		b.click("details.narrow > summary")
		b.click("details.narrow " + link)
		return
	}
	b.click("nav.wide " + link)
}

// names returns the names in the visible rows.
func (b *tab) names() string {
	b.t.Helper()
	return eval[string](b, `[...document.querySelectorAll("tbody tr:not([hidden]) th a")].map(a => a.textContent).join(" ")`)
}

// await waits until the page is complete and its text contains each of the parts. On a
// phone, nothing may scroll sideways.
func (b *tab) await(parts ...string) {
	b.t.Helper()
	for _, part := range parts {
		b.until(fmt.Sprintf("%q", part), func() bool { return strings.Contains(b.text(), part) })
	}
	b.complete()
	if b.way == onPhone {
		b.fits(phoneWidth)
	}
}

// complete waits until the page is complete.
func (b *tab) complete() {
	b.t.Helper()
	b.until("whole page", func() bool { return eval[string](b, "document.readyState") == "complete" })
}

// fits checks that the page isn't wider than the window.
func (b *tab) fits(width int64) {
	b.t.Helper()
	if wide := eval[int64](b, "document.documentElement.scrollWidth"); wide > width {
		b.t.Errorf("%s is %d pixels wide", b.path(), wide)
	}
}

// text returns the visible text of the page, and the values of its visible fields.
func (b *tab) text() string {
	b.t.Helper()
	return eval[string](b, `(document.body?.innerText ?? "") + "\n" + [...document.querySelectorAll("input, textarea")].filter(f => f.type !== "hidden" && f.checkVisibility()).map(f => f.value).join("\n")`)
}

func (b *tab) until(what string, ok func() bool) {
	b.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("no %s at %s:\n%s", what, b.path(), b.text())
		}
	}
}

// shortcut presses Ctrl and a key, for which the browser has a command.
func (b *tab) shortcut(key, command string) {
	b.t.Helper()
	b.do(input.DispatchKeyEvent(input.KeyDown).WithKey(key).WithModifiers(input.ModifierCtrl).WithCommands([]string{command}),
		input.DispatchKeyEvent(input.KeyUp).WithKey(key).WithModifiers(input.ModifierCtrl))
}

// back goes back in the browser's history. A script that does the same may be gone before
// the driver has its result.
func (b *tab) back() {
	b.t.Helper()
	b.do(chromedp.ActionFunc(func(ctx context.Context) error {
		current, entries, err := page.GetNavigationHistory().Do(ctx)
		if err != nil {
			return err
		}
		return page.NavigateToHistoryEntry(entries[current-1].ID).Do(ctx)
	}))
}

// sendAgain sends each form that the tab sent to the organization a second time, and
// checks that it isn't refused and changes nothing.
func (b *tab) sendAgain() {
	b.t.Helper()
	var cookies []*network.Cookie
	b.do(chromedp.ActionFunc(func(ctx context.Context) (err error) {
		cookies, err = network.GetCookies().Do(ctx)
		return err
	}))
	b.mu.Lock()
	defer b.mu.Unlock()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	before, count := b.s.history(), 0
	for _, f := range b.sent {
		if !strings.HasPrefix(f.url, b.s.url+b.s.orgPath("/")) {
			continue
		}
		r, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, f.url, strings.NewReader(f.body))
		if err != nil {
			b.t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for _, c := range cookies {
			r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
		}
		answer, err := client.Do(r)
		if err != nil {
			b.t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode >= 400 {
			b.t.Errorf("the second time, the form at %s is answered with %s", f.url, answer.Status)
		}
		if answer.StatusCode == http.StatusSeeOther {
			count++
		}
	}
	if count == 0 {
		b.t.Error("no form that changes something was sent")
	}
	if after := b.s.history(); after != before {
		b.t.Errorf("forms that are sent twice make %d versions more", after-before)
	}
}

// path returns the path of the page, with its query.
func (b *tab) path() string {
	b.t.Helper()
	return strings.TrimPrefix(eval[string](b, "location.href"), b.s.url)
}

// eval evaluates an expression, in the next page if the tab is on its way there.
func eval[T any](b *tab, expression string) (out T) {
	b.t.Helper()
	b.do(chromedp.ActionFunc(func(ctx context.Context) error {
		for {
			err := chromedp.Evaluate(expression, &out).Do(ctx)
			if err == nil || !strings.Contains(err.Error(), "navigated or closed") && !strings.Contains(err.Error(), "context") {
				return err
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(50 * time.Millisecond):
			}
		}
	}))
	return out
}

// setUp sets the server up through the page, up to where it shows the operator token.
func (b *tab) setUp() {
	b.t.Helper()
	b.await("Set up Fluxkeep")
	b.fillSetup(b.s.password)
	b.await("This token is shown once")
	b.s.token = eval[string](b, `document.querySelector("#token").textContent`)
}

// fillSetup sends the form that sets the server up.
func (b *tab) fillSetup(again string) {
	b.t.Helper()
	b.fill("#username", b.s.user)
	b.fill("#password", b.s.password)
	b.fill("#again", again)
	b.fill("#org", b.s.name)
	b.button("Set up")
}

// signIn signs the first user in.
func (b *tab) signIn() {
	b.t.Helper()
	b.fill("#username", b.s.user)
	b.fill("#password", b.s.password)
	b.button("Sign in")
	b.until("session", func() bool { return !strings.Contains(b.path(), "/sign-in") })
	b.complete()
}

// signedIn opens a page of the organization as the first user.
func (s *server) signedIn(rest string) *tab { s.t.Helper(); return s.signedInBy(byMouse, rest) }

// signedInBy is signedIn for somebody who uses the page in a way.
func (s *server) signedInBy(w way, rest string) *tab {
	s.t.Helper()
	b := s.openBy(w, "/ui/sign-in")
	b.signIn()
	b.goTo(s.orgPath(rest))
	return b
}

func (s *server) orgPath(rest string) string { return "/ui/orgs/" + s.org + rest }

// axeCore returns axe-core's script, which npm installs into the user's cache.
func axeCore(t testing.TB) string {
	t.Helper()
	const version = "4.10.3"
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "fluxkeep-e2e", "axe-core-"+version)
	script := filepath.Join(dir, "node_modules", "axe-core", "axe.min.js")
	if _, err := os.Stat(script); errors.Is(err, os.ErrNotExist) {
		err := os.MkdirAll(dir, 0o700)
		if err == nil {
			cmd := exec.Command("npm", "install", "--prefix", dir, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error", "axe-core@"+version)
			var out []byte
			if out, err = cmd.CombinedOutput(); err != nil {
				err = fmt.Errorf("%w\n%s", err, out)
			}
		}
		if err != nil {
			if os.Getenv("FLUXKEEP_E2E") == "require" {
				t.Fatalf("install axe-core: %v", err)
			}
			t.Skipf("install axe-core: %v", err)
		}
	}
	b, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
