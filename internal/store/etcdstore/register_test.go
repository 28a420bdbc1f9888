package etcdstore

import "testing"

// TestRegistrationStays checks that a new registration isn't taken for lost because
// an earlier one was.
func TestRegistrationStays(t *testing.T) {
	var r registration
	r.init()
	r.set("first", 1)
	r.lose()
	r.set("second", 2)
	select {
	case <-r.lost:
		t.Error("the second registration was lost with the first")
	default:
	}
	r.lose()
	select {
	case <-r.lost:
	default:
		t.Error("the loss of the second registration isn't noticed")
	}
}
