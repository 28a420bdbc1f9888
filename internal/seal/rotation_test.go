package seal_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/seal"
)

func TestRotation(t *testing.T) {
	place := []byte("place")
	start := time.Now().Truncate(time.Second)
	first := newKeys(t)
	old := mustSeal(t, first, []byte("old"), place)

	second, err := first.WithNewKey()
	if err != nil {
		t.Fatal(err)
	}
	if second.PrimaryKeyID() == first.PrimaryKeyID() {
		t.Fatal("the new key is not primary")
	}
	if n := len(first.KeyInfos()); n != 1 {
		t.Errorf("the original keyset now has %d keys", n)
	}
	fresh := mustSeal(t, second, []byte("fresh"), place)
	wantOpens(t, second, old, place, "old")
	wantOpens(t, second, fresh, place, "fresh")
	if _, err := first.Open(fresh, place); !errors.Is(err, seal.ErrUnknownKey) {
		t.Errorf("open with the old keyset: %v, want ErrUnknownKey", err)
	}
	if first.Lookup("p", place) != second.Lookup("p", place) {
		t.Error("rotation changed a lookup")
	}

	infos := second.KeyInfos()
	ids := []uint32{infos[0].ID, infos[1].ID}
	if len(infos) != 2 || !slices.Contains(ids, first.PrimaryKeyID()) || !slices.Contains(ids, second.PrimaryKeyID()) {
		t.Errorf("KeyInfos = %+v", infos)
	}
	for _, info := range infos {
		if info.Primary != (info.ID == second.PrimaryKeyID()) {
			t.Errorf("key %08x: primary is %v", info.ID, info.Primary)
		}
		if info.Created.Before(start) || info.Created.After(time.Now()) {
			t.Errorf("key %08x was created %v", info.ID, info.Created)
		}
	}

	third, err := second.WithoutKey(first.PrimaryKeyID())
	if err != nil {
		t.Fatal(err)
	}
	wantOpens(t, third, fresh, place, "fresh")
	if _, err := third.Open(old, place); !errors.Is(err, seal.ErrDamaged) || !errors.Is(err, seal.ErrUnknownKey) {
		t.Errorf("open without its key: %v, want ErrDamaged and ErrUnknownKey", err)
	}
	if infos := third.KeyInfos(); len(infos) != 1 || infos[0].ID != second.PrimaryKeyID() {
		t.Errorf("KeyInfos = %+v", infos)
	}
	wantOpens(t, second, old, place, "old")
}

func TestWithoutKeyRefuses(t *testing.T) {
	k := newKeys(t)
	if _, err := k.WithoutKey(k.PrimaryKeyID()); !errors.Is(err, seal.ErrPrimaryKey) {
		t.Errorf("primary key: %v, want ErrPrimaryKey", err)
	}
	if _, err := k.WithoutKey(k.PrimaryKeyID() + 1); !errors.Is(err, seal.ErrUnknownKey) {
		t.Errorf("missing key: %v, want ErrUnknownKey", err)
	}
}

func TestKeyInfosAreOldestFirst(t *testing.T) {
	v := readSealedVectors(t)
	var got []uint32
	for _, info := range vectorKeys(t, v, "three keys").KeyInfos() {
		got = append(got, info.ID)
	}
	if want := []uint32{0x00000001, 0x7a3f19c2, 0xfffffffe}; !slices.Equal(got, want) {
		t.Errorf("KeyInfos = %x, want %x", got, want)
	}
}

func wantOpens(t *testing.T, k *seal.Keys, sealed, place []byte, want string) {
	t.Helper()
	if got, err := k.Open(sealed, place); err != nil || string(got) != want {
		t.Errorf("Open = %q, %v, want %q", got, err, want)
	}
}
