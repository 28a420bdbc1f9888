package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// fault is a way in which a disk fails while the server runs.
type fault struct {
	name  string
	begin func(*world) error
	end   func(*world) error
	// reads means that reads still succeed: they only need the audit log's
	// disk.
	reads bool
}

// injected returns a fault that the server injects by failpoints.
func injected(name, arm string, reads bool) fault {
	return fault{
		name: name, reads: reads,
		begin: func(w *world) error { return w.site.arm(arm) },
		end:   func(w *world) error { return w.site.arm("") },
	}
}

// runDisk breaks a server's disk under load, in all ways, one after the other.
// Each time, the server must answer 503 in the protocol's own format, make no
// partial changes, and recover by itself.
func runDisk(ctx context.Context, c config, n *counts) error {
	w, p, err := newWorld(ctx, c, filepath.Join(c.dir, "faults", "data"), filepath.Join(c.dir, "faults"), n)
	if err != nil {
		return err
	}
	defer w.site.leave()
	for _, f := range []fault{
		injected("the store's disk fails", "EIO store.*", true),
		injected("the store's disk is full", "ENOSPC store.*.write.before", true),
		injected("the store's log fails to sync", "EIO store.log.sync.before", true),
		injected("the store's log is synced, but reports a failure", "EIO store.log.sync.after", true),
		injected("the store's guard is written, but reports a failure", "EIO store.guard.write.after", true),
		injected("the audit log's disk fails", "EIO audit.*", false),
		injected("the audit log's disk is full", "ENOSPC audit.write.before", false),
		injected("the audit log is written, but reports a failure", "EIO audit.write.after", false),
		injected("everything is read-only", "EROFS *", false),
	} {
		if err := w.breakDisk(ctx, p, f); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", f.name, err), p.kill())
		}
	}
	// A change that was reported as failed must still be missing after a
	// crash.
	if err := p.kill(); err != nil {
		return err
	}
	n.kills++
	if p, err = w.revive(ctx, place{}); err != nil {
		return err
	}
	if err := w.end(ctx, p); err != nil {
		return err
	}
	return runSmallDisk(ctx, c, n)
}

// breakDisk breaks and repairs the disk under load.
func (w *world) breakDisk(ctx context.Context, p *process, f fault) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	w.broken.Store(true) // from before the fault to after the last request
	go func() {
		defer close(done)
		w.load(ctx, p)
	}()
	err := w.duringFault(ctx, p, f)
	if eerr := f.end(w); err == nil {
		err = eerr
	}
	if err == nil {
		err = w.afterFault(ctx, p)
	}
	cancel()
	<-done
	if err != nil {
		return errors.Join(err, w.found())
	}
	w.broken.Store(false)
	return w.check(context.WithoutCancel(ctx), p, true)
}

// duringFault checks the answers while the disk is broken.
func (w *world) duringFault(ctx context.Context, p *process, f fault) error {
	if err := eventually(ctx, "writing before the fault", func() error { return w.probe(p, true, http.StatusOK) }); err != nil {
		return err
	}
	if err := f.begin(w); err != nil {
		return err
	}
	// Caches and partly filled pages can serve some more requests.
	if err := eventually(ctx, "refusing changes", func() error { return w.probe(p, true, http.StatusServiceUnavailable) }); err != nil {
		return err
	}
	if !f.reads {
		if err := eventually(ctx, "refusing reads", func() error { return w.probe(p, false, http.StatusServiceUnavailable) }); err != nil {
			return err
		}
	}
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
		if err := w.probe(p, true, http.StatusServiceUnavailable); err != nil {
			return fmt.Errorf("change: %w", err)
		}
		if f.reads {
			if err := w.probe(p, false, http.StatusOK); err != nil {
				return fmt.Errorf("read: %w", err)
			}
		}
	}
	return nil
}

// afterFault waits until the server has recovered by itself.
func (w *world) afterFault(ctx context.Context, p *process) error {
	for _, write := range []bool{true, false} {
		if err := eventually(ctx, "working again", func() error { return w.probe(p, write, http.StatusOK) }); err != nil {
			return err
		}
	}
	return nil
}

// probe changes or reads in all ways, and expects the same status from each.
func (w *world) probe(p *process, write bool, want int) error {
	k := w.prober
	a := &api{p.url, k.token, w.http}
	o := w.orgs[0]
	var tries []func() bool
	if write {
		tries = []func() bool{
			func() bool { return k.patch(a, o) },
			func() bool { return k.rewrite(a, o, vaultKV, false) },
			func() bool { return k.rewrite(a, o, influxd, false) },
		}
	} else {
		tries = []func() bool{
			func() bool { return k.send(a, "GET", influxPath(o.id, "values"), nil, o, reading, change{}) },
			func() bool { return k.send(a, "GET", influxPath(o.id), nil, o, reading, change{}) },
			func() bool { _, ok := k.see(a, o, vaultKV); return ok },
			func() bool { _, ok := k.see(a, o, influxd); return ok },
		}
	}
	for _, try := range tries {
		if !try() {
			if p.gone() {
				return p.ended()
			}
			return errors.New("no answer")
		}
		op := w.last(k)
		if want == http.StatusOK && op.outcome != acknowledged || want != http.StatusOK && op.outcome != unableNow {
			return fmt.Errorf("%s", op)
		}
	}
	return w.found()
}

// runSmallDisk fills a real disk and makes it read-only, if that is possible.
func runSmallDisk(ctx context.Context, c config, n *counts) error {
	mnt := filepath.Join(c.dir, "disk", "mnt")
	if err := os.MkdirAll(mnt, 0o700); err != nil {
		return err
	}
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		fmt.Fprintln(c.out, "skipped: a full or read-only real disk, which needs root on Linux to mount")
		return nil
	}
	if err := mount("-t", "tmpfs", "-o", "size=128m", "tmpfs", mnt); err != nil {
		fmt.Fprintf(c.out, "skipped: a full or read-only real disk: %v\n", err)
		return nil
	}
	defer func() {
		if out, err := exec.Command("umount", mnt).CombinedOutput(); err != nil {
			fmt.Fprintf(c.out, "umount: %v: %s\n", err, out)
		}
	}()
	w, p, err := newWorld(ctx, c, filepath.Join(mnt, "data"), filepath.Join(c.dir, "disk"), n)
	if err != nil {
		return err
	}
	defer w.site.leave() // otherwise the disk cannot be unmounted
	ballast := filepath.Join(mnt, "ballast")
	empty := func(*world) error { return os.Remove(ballast) }
	for _, f := range []fault{
		{"a nearly full disk", func(*world) error { return fill(ballast, 24<<20) }, empty, true},
		{"a full disk", func(*world) error { return fill(ballast, 0) }, empty, false},
	} {
		if err := w.breakDisk(ctx, p, f); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", f.name, err), p.kill())
		}
	}
	if p, err = w.readOnly(ctx, p, mnt); err != nil {
		return fmt.Errorf("read-only disk: %w", err)
	}
	return w.end(ctx, p)
}

func mount(args ...string) error {
	if out, err := exec.Command("mount", args...).CombinedOutput(); err != nil {
		problem, _, _ := strings.Cut(string(out), "\n")
		return fmt.Errorf("mount %s: %w: %s", strings.Join(args, " "), err, problem)
	}
	return nil
}

// fill fills a disk with a file, down to about a number of free bytes and, unless that
// is 0, never below it.
func fill(file string, leave int64) error {
	if leave > 0 {
		free, err := freeSpace(filepath.Dir(file))
		if err != nil {
			return err
		}
		return os.WriteFile(file, make([]byte, max(0, free-leave)), 0o600)
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	block := make([]byte, 1<<20)
	for len(block) > 0 {
		if _, err := f.Write(block); err != nil {
			block = block[:len(block)/2] // to the last page
		}
	}
	return nil
}

// freeSpace asks df, whose POSIX format has the free kilobytes of the disk in the fourth
// column.
func freeSpace(dir string) (int64, error) {
	out, err := exec.Command("df", "-Pk", dir).Output()
	if err != nil {
		return 0, fmt.Errorf("df %s: %w", dir, err)
	}
	_, line, _ := strings.Cut(string(out), "\n")
	fields := strings.Fields(line)
	if len(fields) < 6 {
		return 0, fmt.Errorf("df %s printed %q", dir, out)
	}
	kilobytes, err := strconv.ParseInt(fields[3], 10, 64)
	return kilobytes << 10, err
}

// readOnly makes the disk read-only, while the server runs if the system
// allows that, and while it does not run.
func (w *world) readOnly(ctx context.Context, p *process, mnt string) (*process, error) {
	remount := func(how string) error { return mount("-o", "remount,"+how, mnt) }
	if err := remount("ro"); err != nil {
		fmt.Fprintf(w.config.out, "skipped: a disk that becomes read-only while the server runs (%v); covered by the injected fault\n", err)
	} else {
		f := fault{"read-only", func(*world) error { return nil }, func(*world) error { return remount("rw") }, false}
		if err := remount("rw"); err != nil {
			return p, err
		}
		f.begin = func(*world) error { return remount("ro") }
		if err := w.breakDisk(ctx, p, f); err != nil {
			return p, errors.Join(err, p.kill())
		}
	}
	if err := p.kill(); err != nil {
		return p, err
	}
	w.counts.kills++
	if err := remount("ro"); err != nil {
		return p, err
	}
	before, err := listing(w.site.dir)
	if err != nil {
		return p, errors.Join(err, remount("rw"))
	}
	p, err = w.site.start(ctx)
	if err == nil {
		return p, errors.Join(errors.New("the server starts on a read-only disk"), p.kill(), remount("rw"))
	}
	after, err := listing(w.site.dir)
	if err == nil && before != after {
		err = fmt.Errorf("a failed start changed the folder from\n%sto\n%s", before, after)
	}
	if err = errors.Join(err, remount("rw")); err != nil {
		return p, err
	}
	return w.revive(ctx, place{})
}

// listing returns the files of a folder with their sizes.
func listing(dir string) (string, error) {
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && !d.IsDir() {
			fmt.Fprintf(&b, "%s %d\n", path, info.Size())
		}
		return err
	})
	return b.String(), err
}
