package failpoint

import (
	"os"

	"github.com/fluxkeep/fluxkeep/internal/audit"
)

// AuditFS adds points around the changes that the audit log makes to a file
// system. They are named audit.STEP.WHEN, where STEP is create, write, sync,
// dirsync, rename or cut, and WHEN is before or after.
func (p *Points) AuditFS(base audit.FS) audit.FS { return &auditFS{base, p} }

type auditFS struct {
	audit.FS
	points *Points
}

func (fs *auditFS) Open(path string, flag int) (f audit.File, err error) {
	open := func() error { f, err = fs.FS.Open(path, flag); return err }
	if flag&os.O_CREATE == 0 {
		err = open()
	} else if err = fs.points.around("audit.create", open); err != nil && f != nil {
		_ = f.Close() // created, but reported as failed
	}
	if err != nil {
		return nil, err
	}
	return &auditFile{f, fs.points}, nil
}

func (fs *auditFS) Rename(from, to string) error {
	return fs.points.around("audit.rename", func() error { return fs.FS.Rename(from, to) })
}

func (fs *auditFS) SyncDir(dir string) error {
	return fs.points.around("audit.dirsync", func() error { return fs.FS.SyncDir(dir) })
}

type auditFile struct {
	audit.File
	points *Points
}

func (f *auditFile) Write(b []byte) (n int, err error) {
	err = f.points.around("audit.write", func() error { n, err = f.File.Write(b); return err })
	return n, err
}

func (f *auditFile) Datasync() error { return f.points.around("audit.sync", f.File.Datasync) }

func (f *auditFile) Truncate(size int64) error {
	return f.points.around("audit.cut", func() error { return f.File.Truncate(size) })
}
