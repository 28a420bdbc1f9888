package server

import (
	"net"
	"os"
)

// notifySystemd reports a change of state if systemd waits for it (Type=notify).
func (s *Server) notifySystemd(state string) {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return
	}
	if err := notify(socket, state); err != nil {
		s.logger.Warn("systemd can't be notified", "state", state, "error", err)
	}
}

// notify sends a state as sd_notify(3) describes. A socket whose name starts with
// "@" is an abstract one.
func notify(socket, state string) error {
	conn, err := net.Dial("unixgram", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte(state))
	return err
}
