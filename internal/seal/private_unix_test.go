//go:build unix

package seal

import (
	"io/fs"
	"path/filepath"
	"syscall"
	"testing"
)

func TestGroupMayRead(t *testing.T) {
	for _, tt := range []struct {
		mode        fs.FileMode
		owner, user int
		want        bool
	}{
		{0o440, 0, 998, true}, // a systemd credential, a Kubernetes Secret with fsGroup
		{0o640, 0, 998, true},
		{0o440, 998, 998, false}, // its owner can remove the permission
		{0o440, 997, 998, false},
		{0o440, 0, 0, false},
		{0o460, 0, 998, false},
		{0o444, 0, 998, false},
		{0o441, 0, 998, false},
	} {
		if got := groupMayRead(tt.mode, tt.owner, tt.user); got != tt.want {
			t.Errorf("mode %04o, owner %d, user %d: %t, want %t", tt.mode, tt.owner, tt.user, got, tt.want)
		}
	}
}

func TestOpenKeyFileRefusesPipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKeyFile(pipe); err == nil {
		t.Error("opened a pipe")
	}
}
