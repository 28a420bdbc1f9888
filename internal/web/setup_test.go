package web

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// A form that set the server up gets its result again for ten minutes, and no other does.
func TestSetupOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o setupOnce
		var result keep.SetupResult
		refused := errors.New("refused")
		send := func(form onceKey, token string, want error) {
			t.Helper()
			got, _, err := o.do(form, func() (keep.SetupResult, error) { return result, want })
			if got != token || !errors.Is(err, want) {
				t.Errorf("the result is %q, %v, want %q, %v", got, err, token, want)
			}
		}
		form, other := onceKey{1}, onceKey{2}
		send(form, "", refused)
		if o.did(form) {
			t.Error("a form that was refused is remembered")
		}
		result.Token.Value = "token"
		send(form, "token", nil)
		result.Token.Value = "new"
		send(form, "token", nil)
		if o.did(other) || o.did(onceKey{}) {
			t.Error("another form has the result")
		}
		time.Sleep(onceTime)
		synctest.Wait()
		if o.did(form) || o.token != "" {
			t.Error("the result is remembered for too long")
		}
		send(onceKey{}, "new", nil)
		if o.did(onceKey{}) {
			t.Error("a form without an ID is remembered")
		}
	})
}
