package pebblestore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A guard remembers, in a small file of its own, what must be in the folder:
// which logs, which manifest, and how much of it was synced. Without it, a
// manifest with a damaged end or a log that is gone would pass for an older
// state of the store. Its presence also says that the folder holds a store
// that was once complete.
//
// The file has two slots that are written in turn, so that a write that is
// cut off leaves the one before. What the guard says is always behind what is
// in the folder, never ahead of it: a crash between the two is no damage.
type guard struct {
	mu   sync.Mutex
	fs   vfs.FS
	path string
	file vfs.File // nil until the store is complete

	guardState
	seq uint64

	// What was made, but is not known to be in the folder for good.
	newLogs     []uint64
	newManifest uint64
	lengths     map[uint64]int64 // synced lengths of manifests
}

type guardState struct {
	manifest    uint64   // number of the current manifest
	manifestLen int64    // how much of it was synced
	logs        []uint64 // logs that must be there, oldest first

	// The newest log, and how much of it was synced when the store was last
	// at rest.
	log    uint64
	logLen int64
}

const (
	guardName     = "GUARD"
	guardTempName = "GUARD.tmp"
	guardMagic    = "flxguard"
	guardVersion  = 1
	guardSlot     = 4 << 10 // distance of the slots, a page each
	guardSize     = 512     // used bytes of a slot
	guardMaxLogs  = 48
)

// newGuard returns the guard of a store that is being made.
func newGuard(fs vfs.FS, dir string) *guard {
	return &guard{fs: fs, path: fs.PathJoin(dir, guardName), lengths: map[uint64]int64{}}
}

// readGuard reads the guard of the store in dir without opening it for
// changes.
func readGuard(fs vfs.FS, dir string) (*guard, error) {
	g := newGuard(fs, dir)
	f, err := fs.Open(g.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	buf := make([]byte, guardSize)
	found := false
	for slot := range int64(2) {
		n, err := readBlock(f, buf, slot*guardSlot)
		if err != nil {
			return nil, err
		}
		if seq, state, ok := decodeGuard(buf[:n]); ok && (!found || seq > g.seq) {
			g.seq, g.guardState, found = seq, state, true
		}
	}
	if !found {
		return nil, corrupt(guardName, errors.New("no valid slot"))
	}
	g.lengths[g.manifest] = g.manifestLen
	return g, nil
}

// open makes the guard write its file from now on.
func (g *guard) open() error {
	f, err := g.fs.OpenReadWrite(g.path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	g.file = f
	return nil
}

// create makes the file, which completes a new store in dir.
func (g *guard) create(dir string) error {
	temp := g.fs.PathJoin(dir, guardTempName)
	f, err := g.fs.Create(temp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	content := make([]byte, 2*guardSlot)
	g.seq = 1
	copy(content[guardSlot:], g.encode())
	err = makePrivate(f)
	if err == nil {
		_, err = f.Write(content)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := g.fs.Rename(temp, g.path); err != nil {
		return err
	}
	if err := syncDir(g.fs, dir); err != nil {
		return err
	}
	return g.open()
}

func (g *guard) close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.file == nil {
		return nil
	}
	err := g.file.Close()
	g.file = nil
	return err
}

// created notes that the engine made a file.
func (g *guard) created(kind fileKind, name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch kind {
	case logFile:
		if n, ok := logNumber(name); ok {
			g.newLogs = append(g.newLogs, n)
		}
	case markerFile:
		if n, ok := manifestNumber(markerValue(name, "manifest")); ok {
			g.newManifest = n
		}
	}
}

// folderSynced notes that the files made so far are in the folder for good.
func (g *guard) folderSynced() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.newLogs) == 0 && g.newManifest == 0 {
		return nil
	}
	if len(g.newLogs) > 0 {
		g.logs = append(g.logs, g.newLogs...)
		g.newLogs = g.newLogs[:0]
		g.log, g.logLen = g.logs[len(g.logs)-1], 0
	}
	if g.newManifest != 0 {
		g.manifest = g.newManifest
		g.manifestLen = g.lengths[g.manifest]
		g.newManifest = 0
		clear(g.lengths)
	}
	return g.write()
}

// manifestSynced notes that the first n bytes of a manifest are durable.
func (g *guard) manifestSynced(name string, n int64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	num, ok := manifestNumber(name)
	if !ok {
		return nil
	}
	if num != g.manifest {
		g.lengths[num] = n
		return nil
	}
	g.manifestLen = n
	return g.write()
}

// dropLog notes that a log is about to go.
func (g *guard) dropLog(name string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	num, ok := logNumber(name)
	i := slices.Index(g.logs, num)
	if !ok || i < 0 {
		return nil
	}
	g.logs = slices.Delete(g.logs, i, i+1)
	return g.write()
}

// logSynced notes that the first n bytes of a log are durable, if it is still
// the newest one.
func (g *guard) logSynced(name string, n int64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if num, ok := logNumber(name); !ok || num != g.log || n <= g.logLen {
		return nil
	}
	g.logLen = n
	return g.write()
}

func (g *guard) write() error {
	if g.file == nil {
		return nil
	}
	g.seq++
	if _, err := g.file.WriteAt(g.encode(), int64(g.seq%2)*guardSlot); err != nil {
		return err
	}
	return g.file.SyncData()
}

func (g *guard) encode() []byte {
	b := make([]byte, 0, guardSize)
	b = append(b, guardMagic...)
	logs := g.logs
	if len(logs) > guardMaxLogs {
		logs = logs[len(logs)-guardMaxLogs:]
	}
	for _, v := range []uint64{
		guardVersion, g.seq, g.manifest, uint64(g.manifestLen), g.log, uint64(g.logLen), uint64(len(logs)),
	} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	for _, n := range logs {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	b = b[:guardSize-4]
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

func decodeGuard(b []byte) (seq uint64, s guardState, ok bool) {
	if len(b) < guardSize || !bytes.HasPrefix(b, []byte(guardMagic)) {
		return 0, s, false
	}
	body, sum := b[:guardSize-4], binary.LittleEndian.Uint32(b[guardSize-4:])
	if crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)) != sum {
		return 0, s, false
	}
	at := len(guardMagic)
	next := func() uint64 {
		v := binary.LittleEndian.Uint64(body[at:])
		at += 8
		return v
	}
	version := next()
	seq = next()
	s.manifest, s.manifestLen = next(), int64(next())
	s.log, s.logLen = next(), int64(next())
	count := next()
	if version != guardVersion || count > guardMaxLogs {
		return 0, s, false
	}
	for range count {
		s.logs = append(s.logs, next())
	}
	return seq, s, true
}
