package secretmap

import (
	"encoding/hex"
	"strconv"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/jsontext"
)

// Each change writes a head and a version. For speed they are encoded by hand,
// exactly as encoding/json would, and decoded by encoding/json.

func (h *headRecord) appendJSON(b []byte) []byte {
	b = appendID(append(b, `{"map":`...), h.Map)
	b = appendNumber(b, `,"current":`, h.Current)
	b = appendNumber(b, `,"oldest":`, h.Oldest)
	if h.Full {
		b = append(b, `,"full":true`...)
	}
	b = appendNumber(b, `,"floor":`, h.Floor)
	b = appendNumber(b, `,"swept":`, h.Swept)
	b = appendIfNotZero(b, `,"parts":`, uint64(h.SweptParts))
	b = appendIfNotZero(b, `,"large":`, h.Large)
	b = strconv.AppendInt(append(b, `,"count":`...), int64(h.Count), 10)
	b = appendIfNotZero(b, `,"state":`, h.StateRevision)
	b = appendTime(append(b, `,"created":`...), h.Created)
	b = appendTime(append(b, `,"updated":`...), h.Updated)
	if h.ByID {
		b = append(b, `,"by_id":true`...)
	}
	b = appendIfNotZero(b, `,"sparse":`, h.Sparse)
	b = hex.AppendEncode(append(b, `,"sums":{"secrets":"`...), h.Sums.Secrets[:])
	b = hex.AppendEncode(append(b, `","history":"`...), h.Sums.History[:])
	return append(b, `"}}`...)
}

func (r *versionRecord) appendJSON(b []byte) []byte {
	b = appendTime(append(b, `{"time":`...), r.Time)
	if r.User != 0 {
		b = appendID(append(b, `,"user":`...), r.User)
	}
	if r.Token != 0 {
		b = appendID(append(b, `,"token":`...), r.Token)
	}
	b = jsontext.AppendString(append(b, `,"protocol":`...), string(r.Protocol))
	b = appendIfNotZero(b, `,"from":`, r.From)
	b = appendIfNotZero(b, `,"merged":`, r.Merged)
	b = strconv.AppendInt(append(b, `,"count":`...), int64(r.Count), 10)
	if len(r.Changes) > 0 {
		b = append(b, `,"changes":[`...)
		for i, c := range r.Changes {
			if i > 0 {
				b = append(b, ',')
			}
			b = jsontext.AppendString(append(b, `{"n":`...), c.Name)
			b = jsontext.AppendString(append(b, `,"o":`...), string(c.Op))
			b = appendIfNotZero(b, `,"b":`, c.Before)
			b = appendIfNotZero(b, `,"e":`, c.Earlier)
			b = append(b, '}')
		}
		b = append(b, ']')
	}
	b = appendIfNotZero(b, `,"chunks":`, uint64(r.Chunks))
	return append(b, '}')
}

func appendNumber(b []byte, field string, n uint64) []byte {
	return strconv.AppendUint(append(b, field...), n, 10)
}

func appendIfNotZero(b []byte, field string, n uint64) []byte {
	if n == 0 {
		return b
	}
	return appendNumber(b, field, n)
}

func appendID(b []byte, id acl.ID) []byte {
	return append(append(append(b, '"'), id.String()...), '"')
}

func appendTime(b []byte, t time.Time) []byte {
	return append(t.AppendFormat(append(b, '"'), time.RFC3339Nano), '"')
}
