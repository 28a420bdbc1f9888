package web

import (
	"fmt"
	"net/http"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// ServerInfo is what operators want to know of the server besides its data.
type ServerInfo struct {
	StoreBytes uint64 // 0 if unknown
	Warnings   []Warning
}

// Warning is a condition that needs an operator.
type Warning struct {
	Text, Remedy string
}

// oldBackup is the age from which a backup is overdue.
const oldBackup = 7 * 24 * time.Hour

type serverView struct {
	frame
	Info       ServerInfo
	Started    time.Time
	LastBackup time.Time // zero: none
	Scrub      keep.ScrubStatus
	Verifying  progressBox
}

func (*serverView) page() string { return "server" }

func (c *call) serverPage() error {
	if err := c.keep.AllowOperator(c.ctx(), c.caller, "server.read"); err != nil {
		return err
	}
	v := &serverView{Started: c.config.Started, LastBackup: c.keep.LastBackup(), Scrub: c.keep.Scrubbed()}
	v.Verifying = progressBox{keep.Progress{Running: v.Scrub.Running, Done: int64(v.Scrub.Done), Total: int64(v.Scrub.Total)}, "verification", "Verifying the stored data", "organizations", c.r.URL.Path}
	if c.config.Server != nil {
		v.Info = c.config.Server()
	}
	warn := func(text, remedy string) { v.Info.Warnings = append(v.Info.Warnings, Warning{text, remedy}) }
	switch age := c.config.Now().Sub(v.LastBackup); {
	case v.LastBackup.IsZero():
		warn("There is no backup.", "Make one under “Backup”, and schedule “fluxkeep backup”.")
	case age > oldBackup:
		warn("The last backup is "+plural(int(age/(24*time.Hour)), "day")+" old.", "Make one under “Backup”, and schedule “fluxkeep backup”.")
	}
	for _, w := range c.keep.AuditWarnings() {
		warn(sentence(w), "The server's log says more.")
	}
	return c.show(http.StatusOK, v)
}

// serverProgress tells the script how far long work has come.
func (c *call) serverProgress() error {
	work, err := c.keep.Work(c.ctx(), c.caller)
	if err != nil {
		return err
	}
	return c.respond(http.StatusOK, work)
}

// progressBox shows how far long work has come, and the script keeps it up to date.
type progressBox struct {
	keep.Progress
	Kind, Doing, Things string // such as "rotation", "Re-encrypting", "records"
	Again               string // the address of the page that shows it
}

type keysView struct {
	frame
	Keys     []dataKey
	Rotation progressBox
	Problem  string
}

type dataKey struct {
	ID      string
	Created time.Time
	Primary bool
}

func (*keysView) page() string { return "keys" }

func (c *call) keys() (*keysView, error) {
	s, err := c.keep.KeyStatus(c.ctx(), c.caller)
	if err != nil {
		return nil, err
	}
	v := &keysView{Problem: sentence(s.Err)}
	v.Rotation = progressBox{keep.Progress{Running: len(s.Keys) > 1, Done: s.Done, Total: s.Total}, "rotation", "Re-encrypting", "records", c.r.URL.Path}
	for _, k := range s.Keys {
		v.Keys = append(v.Keys, dataKey{fmt.Sprintf("%08x", k.ID), k.Created, k.Primary})
	}
	return v, nil
}

func (c *call) keysPage() error {
	v, err := c.keys()
	if err != nil {
		return err
	}
	v.Done = c.done(map[string]string{"rotating": "A new data key is in use. Existing records are re-encrypted in the background."})
	return c.show(http.StatusOK, v)
}

func (c *call) rotateKeys() error {
	if err := c.keep.RotateKeys(c.ctx(), c.caller); err != nil {
		message, status, rest := c.inForm(err)
		if rest != nil {
			return rest
		}
		v, err := c.keys()
		if err != nil {
			return err
		}
		v.Errors = []fieldError{{"", message}}
		return c.show(status, v)
	}
	return c.redirect("/ui/server/keys?done=rotating")
}

type backupView struct {
	frame
	LastBackup time.Time
	Backup     progressBox
}

func (*backupView) page() string { return "backup" }

func (c *call) backupPage() error {
	if err := c.keep.AllowOperator(c.ctx(), c.caller, "server.read"); err != nil {
		return err
	}
	work, err := c.keep.Work(c.ctx(), c.caller)
	if err != nil {
		return err
	}
	v := &backupView{
		LastBackup: c.keep.LastBackup(), Backup: progressBox{work.Backup, "backup", "A backup is being made", "records", c.r.URL.Path},
	}
	v.Done = c.done(map[string]string{"made": "This backup was already made. To make another one, download again."})
	return c.show(http.StatusOK, v)
}

// downloadBackup sends a backup. A failure after the start breaks the connection, since
// only that shows the browser that the file is incomplete. The form leads to its page if it
// is sent again.
func (c *call) downloadBackup() error {
	w := &download{c: c}
	err := c.keep.Backup(c.ctx(), c.caller, w)
	if err != nil && w.begun {
		panic(http.ErrAbortHandler)
	}
	if err == nil {
		c.location = "/ui/server/backup?done=made"
	}
	return err
}

// download is a response that is a file.
type download struct {
	c     *call
	begun bool
}

func (d *download) Write(p []byte) (int, error) {
	if !d.begun {
		h := d.c.w.Header()
		h.Set("Content-Type", "application/octet-stream")
		h.Set("Content-Disposition", `attachment; filename="`+d.c.config.Now().UTC().Format("fluxkeep-20060102T150405Z.backup")+`"`)
		d.begun = true
	}
	return d.c.w.Write(p)
}
