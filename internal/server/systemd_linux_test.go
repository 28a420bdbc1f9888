package server

import (
	"errors"
	"io/fs"
	"net"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestNotifySystemd: systemd hears when the server is ready, which it then is,
// and when it stops.
func TestNotifySystemd(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()
	t.Setenv("NOTIFY_SOCKET", socket)
	hears := func(want string) {
		t.Helper()
		if err := systemd.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 100)
		n, err := systemd.Read(b)
		if err != nil || string(b[:n]) != want {
			t.Fatalf("%q, %v, want %q", b[:n], err, want)
		}
	}
	p := startProcess(t, filepath.Join(t.TempDir(), "data"))
	hears("READY=1")
	p.url(t)
	p.signal(t, syscall.SIGTERM)
	hears("STOPPING=1")
	if err := p.wait(t); err != nil {
		t.Error(err)
	}
}

func TestNotifyAbstractSocket(t *testing.T) {
	name := "@fluxkeep-test-" + filepath.Base(filepath.Dir(t.TempDir()))
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Skipf("this system has no abstract sockets: %v", err)
	}
	defer systemd.Close()
	if err := notify(name, "READY=1"); err != nil {
		t.Error(err)
	}
	if err := notify(filepath.Join(t.TempDir(), "none"), "READY=1"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no socket: %v", err)
	}
}
