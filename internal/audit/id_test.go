package audit

import (
	"bytes"
	"sync"
	"testing"
)

func TestIDsAreUnique(t *testing.T) {
	const goroutines, each = 16, 1000
	var mu sync.Mutex
	seen := make(map[ID]bool)
	var wg sync.WaitGroup
	shared := NewIDs()
	for i := range goroutines {
		source := shared
		if i%2 == 0 {
			source = NewIDs()
		}
		wg.Go(func() {
			var last ID
			for range each {
				id := source.Next()
				if bytes.Compare(last[:], id[:]) >= 0 {
					t.Errorf("%v follows %v", id, last)
				}
				last = id
				mu.Lock()
				seen[id] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(seen) != goroutines*each {
		t.Errorf("%d of %d IDs are different", len(seen), goroutines*each)
	}
}

func TestIDText(t *testing.T) {
	id := NewIDs().Next()
	text, err := id.MarshalText()
	if err != nil || string(text) != id.String() {
		t.Fatalf("got %s, %v for %v", text, err, id)
	}
	var got ID
	if err := got.UnmarshalText(text); err != nil || got != id {
		t.Errorf("got %v, %v from %s", got, err, text)
	}
	for _, bad := range []string{"", "00", goodID[1:], goodID + "00", "68E30000000000000000000000000001"} {
		if err := got.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q was accepted as an ID", bad)
		}
	}
}
