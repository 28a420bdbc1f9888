package web

import (
	"strings"
	"testing"

	"github.com/chromedp/cdproto/storage"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// The stories of people who use the page for the first time.

func TestFirstStart(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := s.open("/")
	b.await("Set up Fluxkeep")
	b.fill("#username", s.user)
	b.fill("#password", s.password)
	b.fill("[autocomplete=new-password]:not(#password)", s.password)
	b.fill("#org", s.name)
	b.button("Set up")
	b.await("This token is shown once")
	s.token = eval[string](b, `document.querySelector("#token").textContent`)
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
}

func TestAddByMouse(t *testing.T)       { t.Parallel(); add(t, false, false) }
func TestAddOnPhone(t *testing.T)       { t.Parallel(); add(t, true, false) }
func TestAddWithoutScript(t *testing.T) { t.Parallel(); add(t, false, true) }

func add(t *testing.T, phone, noScript bool) {
	s := start(t)
	s.setUp(nil)
	b := s.open("/ui/sign-in")
	if phone {
		b.phone()
	}
	b.signIn()
	if noScript {
		b.withoutScript()
		b.goTo(s.orgPath("/secrets"))
	}
	b.button("Add a secret")
	b.fill("#name", "db_password")
	b.fill("#value", "first line\nsecond line\n")
	b.click("main form button.main")
	b.await("Saved as version 1")
	if got := s.values()["db_password"]; got != "first line\nsecond line\n" {
		t.Errorf("the value is %q", got)
	}
	b.goTo(s.orgPath("/secrets"))
	b.await("db_password")
	if strings.Contains(eval[string](b, "document.documentElement.outerHTML"), "first line") && !noScript {
		t.Error("the list contains the value")
	}
	b.click("tbody th a")
	b.await("Read by")
	b.click("[data-key=e]")
	b.fill("#value", "new")
	b.click("main form button.main")
	b.until("changed secret", func() bool { return s.values()["db_password"] == "new" })
}

func TestAddByKeyboard(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.setUp(map[string]string{"a": "1", "b": "2"})
	b := s.signedIn("/secrets")
	b.press("n")
	b.until("form", func() bool { return strings.HasSuffix(b.path(), "/new") })
	b.tabTo("#value")
	b.press("s3cret")
	b.do(chromedp.Focus("#name", chromedp.ByQuery))
	b.press("typed" + kb.Enter)
	b.await("Saved as version 2")
	if got := s.values()["typed"]; got != "s3cret" {
		t.Errorf("the value is %q", got)
	}

	// j and k move between rows, s shows, Escape hides.
	b.goTo(s.orgPath("/secrets"))
	b.press("j")
	b.press("j")
	b.press("s")
	b.until("shown value", func() bool {
		return strings.Contains(b.text(), "2") && eval[bool](b, `!!document.querySelector(".shown textarea")`)
	})
	b.press(kb.Escape)
	b.until("hidden value", func() bool { return !eval[bool](b, `!!document.querySelector(".shown textarea")`) })
	b.press("?")
	b.until("help", func() bool {
		return eval[bool](b, `!!document.querySelector("dialog[open]") || location.pathname.endsWith("/help")`)
	})
}

func TestGenerate(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.setUp(nil)
	b := s.signedIn("/secrets/new")
	b.fill("#name", "generated")
	b.button("Generate a value")
	b.fill("#length", "40")
	b.click("[data-do=generate]")
	b.click("main form button.main")
	b.until("saved secret", func() bool { return len(s.values()["generated"]) == 40 })
}

func TestPaste(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.setUp(map[string]string{"stays": "1", "changes": "1", "goes": "1"})
	b := s.signedIn("/secrets")
	b.button("Paste .env")
	b.do(chromedp.SetValue("#content", "stays=1\nchanges=2\nadded='three words here'\n", chromedp.ByQuery))
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
}

func TestRevealAndCopy(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.setUp(map[string]string{"db_password": "hunter\nsecond line"})
	b := s.signedIn("/secrets")
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
	b.click("#value")
	b.paste()
	if got := eval[string](b, `document.querySelector("#value").value`); got != "hunter\nsecond line" {
		t.Errorf("the clipboard has %q", got)
	}
}

func TestDeleteWithReaders(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.setUp(map[string]string{"db_password": "1", "unread": "1"})
	s.values() // as the operator's token
	b := s.signedIn("/secrets")
	b.click("tbody th a")
	b.button("Delete…")
	b.await("admin's Token read it", "Type 1 to confirm")
	b.fill("#count", "1")
	b.button("Delete 1 secret")
	b.await("unread")
	if v := s.values(); len(v) != 1 {
		t.Errorf("after the deletion there are %d secrets", len(v))
	}
}

func TestCompareAndRestore(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.setUp(map[string]string{"a": "before"})
	s.set(map[string]string{"a": "after", "b": "new"})
	b := s.signedIn("/history")
	b.await("current")
	b.button("Compare")
	b.await("Version 1 and version 2", "not there")
	b.click("tbody td:nth-of-type(2) [data-do=show]")
	b.await("before")
	b.goTo(s.orgPath("/history/1/restore"))
	b.await("Restore version 1?")
	b.button("Restore as version 3")
	b.until("restored version", func() bool { v := s.values(); return len(v) == 1 && v["a"] == "before" })
}

func TestTokenByRecipe(t *testing.T) {
	t.Parallel()
	for name, phone := range map[string]bool{"desktop": false, "phone": true} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			s.setUp(map[string]string{"telegraf_key": "1", "other": "2"})
			b := s.signedIn("/access")
			if phone {
				b.phone()
				b.goTo(s.orgPath("/access"))
			}
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
			other := s.open("/ui/sign-in")
			other.button("Use a token instead")
			other.fill("#token", token)
			other.do(chromedp.Submit("#token", chromedp.ByQuery))
			other.await("This token doesn't exist, has expired, or is inactive.")
			b.button("Activate")
			b.await("The token is active")
			other.fill("#token", token)
			other.do(chromedp.Submit("#token", chromedp.ByQuery))
			other.await("telegraf_key")
			b.button("Delete…")
			b.button("Delete the token")
			b.await("The token was deleted")
			other.goTo(s.orgPath("/secrets"))
			other.await("Sign in")
		})
	}
}

func TestAuditFilter(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.setUp(map[string]string{"a": "1"})
	s.set(map[string]string{"b": "1"})
	b := s.signedIn("/audit")
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
}

func TestRotateAndBackup(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.setUp(map[string]string{"a": "1"})
	b := s.signedIn("/secrets")
	b.goTo("/ui/server")
	b.await("There is no backup.", "The key-encryption key is in the same folder")
	b.button("Data keys")
	b.button("Rotate the data key")
	b.await("A new data key is in use")
	b.until("end of the rotation", func() bool {
		b.goTo("/ui/server/keys")
		return strings.Contains(b.text(), "Rotate the data key")
	})
}

// After signing out, Back shows nothing.
func TestSignOut(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.setUp(map[string]string{"db_password": "hunter2"})
	b := s.signedIn("/secrets")
	b.await("db_password")
	b.goTo(s.orgPath("/history"))
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
}

// A form that is sent after the session has ended keeps what was typed.
func TestSessionEndsInForm(t *testing.T) {
	t.Parallel()
	value := strings.Repeat("0123456789abcde\n", 1<<16) // 1 MiB
	for name, noScript := range map[string]bool{"with script": false, "without script": true} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			s.setUp(nil)
			b := s.signedIn("/secrets/new")
			b.fill("#name", "large")
			b.do(chromedp.SetValue("#value", value, chromedp.ByQuery))
			b.do(storage.ClearCookies())
			if noScript {
				b.withoutScript()
			}
			b.click("main form button.main")
			b.await("Your session has ended")
			if noScript {
				b.fill("#username", s.user)
				b.fill("#password", s.password)
				b.do(chromedp.Submit("#password", chromedp.ByQuery))
				b.await("You are signed in again")
				b.button("Send it now")
			} else {
				b.fill("#again-password", s.password)
				b.click("#again button.main")
			}
			b.until("saved secret", func() bool { return s.values()["large"] == value })
		})
	}
}

// Two people change one secret: the second one is asked, and loses nothing.
func TestConflict(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.setUp(map[string]string{"a": "1"})
	b := s.signedIn("/secrets")
	b.click("tbody th a")
	b.click("[data-key=e]")
	b.fill("#value", "mine")
	s.set(map[string]string{"a": "theirs"})
	b.click("main form button.main")
	b.await("changed this secret", "What you typed is still here")
	if s.values()["a"] != "theirs" {
		t.Fatal("a change was overwritten")
	}
	b.click("main form button.main")
	b.until("saved secret", func() bool { return s.values()["a"] == "mine" })
}
