package keep

import "github.com/fluxkeep/fluxkeep/internal/audit"

// The details of records of updates that activate or deactivate a user or a token.
const (
	detailActive   = "active"
	detailInactive = "inactive"
)

// activation returns the detail of an update's record.
func activation(active *bool) string {
	switch {
	case active == nil:
		return ""
	case *active:
		return detailActive
	}
	return detailInactive
}

// onlyRemoves reports whether a change takes data or rights away and adds none. Such
// a change may use the store's reserve: rights can be revoked in an emergency, and
// deleting is how users make room. It writes a little itself, so the store still
// refuses it when the reserve is used up.
func onlyRemoves(rec *audit.Record) bool {
	switch rec.Action {
	case "secrets.delete", "secrets.delete-all", "secrets.destroy",
		"organizations.delete", "members.remove", "users.delete", "tokens.delete", "sessions.delete":
		return true
	case "secrets.write":
		return len(rec.Names) == 0
	case "users.update", "tokens.update":
		return rec.Detail == detailInactive
	}
	return false
}
