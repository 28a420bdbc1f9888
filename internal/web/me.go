package web

import (
	"net/http"

	"github.com/fluxkeep/fluxkeep/internal/keep"
)

type meView struct {
	frame
	Password bool // the caller can change its password
}

func (*meView) page() string { return "me" }

func (c *call) me() *meView { return &meView{Password: c.caller.Token == 0} }

func (c *call) mePage() error {
	v := c.me()
	v.Done = c.done(map[string]string{
		"password": "Your password was changed. Your other sessions have ended.",
		"saved":    "Saved in this browser.",
	})
	return c.show(http.StatusOK, v)
}

func (c *call) changePassword() error {
	v := c.me()
	if !v.Password {
		return c.refuse("users.password")
	}
	password := c.form.get("password")
	if password != c.form.get("repeat") {
		v.Errors = []fieldError{{"repeat", "The two passwords differ."}}
		return c.show(http.StatusUnprocessableEntity, v)
	}
	if err := c.keep.ChangePassword(c.ctx(), c.caller, c.caller.User, c.form.get("old"), password); err != nil {
		if keep.CodeOf(err) == keep.CodeForbidden {
			return c.showError(v, "old", "", &problem{status: http.StatusForbidden, message: "The current password is wrong."})
		}
		return c.showError(v, "password", "", err)
	}
	return c.redirect("/ui/me?done=password")
}

// setPreferences stores in the browser how the page looks and whether it has shortcuts.
func (c *call) setPreferences() error {
	look := c.form.get("look")
	if look != "light" && look != "dark" {
		look = ""
	}
	keys := ""
	if !c.form.has("keys") {
		keys = "off"
	}
	c.setPreference("look", look)
	c.setPreference("keys", keys)
	return c.redirect("/ui/me?done=saved")
}

// setPreference stores a setting in a cookie; "" is the default.
func (c *call) setPreference(name, value string) {
	k := &http.Cookie{
		Name: c.cookie + "-" + name, Value: value, Path: c.config.Base + "/ui/", MaxAge: 365 * 24 * 60 * 60,
		Secure: c.config.Secure(c.r), HttpOnly: true, SameSite: http.SameSiteStrictMode,
	}
	if value == "" {
		k.MaxAge = -1
	}
	http.SetCookie(c.w, k)
}
