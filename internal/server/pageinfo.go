package server

import (
	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/influxv2"
	"github.com/fluxkeep/fluxkeep/internal/web"
)

// nearlyFull is the room on a disk below which the web page warns.
const nearlyFull = 256 << 20

// pageInfo describes the server to operators who use the web page.
func (s *Server) pageInfo() web.ServerInfo {
	info := web.ServerInfo{StoreBytes: s.storeBytes()}
	warn := func(text, remedy string) {
		info.Warnings = append(info.Warnings, web.Warning{Text: text, Remedy: remedy})
	}
	if err := s.ready(); err != nil {
		warn("The server can't work now: "+err.Error()+".", "The server's log says more. Reading may still be possible.")
	}
	for _, w := range s.warnings() {
		if text := problemOf(w); text != "" {
			warn(text, "The server's log says more.")
		}
	}
	if room, ok := s.data.Audit.Room(); ok && room < nearlyFull {
		warn("The audit log's disk is nearly full.", "Free some space. When it is full, the server refuses all requests until the log can be written again.")
	}
	if s.certificate == nil && !config.Loopback(hostOf(s.Addr().String())) {
		warn("TLS is off, and the address can be reached from other machines: tokens and secrets cross the network in clear.",
			"Use --tls-cert and --tls-key, or a proxy that speaks TLS.")
	}
	if s.data.HoldsKey(s.config) {
		warn("The key-encryption key is in the same folder as the data that it protects: anyone who gets the folder can read everything.",
			"Move the key to another disk, keep a copy, and name it with --key-file.")
	}
	return info
}

// storeBytes returns the size of the store's files, 0 if it is unknown.
func (s *Server) storeBytes() uint64 {
	if s.cluster == nil {
		return s.data.Embedded.Metrics().DiskBytes
	}
	size := uint64(0)
	if status := s.cluster.status.Load(); status != nil {
		for _, m := range status.Members {
			size = max(size, uint64(m.DBSize))
		}
	}
	return size
}

// problemOf returns what a failed check says as a sentence, "" if it passed.
func problemOf(w influxv2.Warning) string {
	if w.Err == nil {
		return ""
	}
	return w.Name + ": " + w.Err.Error() + "."
}
