package server

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"

	"github.com/fluxkeep/fluxkeep/internal/config"
	"golang.org/x/term"
)

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// firstSteps tells a person at a terminal what runs where, and what to do next.
func (s *Server) firstSteps(ctx context.Context) string {
	// Not "secret set": the active profile may be one of another server.
	next := "check that your profile is for this server: fluxkeep status"
	if s.config.Web == config.WebOn {
		next = "sign in at " + s.localURL() + "/ui, or " + next
	}
	if open, err := s.data.Keep.SetupAllowed(ctx); err == nil && open {
		next = "set it up from another terminal: fluxkeep setup --host " + s.localURL()
		if s.config.Web == config.WebOn {
			next = "set it up at " + s.localURL() + "/ui, or from another terminal: fluxkeep setup --host " + s.localURL()
		}
	}
	return fmt.Sprintf("\nFluxkeep is running at %s. Press Ctrl+C to stop it.\nData: %s. Key: %s.\nNext: %s\n\n",
		s.localURL(), s.data.Path(), s.config.KeyPlace(), next)
}

// localURL returns the server's URL for clients on this machine.
func (s *Server) localURL() string {
	scheme := "http"
	if s.certificate != nil {
		scheme = "https"
	}
	host, port, err := net.SplitHostPort(s.Addr().String())
	if err != nil {
		return scheme + "://" + s.Addr().String()
	}
	if ip, err := netip.ParseAddr(host); err == nil && (ip.IsUnspecified() || ip.IsLoopback()) {
		host = "localhost"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}
