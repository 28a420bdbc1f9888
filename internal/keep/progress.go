package keep

import (
	"context"
	"sync/atomic"
)

// Progress says how far long work has come.
type Progress struct {
	Running bool  `json:"running"`
	Done    int64 `json:"done"`
	Total   int64 `json:"total"` // 0 while unknown
}

// Work is the progress of the server's long work.
type Work struct {
	Rotation     Progress `json:"rotation"`     // in records
	Backup       Progress `json:"backup"`       // in records; of the backup that began last
	Verification Progress `json:"verification"` // in organizations
}

// Work returns the progress of the server's long work. Needs an operator. Only refusals
// are audited, because whoever watches asks every few seconds.
func (k *Keep) Work(ctx context.Context, c Caller) (Work, error) {
	if !c.Operator() {
		return Work{}, k.Refuse(ctx, c, "work.status", 0)
	}
	s := k.Scrubbed()
	return Work{
		Rotation:     Progress{len(k.records.Keys().KeyInfos()) > 1, k.rotation.done.Load(), k.rotation.total.Load()},
		Backup:       k.backups.progress(),
		Verification: Progress{s.Running, int64(s.Done), int64(s.Total)},
	}, nil
}

// counter counts what work has done.
type counter struct {
	running     atomic.Int32
	done, total atomic.Int64
}

// start sets the counter to zero, with a total of 0 if that is unknown.
func (c *counter) start(total int64) {
	c.done.Store(0)
	c.total.Store(total)
}

func (c *counter) progress() Progress {
	return Progress{c.running.Load() > 0, c.done.Load(), c.total.Load()}
}
