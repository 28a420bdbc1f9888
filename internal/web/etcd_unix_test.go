//go:build unix

package web_test

import (
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/keeptest"
)

// TestAccessEtcd is TestAccess with the store in etcd.
func TestAccessEtcd(t *testing.T) {
	t.Parallel()
	newCast(t, &keeptest.Options{OpenStore: keeptest.Etcd(t)}).tryAll(t)
}
