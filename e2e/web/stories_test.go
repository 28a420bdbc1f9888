package web

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/storage"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// The stories of people who use the page for the first time.

func TestFirstStart(t *testing.T) {
	inEachWay(t, everyWay, func(t *testing.T, w way) {
		s := start(t)
		b := s.openBy(w, "/")
		b.setUp()
		b.click("input[type=checkbox][required]")
		b.button("Continue")
		b.await("No secrets in acme yet")
		var orgs struct{ Orgs []struct{ ID, Name string } }
		s.api("GET", "/api/v2/orgs", nil, &orgs)
		if len(orgs.Orgs) != 1 || orgs.Orgs[0].Name != s.name {
			t.Errorf("the organizations are %v", orgs)
		}
		// Back leads to no token.
		b.back()
		b.until("page without the token", func() bool { return !strings.Contains(b.text(), s.token) })
	})
}

// What people do every day, in each way. Each form is then sent a second time.
func TestEveryDay(t *testing.T) {
	inEachWay(t, everyWay, func(t *testing.T, w way) {
		s := start(t)
		s.setUp(map[string]string{"db_password": "1", "mqtt_token": "1"})
		b := s.signedInBy(w, "/secrets")
		b.await("db_password", "mqtt_token", "2 secrets")
		everyDay(t, s, b)
	})
}

func everyDay(t *testing.T, s *server, b *tab) {
	is := func(name, want string) {
		t.Helper()
		if got := s.values()[name]; got != want {
			t.Fatalf("%s is %q, want %q", name, got, want)
		}
	}
	// Filter, and open what is found.
	b.fill("#filter", "mqtt")
	if b.way == withoutScript {
		b.button("Filter")
	}
	b.until("filtered list", func() bool { return b.names() == "mqtt_token" })
	if strings.Contains(b.path(), "mqtt") {
		t.Errorf("the filter is in the address: %s", b.path())
	}
	b.button("mqtt_token")
	b.await("Read by", "Versions")

	b.button("Change")
	b.await("New value")
	b.fill("#value", "changed")
	b.button("Save the new value")
	b.await("Saved as version 2.")
	is("mqtt_token", "changed")

	b.button("Delete…")
	b.await("Delete 1 secret?", "mqtt_token", "Type 1 to confirm")
	is("mqtt_token", "changed")
	b.fill("#count", "1")
	b.button("Delete 1 secret")
	b.await("Deleted. The values stay in the history for now.")
	is("mqtt_token", "")

	b.navigate("/history")
	b.await("current")
	b.button("Compare")
	b.await("Version 2 and version 3", "− removed", "not there")
	b.navigate("/history")
	b.await("current")
	b.click(`a[href$="/history/2/restore"]`)
	b.await("Restore version 2?", "+ added")
	b.button("Restore as version 4")
	b.await("Restored as version 4.")
	is("mqtt_token", "changed")

	b.navigate("/secrets")
	b.await("2 secrets")
	b.button("Paste .env")
	b.await("Names and values")
	b.fill("#content", "pasted='three words here'\nmqtt_token=2\n")
	b.button("Preview")
	b.await("1 added", "1 changed", "Nothing has been written yet")
	is("pasted", "")
	b.button("Apply as one version")
	b.await("Applied.")
	is("pasted", "three words here")
	is("mqtt_token", "2")

	b.button("Add a secret")
	b.await("Windows line endings")
	b.fill("#name", "certificate")
	b.fill("#value", "first line\nsecond line\n")
	b.button("Add the secret")
	b.await("Added. Saved as version 6.")
	is("certificate", "first line\nsecond line\n")
	b.navigate("/secrets")
	b.await("certificate", "4 secrets")
	if strings.Contains(eval[string](b, "document.documentElement.outerHTML"), "first line") {
		t.Error("the list contains the value")
	}

	b.sendAgain()
	b.click("details.menu:not(.narrow) > summary")
	b.button("Sign out")
	b.await("You are signed out.")
}

// Single keys filter, move, show, copy, open, change and select, and write nothing.
func TestKeys(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.setUp(map[string]string{"alpha": "first value", "beta": "second value"})
	b := s.signedIn("/secrets")
	b.use(byKeyboard)
	// The driver's own keys type even what the page prevents.
	b.do(input.DispatchKeyEvent(input.KeyDown).WithKey("/").WithText("/"), input.DispatchKeyEvent(input.KeyUp).WithKey("/"))
	b.press("bet")
	b.until("filtered list", func() bool { return b.names() == "beta" })
	b.press(kb.Escape)
	b.until("whole list", func() bool { return b.names() == "alpha beta" })
	b.press(kb.Escape) // leaves the field

	hidden := func() bool { return !eval[bool](b, `!!document.querySelector(".shown")`) }
	b.press("jjs")
	b.await("second value", "Hidden again in")
	b.press(kb.Escape)
	b.until("hidden value", hidden)
	b.press("ks")
	b.await("first value")
	b.button("Hide")
	b.until("hidden value", hidden)
	b.press("c")
	b.await("It stays in the clipboard until you copy something else")

	b.press("k" + kb.Enter)
	b.await("Read by")
	b.press("e")
	b.await("New value")
	b.fill("#value", "changed")
	b.do(chromedp.KeyEvent(kb.Enter, chromedp.KeyModifiers(input.ModifierCtrl)))
	b.await("Saved as version 2.")
	if got := s.values()["alpha"]; got != "changed" {
		t.Errorf("the value is %q", got)
	}

	b.navigate("/secrets")
	b.await("2 secrets")
	b.press("jxjx")
	b.await("2 selected")
	b.press("x")
	b.await("1 selected")
	b.press("x")
	b.await("2 selected")
	b.button("Delete…")
	b.await("Delete 2 secrets?")
	b.button("Cancel")
	b.await("Add a secret")
	b.press("n")
	b.await("Windows line endings")
	b.fill("#name", "typed")
	b.press(kb.Tab)
	b.press("s3cret")
	b.button("Add the secret")
	b.await("Saved as version 3.")
	if got := s.values(); len(got) != 3 || got["typed"] != "s3cret" {
		t.Errorf("the secrets are %v", got)
	}
	b.press("?")
	b.until("help", func() bool { return eval[bool](b, `!!document.querySelector("#keys[open]")`) })
	b.press(kb.Escape)
	b.until("closed help", func() bool { return eval[bool](b, `!document.querySelector("#keys[open]")`) })
}

func TestGenerate(t *testing.T) {
	inEachWay(t, withScript, func(t *testing.T, w way) {
		s := start(t)
		s.setUp(nil)
		b := s.signedInBy(w, "/secrets/new")
		b.fill("#name", "generated")
		b.button("Generate a value")
		b.fill("#length", "40")
		b.click("[data-do=generate]")
		b.click("main form button.main")
		b.until("saved secret", func() bool { return len(s.values()["generated"]) == 40 })
	})
}

func TestPaste(t *testing.T) {
	inEachWay(t, everyWay, func(t *testing.T, w way) {
		s := start(t)
		s.setUp(map[string]string{"stays": "1", "changes": "1", "goes": "1"})
		b := s.signedInBy(w, "/secrets")
		b.button("Paste .env")
		b.fill("#content", "stays=1\nchanges=2\nadded='three words here'\n")
		b.click("[value=replace]")
		b.button("Preview")
		b.await("1 added", "1 changed", "1 removed", "Nothing has been written yet")
		if len(s.values()) != 3 || s.values()["changes"] != "1" {
			t.Error("the preview has changed something")
		}
		b.button("Apply as one version")
		b.until("applied file", func() bool {
			v := s.values()
			return len(v) == 3 && v["changes"] == "2" && v["added"] == "three words here" && v["goes"] == ""
		})
	})
}

func TestRevealAndCopy(t *testing.T) {
	inEachWay(t, withScript, func(t *testing.T, w way) {
		s := start(t)
		s.setUp(map[string]string{"db_password": "hunter\nsecond line"})
		b := s.signedInBy(w, "/secrets")
		b.await("db_password")
		b.click("[data-do=show]")
		b.await("second line", "Keep showing")
		b.button("Keep showing")
		b.click(".shown button:last-of-type")
		b.until("hidden value", func() bool { return !strings.Contains(b.text(), "second line") })
		b.click("[data-do=copy]")
		b.await("It stays in the clipboard until you copy something else")
		b.button("Empty the clipboard")
		b.await("The clipboard is empty")

		// The reads are remembered as reads through the page.
		b.click("tbody th a")
		b.await("Read by", s.user, "web")

		// A page that comes back from the browser's cache shows nothing.
		b.click("[data-do=show]")
		b.await("second line")
		b.goTo("/ui/me")
		b.back()
		b.await("Read by")
		if strings.Contains(b.text(), "second line") {
			t.Error("Back shows the value")
		}

		b.click("[data-do=copy]")
		b.await("It stays in the clipboard until you copy something else")
		b.goTo(s.orgPath("/secrets/new"))
		b.focus("#value")
		b.shortcut("v", "paste")
		if got := eval[string](b, `document.querySelector("#value").value`); got != "hunter\nsecond line" {
			t.Errorf("the clipboard has %q", got)
		}
	})
}

func TestDeleteWithReaders(t *testing.T) {
	inEachWay(t, everyWay, func(t *testing.T, w way) {
		s := start(t)
		s.setUp(map[string]string{"db_password": "1", "unread": "1"})
		s.values() // as the operator's token
		b := s.signedInBy(w, "/secrets")
		b.click("tbody th a")
		b.button("Delete…")
		b.await("admin's Token read it", "Type 1 to confirm")
		b.fill("#count", "1")
		b.button("Delete 1 secret")
		b.await("unread")
		if v := s.values(); len(v) != 1 {
			t.Errorf("after the deletion there are %d secrets", len(v))
		}
	})
}

func TestCompareAndRestore(t *testing.T) {
	inEachWay(t, everyWay, func(t *testing.T, w way) {
		s := start(t)
		s.setUp(map[string]string{"a": "before"})
		s.set(map[string]string{"a": "after", "b": "new"})
		b := s.signedInBy(w, "/history")
		b.await("current")
		b.button("Compare")
		b.await("Version 1 and version 2", "not there")
		if w != withoutScript {
			b.click("tbody td:nth-of-type(2) [data-do=show]")
			b.await("before")
		}
		b.goTo(s.orgPath("/history/1/restore"))
		b.await("Restore version 1?")
		b.button("Restore as version 3")
		b.until("restored version", func() bool { v := s.values(); return len(v) == 1 && v["a"] == "before" })
	})
}

func TestTokenByRecipe(t *testing.T) {
	inEachWay(t, everyWay, func(t *testing.T, w way) {
		s := start(t)
		s.setUp(map[string]string{"telegraf_key": "1", "other": "2"})
		b := s.signedInBy(w, "/access")
		b.button("New token")
		b.button("Read-only for some names")
		b.await("It may read secrets with names that match")
		b.fill("#description", "telegraf-eu")
		b.fill("#names", "telegraf_*")
		b.button("Create the token")
		b.await("This token is shown once")
		token := eval[string](b, `document.querySelector("#token").textContent`)
		operator := s.token
		s.token = token
		if v := s.values(); len(v) != 1 || v["telegraf_key"] != "1" {
			t.Errorf("the token reads %v", v)
		}
		s.token = operator
		b.click("input[type=checkbox][required]")
		b.button("Continue")
		b.await("telegraf-eu", "telegraf_*", "influxdb")
		b.button("Deactivate")
		b.await("Programs that use it are refused")

		// A sign-in with a token ends with the token.
		other := s.openBy(w, "/ui/sign-in")
		other.button("Use a token instead")
		other.fill("#token", token)
		other.button("Sign in")
		other.await("This token doesn't exist, has expired, or is inactive.")
		b.button("Activate")
		b.await("The token is active")
		other.fill("#token", token)
		other.button("Sign in")
		other.await("telegraf_key")
		b.button("Delete…")
		b.button("Delete the token")
		b.await("The token was deleted")
		other.goTo(s.orgPath("/secrets"))
		other.await("Sign in")
	})
}

func TestAuditFilter(t *testing.T) {
	inEachWay(t, everyWay, func(t *testing.T, w way) {
		s := start(t)
		s.setUp(map[string]string{"a": "1"})
		s.set(map[string]string{"b": "1"})
		b := s.signedInBy(w, "/audit")
		b.await("secrets.write")
		b.fill("#secret", "b")
		b.fill("#action", "secrets.write")
		b.button("Filter")
		b.until("one record", func() bool { return eval[int](b, `document.querySelectorAll("tbody tr").length`) == 1 })
		b.button("secrets.write")
		b.await(`"action": "secrets.write"`)
		if strings.Contains(b.path(), "?") {
			t.Errorf("the filter is in the address: %s", b.path())
		}
	})
}

func TestRotateAndBackup(t *testing.T) {
	inEachWay(t, everyWay, func(t *testing.T, w way) {
		s := start(t)
		s.setUp(map[string]string{"a": "1"})
		b := s.signedInBy(w, "/secrets")
		b.goTo("/ui/server")
		b.await("There is no backup.", "The key-encryption key is in the same folder")
		b.button("Data keys")
		b.button("Rotate the data key")
		b.await("A new data key is in use")
		b.until("end of the rotation", func() bool {
			if w == withoutScript { // else the page shows it by itself
				b.goTo("/ui/server/keys")
			}
			return strings.Contains(b.text(), "Rotate the data key")
		})

		b.goTo("/ui/server/backup")
		b.await("Last backup: none")
		downloads := t.TempDir()
		b.do(browser.SetDownloadBehavior(browser.SetDownloadBehaviorBehaviorAllow).WithDownloadPath(downloads))
		if w != withoutScript {
			b.do(chromedp.Evaluate(slowProgress, nil))
		}
		b.button("Download a backup")
		b.until("downloaded backup", func() bool {
			files, err := filepath.Glob(filepath.Join(downloads, "fluxkeep-*.backup"))
			return err == nil && len(files) == 1
		})
		if w == withoutScript {
			b.goTo("/ui/server/backup")
		} else {
			b.await("A backup is being made: 5 of 1,234 records")
			if bar := eval[float64](b, `document.querySelector("progress").value`); bar != 5 {
				t.Errorf("the bar is at %v", bar)
			}
			// A session that ends meanwhile ends the display of the progress, until the next click.
			b.do(chromedp.Evaluate(noSession, nil))
			b.until("end of the display", func() bool { return eval[bool](b, "window.fetch === realFetch") })
			b.button("Download a backup")
		}
		b.await("Last backup: moments ago")
	})
}

// slowProgress makes the page believe that a backup takes its time.
const slowProgress = `window.realFetch = fetch; window.fetch = (url, options) => !url.endsWith("/server/progress") ? realFetch(url, options) :
	Promise.resolve(new Response(JSON.stringify({backup: {running: true, done: 5, total: 1234}}))); 0`

// noSession answers the page's next request as if the session had ended.
const noSession = `window.fetch = () => { window.fetch = realFetch; return Promise.resolve(new Response("{}", {status: 401})); }; 0`

// After signing out, Back shows nothing.
func TestSignOut(t *testing.T) {
	inEachWay(t, everyWay, func(t *testing.T, w way) {
		s := start(t)
		s.setUp(map[string]string{"db_password": "hunter2"})
		b := s.signedInBy(w, "/secrets")
		b.await("db_password")
		b.navigate("/history")
		b.await("History")
		b.click("details.menu:not(.narrow) > summary")
		b.button("Sign out")
		b.await("Sign in")
		for range 2 {
			b.back()
			b.await("Sign in")
			if strings.Contains(b.text(), "db_password") {
				t.Fatal("Back shows the list")
			}
		}
	})
}

// Signing out in one tab ends the others' session. They ask, and go on.
func TestSignOutInAnotherTab(t *testing.T) {
	inEachWay(t, withScript, func(t *testing.T, w way) {
		s := start(t)
		s.setUp(map[string]string{"db_password": "hunter2"})
		b := s.signedInBy(w, "/secrets")
		b.await("db_password")
		b.click("[data-do=show]")
		b.await("hunter2")
		other := b.another(s.orgPath("/history"))
		other.front()
		other.await("History")
		other.click("details.menu:not(.narrow) > summary")
		other.button("Sign out")
		other.await("You are signed out.")
		other.back()
		other.await("Sign in")
		if strings.Contains(other.text(), "db_password") {
			t.Error("Back shows the history")
		}

		b.front()
		b.click("[data-do=copy]")
		b.await("Your session has ended")
		if strings.Contains(b.text(), "hunter2") {
			t.Error("the value is still shown")
		}
		b.fill("#again-password", s.password)
		b.click("#again button.main")
		b.until("closed dialog", func() bool { return !eval[bool](b, `!!document.querySelector("#again[open]")`) })
		b.goTo(s.orgPath("/history"))
		b.await("current")
	})
}

// A write as influxd's removes most names. The version before it is pinned until
// somebody restores them, or says that it was intended.
func TestPinnedVersions(t *testing.T) {
	inEachWay(t, everyWay, func(t *testing.T, w way) {
		s := start(t)
		all := map[string]string{"a": "1", "b": "1", "c": "1", "d": "1"}
		s.setUp(all)
		drop := func(version int) {
			t.Helper()
			s.api("PUT", "/influxd/v1/secret/data/"+s.org, map[string]any{"data": map[string]string{"a": "1"}, "options": map[string]int{"cas": version}}, nil)
		}
		drop(1)
		b := s.signedInBy(w, "/secrets")
		b.await("3 names disappeared with version 2.")
		b.button("See what is missing")
		b.await("Version 1 is pinned")
		b.button("Deletion was intended")
		b.await("The version is no longer pinned.")
		b.navigate("/secrets")
		b.await("1 secret")
		if strings.Contains(b.text(), "disappeared") || len(s.values()) != 1 {
			t.Errorf("after \"Deletion was intended\" there are %d secrets, and the page shows\n%s", len(s.values()), b.text())
		}

		s.set(all)
		drop(3)
		s.set(map[string]string{"a": "2"})
		b.goTo(s.orgPath("/secrets"))
		b.await("3 names disappeared with version 4.")
		b.button("See what is missing")
		b.await("Version 3 is pinned")
		b.button("Restore the missing names")
		b.await("Restored as version 6.")
		if v := s.values(); len(v) != 4 || v["a"] != "2" {
			t.Errorf("the restored secrets are %v", v)
		}
		b.navigate("/secrets")
		b.await("4 secrets")
		if strings.Contains(b.text(), "disappeared") {
			t.Error("the list still warns")
		}
		b.sendAgain()
	})
}

// A form that is sent after the session has ended keeps what was typed.
func TestSessionEndsInForm(t *testing.T) {
	value := strings.Repeat("0123456789abcde\n", 1<<16) // 1 MiB
	inEachWay(t, everyWay, func(t *testing.T, w way) {
		s := start(t)
		s.setUp(nil)
		b := s.signedInBy(w, "/secrets/new")
		b.fill("#name", "large")
		b.do(chromedp.SetValue("#value", value, chromedp.ByQuery))
		b.do(storage.ClearCookies())
		b.click("main form button.main")
		b.await("Your session has ended")
		if w == withoutScript {
			b.fill("#username", s.user)
			b.fill("#password", s.password)
			b.button("Sign in")
			b.await("You are signed in again")
			b.button("Send it now")
		} else {
			b.fill("#again-password", s.password)
			b.click("#again button.main")
		}
		b.until("saved secret", func() bool { return s.values()["large"] == value })
	})
}

// A form that isn't answered, or only with an error, stays as it is, and can be sent again.
func TestFormFails(t *testing.T) {
	inEachWay(t, withScript, func(t *testing.T, w way) {
		s := start(t)
		s.setUp(nil)
		b := s.signedInBy(w, "/secrets/new")
		b.fill("#name", "typed")
		b.do(chromedp.Evaluate(`document.querySelector("#value").value = ("é".repeat(15) + String.fromCharCode(10)).repeat(5e4); 0`, nil))
		b.button("Add the secret")
		b.await("What you sent is too large. Nothing was changed.")
		b.do(chromedp.SetValue("#value", "shorter", chromedp.ByQuery))

		sent := func() int { b.mu.Lock(); defer b.mu.Unlock(); return len(b.sent) }
		before := sent()
		b.do(fetch.Enable().WithPatterns([]*fetch.RequestPattern{{URLPattern: "*/secrets/new"}})) // which nobody continues
		b.button("Add the secret")
		b.until("sent form", func() bool { return sent() > before })
		b.do(chromedp.Evaluate("stop()", nil))
		b.await("The server can’t be reached. Try again.")
		b.do(fetch.Disable())

		b.button("Add the secret")
		b.await("Added. Saved as version 1.")
		if got := s.values(); len(got) != 1 || got["typed"] != "shorter" {
			t.Errorf("the secrets are %v", got)
		}
		b.goTo(s.orgPath("/secrets/new"))
		b.fill("#name", "typed")
		s.stop()
		b.button("Add the secret")
		b.await("The server can’t be reached. Try again.", "typed")
	})
}

// Two people change one secret: the second one is asked each time that somebody was
// faster, and loses nothing.
func TestConflict(t *testing.T) {
	inEachWay(t, everyWay, func(t *testing.T, w way) {
		s := start(t)
		s.setUp(map[string]string{"a": "1"})
		edit := func() *tab {
			b := s.signedInBy(w, "/secrets")
			b.button("a")
			b.await("Read by")
			b.button("Change")
			b.fill("#value", "mine")
			return b
		}
		mine, theirs := edit(), edit()
		theirs.fill("#value", "theirs")
		theirs.button("Save the new value")
		theirs.await("Saved as version 2.")
		asked := func(version int) {
			t.Helper()
			mine.await(fmt.Sprintf("Version %d changed this secret", version), "What you typed is still here")
			if typed := eval[string](mine, `document.querySelector("#value").value`); typed != "mine" {
				t.Errorf("the field has %q", typed)
			}
			if s.values()["a"] == "mine" {
				t.Fatal("a change was overwritten")
			}
		}
		mine.button("Save the new value")
		asked(2)
		s.set(map[string]string{"a": "newest"})
		mine.button("Save mine as version 3")
		asked(3)
		mine.button("Save mine as version 4")
		mine.await("Saved as version 4.")
		if got := s.values()["a"]; got != "mine" {
			t.Errorf("the value is %q", got)
		}
	})
}

// Copying works over HTTPS. Over plain HTTP, a browser on another machine lets no page
// copy: the value is selected instead, and the page doesn't claim that it was copied.
func TestCopyFromElsewhere(t *testing.T) {
	for _, scheme := range []string{"https", "http"} {
		t.Run(scheme, func(t *testing.T) {
			inEachWay(t, withScript, func(t *testing.T, w way) {
				s := startElsewhere(t, scheme)
				s.setUp(map[string]string{"db_password": "hunter\nsecond line"})
				b := s.signedInBy(w, "/secrets")
				b.await("db_password")
				b.click("[data-do=copy]")
				if scheme == "https" {
					b.await("It stays in the clipboard until you copy something else")
					if strings.Contains(b.text(), "second line") {
						t.Error("the value is shown")
					}
				} else {
					b.await("Press Ctrl+C to copy the selected text.", "second line")
					if strings.Contains(b.text(), "Copied") {
						t.Error("the page claims that the value was copied")
					}
					if selected := eval[string](b, "getSelection().toString()"); selected != "hunter\nsecond line" {
						t.Errorf("%q is selected", selected)
					}
					b.shortcut("c", "copy")
				}
				b.goTo(s.orgPath("/secrets/new"))
				b.focus("#value")
				b.shortcut("v", "paste")
				if got := eval[string](b, `document.querySelector("#value").value`); got != "hunter\nsecond line" {
					t.Errorf("the clipboard has %q", got)
				}
			})
		})
	}
}

// slowTimers makes the page wait longer, so that two keys follow each other quickly on any
// machine.
const slowTimers = `{ const wait = setTimeout; window.setTimeout = (fn, time) => wait(fn, 100 * time); }`

// The other single keys go to pages, move by arrows, and can be turned off.
func TestGoKeys(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.setUp(map[string]string{"alpha": "1", "beta": "2"})
	b := s.signedIn("/secrets")
	b.do(chromedp.ActionFunc(func(ctx context.Context) error {
		_, err := page.AddScriptToEvaluateOnNewDocument(slowTimers).Do(ctx)
		return err
	}))
	b.goTo(s.orgPath("/secrets"))
	at := func(path string) {
		t.Helper()
		b.until("page "+path, func() bool { return b.path() == path })
		b.complete()
	}
	for _, to := range []struct{ key, path string }{
		{"h", s.orgPath("/history")}, {"a", s.orgPath("/access")}, {"u", s.orgPath("/audit")}, {"s", s.orgPath("/secrets")},
		{"v", "/ui/server"}, {"u", "/ui/audit"}, {"s", s.orgPath("/secrets")},
	} {
		b.press("g" + to.key)
		at(to.path)
	}
	focused := func() string { return eval[string](b, "document.activeElement.textContent") }
	b.press("j" + kb.ArrowDown)
	if got := focused(); got != "beta" {
		t.Errorf("after j and the arrow down, the focus is on %q", got)
	}
	b.press(kb.ArrowUp)
	if got := focused(); got != "alpha" {
		t.Errorf("after the arrow up, the focus is on %q", got)
	}
	b.press("e")
	b.await("Change alpha")
	b.goTo(s.orgPath("/secrets"))
	b.press("i")
	b.await("Paste a .env file")
	b.goTo(s.orgPath("/secrets"))
	b.click("details.menu:not(.narrow) > summary")
	b.await("Your settings")
	b.press(kb.Escape)
	b.until("closed menu", func() bool { return !strings.Contains(b.text(), "Your settings") })

	b.goTo("/ui/me")
	b.click("[name=keys]")
	b.click("form[action$=preferences] button")
	b.await("Saved in this browser.")
	b.goTo(s.orgPath("/secrets"))
	b.press("jgh?n")
	if got := focused(); b.path() != s.orgPath("/secrets") || got == "alpha" {
		t.Errorf("keys that are turned off lead to %s and %q", b.path(), got)
	}
}

// The page copies what it shows for several secrets, as it is.
func TestCopyAs(t *testing.T) {
	inEachWay(t, withScript, func(t *testing.T, w way) {
		s := start(t)
		s.setUp(map[string]string{"it's $HOME `x` \"y\"\nof two lines": "1", "-n": "2", "ключ&a=b#c": "3"})
		b := s.signedInBy(w, "/secrets")
		b.click("tbody tr:nth-child(2) [name=select]")
		b.await("1 selected")
		b.click("[data-every]")
		b.await("3 selected")
		b.button("Copy as…")
		b.await("Copy 3 secrets as…")
		if focus := eval[string](b, "document.activeElement.id"); focus != "main" {
			t.Errorf("the focus is on %q, not on the page that answers the form", focus)
		}
		shown := eval[string](b, `document.querySelector("#snippet-curl").textContent`)
		b.click("[data-from=snippet-curl]")
		b.await("Copied.")
		b.goTo(s.orgPath("/secrets/new"))
		b.focus("#value")
		b.shortcut("v", "paste")
		if got := eval[string](b, `document.querySelector("#value").value`); got != shown || !strings.Contains(got, "of two lines") {
			t.Errorf("the clipboard has %q, want %q", got, shown)
		}
	})
}

// All rows of a long list are there for assistive technology, also those out of view, which
// "content-visibility: auto" would leave out; and for the keyboard and the filter.
func TestLongList(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.setUp(manySecrets(1000))
	b := s.signedIn("/secrets")
	b.await("secret_00000", "1,000 secrets")

	roles := map[string]int{}
	b.do(chromedp.ActionFunc(func(ctx context.Context) error {
		var tree struct { // not cdproto's, which knows too few properties
			Nodes []struct {
				Role struct {
					Value string `json:"value"`
				} `json:"role"`
			} `json:"nodes"`
		}
		err := cdp.Execute(ctx, "Accessibility.getFullAXTree", nil, &tree)
		for _, n := range tree.Nodes {
			roles[n.Role.Value]++
		}
		return err
	}))
	for role, want := range map[string]int{"table": 1, "row": 1001, "columnheader": 6, "rowheader": 1000, "cell": 5000} {
		if roles[role] != want {
			t.Errorf("the list has the role %s %d times, want %d", role, roles[role], want)
		}
	}

	b.press("k") // to the last row
	b.until("focused last row", func() bool { return eval[string](b, "document.activeElement.textContent") == "secret_00999" })
	for what, condition := range map[string]string{
		"the focused row isn't in view":  `(r => r.top >= 0 && r.bottom <= innerHeight)(document.activeElement.getBoundingClientRect())`,
		"the table's head isn't in view": `document.querySelector("thead th").getBoundingClientRect().top === 0`,
	} {
		if !eval[bool](b, condition) {
			t.Error(what)
		}
	}
	b.fill("#filter", "0077")
	b.until("filtered list", func() bool {
		return b.names() == "secret_00077 secret_00770 secret_00771 secret_00772 secret_00773 secret_00774 secret_00775 secret_00776 secret_00777 secret_00778 secret_00779"
	})
}
