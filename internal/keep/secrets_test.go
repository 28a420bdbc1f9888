package keep_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
)

func TestChangeMakesVersions(t *testing.T) {
	k := keeptest.New(t, nil)
	op := k.Operator(t, keep.InfluxDB)
	if n := k.MustChange(t, set("a", "1", "b", "2")); n != 1 {
		t.Errorf("first version is %d", n)
	}
	if n := k.MustChange(t, set("b", "3")); n != 2 {
		t.Errorf("second version is %d", n)
	}
	if n := k.MustChange(t, set("b", "3")); n != 2 {
		t.Errorf("writing an unchanged value made version %d", n)
	}
	remove := []string{"never", "a", "never", "a"}
	if n := k.MustChange(t, keep.Change{Remove: remove}); n != 3 {
		t.Errorf("third version is %d", n)
	}
	if !slices.Equal(remove, []string{"never", "a", "never", "a"}) {
		t.Errorf("a write changed its argument to %q", remove)
	}
	if n := k.MustChange(t, keep.Change{Remove: []string{"never"}}); n != 3 {
		t.Errorf("removing a missing secret made version %d", n)
	}
	if got := k.MustValues(t); !maps.Equal(got, map[string]string{"b": "3"}) {
		t.Errorf("values are %v", got)
	}
	history, err := k.History(t.Context(), op, k.Org)
	if err != nil {
		t.Fatal(err)
	}
	var changed []string
	for _, v := range history {
		changed = append(changed, fmt.Sprintf("%d +%v ~%v -%v", v.Number, v.Added, v.Changed, v.Removed))
		if v.User != k.Admin || v.Protocol != keep.InfluxDB || v.Token == 0 {
			t.Errorf("version %d is by user %v, token %v, protocol %s", v.Number, v.User, v.Token, v.Protocol)
		}
	}
	want := []string{"3 +[] ~[] -[a]", "2 +[] ~[b] -[]", "1 +[a b] ~[] -[]"}
	if !slices.Equal(changed, want) {
		t.Errorf("history is %q, want %q", changed, want)
	}
}

func TestOldVersionsStay(t *testing.T) {
	k := keeptest.New(t, nil)
	op := k.Operator(t, keep.Vault)
	for i := range 30 {
		k.MustChange(t, set("same", "x", "n", fmt.Sprint(i)))
	}
	meta, err := k.Metadata(t.Context(), op, k.Org)
	if err != nil {
		t.Fatal(err)
	}
	if meta.Current != 30 || meta.Oldest != 21 || len(meta.Versions) != 10 {
		t.Errorf("current %d, oldest %d, %d versions", meta.Current, meta.Oldest, len(meta.Versions))
	}
	for n := uint64(1); n <= 31; n++ {
		d, err := k.Document(t.Context(), op, k.Org, n)
		if n < 21 || n > 30 {
			if !errors.Is(err, keep.ErrVersionNotFound) {
				t.Errorf("version %d: %v", n, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, want := keeptest.Map(d.Secrets), (map[string]string{"same": "x", "n": fmt.Sprint(n - 1)}); !maps.Equal(got, want) {
			t.Errorf("version %d shows %v", n, got)
		}
	}
}

func TestLimits(t *testing.T) {
	k := keeptest.New(t, nil)
	op := k.Operator(t, keep.InfluxDB)
	long := func(n int) string { return string(slices.Repeat([]byte("x"), n)) }
	for _, c := range []struct {
		name string
		ch   keep.Change
		code keep.Code
	}{
		{"empty name", set("", "v"), keep.CodeEmptyValue},
		{"NUL in a name", set("a\x00b", "v"), keep.CodeInvalid},
		{"name not UTF-8", set("\xff", "v"), keep.CodeInvalid},
		{"name too long", set(long(keep.MaxName+1), "v"), keep.CodeInvalid},
		{"removed name empty", keep.Change{Remove: []string{""}}, keep.CodeEmptyValue},
		{"NUL in a removed name", keep.Change{Remove: []string{"a\x00b"}}, keep.CodeInvalid},
		{"removed name not UTF-8", keep.Change{Remove: []string{"\xff"}}, keep.CodeInvalid},
		{"removed name too long", keep.Change{Remove: []string{long(keep.MaxName + 1)}}, keep.CodeInvalid},
		{"value not UTF-8", set("a", "\xff"), keep.CodeInvalid},
		{"value too long", set("a", long(keep.MaxValue+1)), keep.CodeTooLarge},
		{"one good, one bad", set("good", "v", "", "v"), keep.CodeEmptyValue},
	} {
		if _, err := k.Change(t.Context(), op, k.Org, c.ch); keep.CodeOf(err) != c.code {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if got := k.MustValues(t); len(got) != 0 {
		t.Errorf("refused changes left %v", got)
	}
	k.MustChange(t, set(long(keep.MaxName), long(keep.MaxValue), "empty", "", "...", "dots"))
	if got := k.MustValues(t); len(got) != 3 || len(got[long(keep.MaxName)]) != keep.MaxValue {
		t.Errorf("%d values", len(got))
	}
}

func TestCAS(t *testing.T) {
	k := keeptest.New(t, nil)
	op := k.Operator(t, keep.Vault)
	write := func(ch keep.Change, n uint64) error {
		ch.CAS, ch.Replace, ch.Always = cas(n), true, true
		_, err := k.Change(t.Context(), op, k.Org, ch)
		return err
	}
	for _, c := range []struct {
		cas uint64
		err error
	}{{1, keep.ErrCASMismatch}, {0, nil}, {0, keep.ErrCASMismatch}, {2, keep.ErrCASMismatch}, {1, nil}, {1, keep.ErrCASMismatch}, {2, nil}} {
		if err := write(set("a", fmt.Sprint(c.cas)), c.cas); !errors.Is(err, c.err) {
			t.Errorf("cas %d: %v, want %v", c.cas, err, c.err)
		}
	}
	required := true
	if err := k.UpdateSettings(t.Context(), op, k.Org, keep.SettingsUpdate{CASRequired: &required}); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Change(t.Context(), op, k.Org, set("a", "x")); !errors.Is(err, keep.ErrCASRequired) {
		t.Errorf("without cas: %v", err)
	}
}

func TestDeleteUndeleteDestroy(t *testing.T) {
	k := keeptest.New(t, nil)
	op := k.Operator(t, keep.Vault)
	ctx := t.Context()
	k.MustChange(t, set("a", "1", "keep", "k"))
	k.MustChange(t, set("a", "2"))
	check := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	check("delete", k.DeleteVersions(ctx, op, k.Org))
	if got := k.MustValues(t); len(got) != 0 {
		t.Errorf("after a delete the map shows %v", got)
	}
	if names, err := k.SecretNames(ctx, op, k.Org); err != nil || len(names) != 0 {
		t.Errorf("after a delete the names are %v, %v", names, err)
	}
	check("undelete", k.UndeleteVersions(ctx, op, k.Org, 2))
	if got := k.MustValues(t); !maps.Equal(got, map[string]string{"a": "2", "keep": "k"}) {
		t.Errorf("after an undelete the map shows %v", got)
	}
	check("delete", k.DeleteVersions(ctx, op, k.Org))
	if n := k.MustChange(t, set("new", "n")); n != 3 {
		t.Errorf("version %d", n)
	}
	if got := k.MustValues(t); !maps.Equal(got, map[string]string{"new": "n"}) {
		t.Errorf("a write after a delete starts from %v", got)
	}
	history, err := k.History(ctx, op, k.Org)
	check("history", err)
	if v := history[0]; len(v.Added) != 1 || len(v.Removed) != 0 || v.Count != 1 {
		t.Errorf("the version is shown as %+v", v)
	}
	check("destroy", k.DestroyVersions(ctx, op, k.Org, 2))
	if d, err := k.Document(ctx, op, k.Org, 2); err != nil || !d.Version.Destroyed || d.Secrets != nil {
		t.Errorf("a destroyed version shows %+v, %v", d, err)
	}
	check("undelete of a destroyed one", k.UndeleteVersions(ctx, op, k.Org, 2))
	if d, _ := k.Document(ctx, op, k.Org, 2); d.Secrets != nil {
		t.Errorf("undelete brought back %v", d.Secrets)
	}
	if d, err := k.Document(ctx, op, k.Org, 1); err != nil || !maps.Equal(keeptest.Map(d.Secrets), map[string]string{"a": "1", "keep": "k"}) {
		t.Errorf("destroying 2 changed 1: %v, %v", d.Secrets, err)
	}
	check("delete all", k.DeleteAll(ctx, op, k.Org))
	if _, err := k.Metadata(ctx, op, k.Org); !errors.Is(err, keep.ErrVersionNotFound) {
		t.Errorf("metadata after all is deleted: %v", err)
	}
	if n := k.MustChange(t, set("again", "1")); n != 1 {
		t.Errorf("after all is deleted the first version is %d", n)
	}
}

func TestRollbackAndDropGuard(t *testing.T) {
	k := keeptest.New(t, nil)
	op, influxd := k.Operator(t, keep.InfluxDB), k.Operator(t, keep.Influxd)
	ctx := t.Context()
	k.MustChange(t, set("a", "1", "b", "2", "c", "3"))
	before := k.MustValues(t)
	ch := set("endpoint", "x")
	ch.Replace, ch.Guard, ch.Merge = true, true, true
	w, err := k.Change(ctx, influxd, k.Org, ch)
	if err != nil || w.Pinned != 1 {
		t.Fatalf("a write that drops all: pinned %d, %v", w.Pinned, err)
	}
	for i := range 25 { // more than max_versions
		k.MustChange(t, set("endpoint", fmt.Sprint(i)))
	}
	d, err := k.Document(ctx, op, k.Org, 1)
	if err != nil || !maps.Equal(keeptest.Map(d.Secrets), before) {
		t.Fatalf("the pinned version shows %v, %v", d.Secrets, err)
	}
	if _, err := k.Rollback(ctx, op, k.Org, 1); err != nil {
		t.Fatal(err)
	}
	if got := k.MustValues(t); !maps.Equal(got, before) {
		t.Errorf("rolled back to %v, want %v", got, before)
	}
	if err := k.Unpin(ctx, op, k.Org, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Document(ctx, op, k.Org, 1); !errors.Is(err, keep.ErrVersionNotFound) {
		t.Errorf("an unpinned version that is too old: %v", err)
	}
	if got := k.MustValues(t); !maps.Equal(got, before) {
		t.Errorf("unpinning changed the values to %v", got)
	}
	if err := k.Unpin(ctx, op, k.Org, 1); !errors.Is(err, keep.ErrVersionNotFound) {
		t.Errorf("unpinned twice: %v", err)
	}
}

func TestMerge(t *testing.T) {
	k := keeptest.New(t, nil)
	influxd := k.Operator(t, keep.Influxd)
	write := func(read uint64, values map[string]string) error {
		_, err := k.Change(t.Context(), influxd, k.Org, keep.Change{Set: values, Replace: true, CAS: &read, Merge: true, Always: true})
		return err
	}
	k.MustChange(t, set("a", "1", "b", "1"))
	k.MustChange(t, set("c", "1")) // influxd has read version 1
	if err := write(1, map[string]string{"a": "2", "b": "1"}); err != nil {
		t.Fatalf("another name changed since: %v", err)
	}
	if got := k.MustValues(t); !maps.Equal(got, map[string]string{"a": "2", "b": "1", "c": "1"}) {
		t.Errorf("merged to %v", got)
	}
	if err := write(1, map[string]string{"a": "3", "b": "1"}); !errors.Is(err, keep.ErrCASMismatch) {
		t.Errorf("the same name changed to something else: %v", err)
	}
	if err := write(1, map[string]string{"a": "2", "b": "1"}); err != nil {
		t.Errorf("the same name changed to the same: %v", err)
	}
	if err := write(1, map[string]string{"a": "1"}); err != nil {
		t.Errorf("a removal: %v", err)
	}
	if got := k.MustValues(t); !maps.Equal(got, map[string]string{"a": "2", "c": "1"}) {
		t.Errorf("merged to %v", got)
	}
	if err := write(99, nil); !errors.Is(err, keep.ErrCASMismatch) {
		t.Errorf("a version that doesn't exist yet: %v", err)
	}
	for i := range 20 {
		k.MustChange(t, set("c", fmt.Sprint("x", i)))
	}
	if err := write(1, map[string]string{"a": "9"}); !errors.Is(err, keep.ErrCASMismatch) {
		t.Errorf("a pruned version: %v", err)
	}
}

// TestMergeAfterDeletion writes what was read before the document was deleted, which
// doesn't change its version: nothing that was deleted comes back.
func TestMergeAfterDeletion(t *testing.T) {
	k := keeptest.New(t, nil)
	influxd := k.Operator(t, keep.Influxd)
	write := func(values map[string]string) error {
		read := uint64(1)
		_, err := k.Change(t.Context(), influxd, k.Org, keep.Change{Set: values, Replace: true, CAS: &read, Merge: true, Always: true})
		return err
	}
	k.MustChange(t, set("a", "1", "b", "1"))
	if err := k.DeleteVersions(t.Context(), influxd, k.Org); err != nil {
		t.Fatal(err)
	}
	if err := write(map[string]string{"a": "2", "b": "1"}); !errors.Is(err, keep.ErrCASMismatch) {
		t.Errorf("a name that was deleted since is changed: %v", err)
	}
	if got := k.MustValues(t); len(got) > 0 {
		t.Errorf("%v came back", got)
	}
	if err := write(map[string]string{"a": "1", "b": "1", "c": "1"}); err != nil {
		t.Errorf("another name is added: %v", err)
	}
	if got := k.MustValues(t); !maps.Equal(got, map[string]string{"c": "1"}) {
		t.Errorf("merged to %v", got)
	}
}

// TestConcurrentMerges writes as influxd does, with 12 writers at once: read the
// document, change one name, write it back.
func TestConcurrentMerges(t *testing.T) {
	k := keeptest.New(t, nil)
	influxd := k.Operator(t, keep.Influxd)
	const writers, rounds = 12, 5
	k.MustChange(t, set("base", "b"))
	many := 100
	if err := k.UpdateSettings(t.Context(), influxd, k.Org, keep.SettingsUpdate{MaxVersions: &many}); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"base": "b"}
	var wg sync.WaitGroup
	for i := range writers {
		want[fmt.Sprint("w", i)] = fmt.Sprint(rounds - 1)
		wg.Go(func() {
			for round := range rounds {
				d, err := k.Document(t.Context(), influxd, k.Org, 0)
				if err != nil {
					t.Error(err)
					return
				}
				values := keeptest.Map(d.Secrets)
				values[fmt.Sprint("w", i)] = fmt.Sprint(round)
				ch := keep.Change{Set: values, Replace: true, CAS: &d.Version.Number, Merge: true, Guard: true, Always: true}
				if _, err := k.Change(t.Context(), influxd, k.Org, ch); err != nil {
					t.Errorf("writer %d, round %d: %v", i, round, err)
				}
			}
		})
	}
	wg.Wait()
	if got := k.MustValues(t); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestLimitedToken(t *testing.T) {
	k := keeptest.New(t, nil)
	k.MustChange(t, set("telegraf_a", "1", "telegraf_b", "2", "other", "3"))
	token := k.MustToken(t, keep.NewToken{Permissions: keeptest.WriteSecrets(k.Org), Names: []string{"telegraf_*"}})
	c := k.MustCaller(t, keep.Vault, token.Value)
	ctx := t.Context()
	if names, err := k.SecretNames(ctx, c, k.Org); err != nil || !slices.Equal(names, []string{"telegraf_a", "telegraf_b"}) {
		t.Errorf("it lists %v, %v", names, err)
	}
	if d, err := k.Values(ctx, c, k.Org, []string{"other"}, ""); err != nil || len(d.Secrets) != 0 {
		t.Errorf("it reads %v, %v", d.Secrets, err)
	}
	if _, err := k.Change(ctx, c, k.Org, set("other", "x")); keep.CodeOf(err) != keep.CodeForbidden {
		t.Errorf("it writes: %v", err)
	}
	if _, err := k.Change(ctx, c, k.Org, keep.Change{Remove: []string{"other"}}); keep.CodeOf(err) != keep.CodeForbidden {
		t.Errorf("it removes: %v", err)
	}
	ch := set("telegraf_c", "4")
	ch.Replace = true
	if _, err := k.Change(ctx, c, k.Org, ch); err != nil {
		t.Fatal(err)
	}
	if got := k.MustValues(t); !maps.Equal(got, map[string]string{"telegraf_c": "4", "other": "3"}) {
		t.Errorf("a whole document written by it left %v", got)
	}
	for what, err := range map[string]error{
		"delete":     k.DeleteVersions(ctx, c, k.Org),
		"delete all": k.DeleteAll(ctx, c, k.Org),
		"destroy":    k.DestroyVersions(ctx, c, k.Org, 1),
	} {
		if keep.CodeOf(err) != keep.CodeForbidden {
			t.Errorf("%s: %v", what, err)
		}
	}
	history, err := k.History(ctx, c, k.Org)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range history {
		if slices.Contains(slices.Concat(v.Added, v.Changed, v.Removed), "other") {
			t.Errorf("history shows it: %+v", v)
		}
	}
}

func TestWait(t *testing.T) {
	k := keeptest.New(t, nil)
	op := k.Operator(t, keep.InfluxDB)
	d, err := k.Values(t.Context(), op, k.Org, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- k.Wait(t.Context(), op, k.Org, d.Tag) }()
	select {
	case <-done:
		t.Fatal("returned before a change")
	case <-time.After(50 * time.Millisecond):
	}
	k.MustChange(t, set("a", "1"))
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("a change did not wake it")
	}
}
