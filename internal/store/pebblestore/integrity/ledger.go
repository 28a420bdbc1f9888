package integrity

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A Ledger is a small file that records what the folder must contain: which
// logs, which manifest, and how much of it was synced. Without it, a manifest
// with a damaged end or a missing log would pass for an older state of the
// store. Its presence also shows that the store was once complete.
//
// The file has two slots, written in turn, so an interrupted write leaves the
// previous state. The ledger may lag behind the folder but is never ahead of
// it, so a crash between the two is not damage.
type Ledger struct {
	mu   sync.Mutex
	fs   vfs.FS
	path string
	file vfs.File // nil until the store is complete

	ledgerState
	seq uint64

	// Files created, but not yet known to be durable in the folder.
	newLogs     []uint64
	newManifest uint64
	lengths     map[uint64]int64 // synced lengths of manifests
}

type ledgerState struct {
	manifest    uint64   // number of the current manifest
	manifestLen int64    // synced bytes of it
	logs        []uint64 // required logs, oldest first

	// The newest log, and how much of it was synced when the store was last
	// idle.
	log    uint64
	logLen int64
}

const (
	// LedgerName is the name of the ledger's file.
	LedgerName     = "GUARD"
	ledgerTempName = "GUARD.tmp"
	ledgerMagic    = "flxguard"
	ledgerVersion  = 1
	ledgerSlot     = 4 << 10 // distance between slots, one page
	ledgerSize     = 512     // bytes used in a slot
	ledgerMaxLogs  = 48
)

// NewLedger returns the ledger of a store that is being created.
func NewLedger(fs vfs.FS, dir string) *Ledger {
	return &Ledger{fs: fs, path: fs.PathJoin(dir, LedgerName), lengths: map[uint64]int64{}}
}

// ReadLedger reads the ledger of the store in dir without opening it for
// writing.
func ReadLedger(fs vfs.FS, dir string) (*Ledger, error) {
	l := NewLedger(fs, dir)
	f, err := fs.Open(l.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	buf := make([]byte, ledgerSize)
	found := false
	for slot := range int64(2) {
		n, err := readBlock(f, buf, slot*ledgerSlot)
		if err != nil {
			return nil, err
		}
		if seq, state, ok := decodeLedger(buf[:n]); ok && (!found || seq > l.seq) {
			l.seq, l.ledgerState, found = seq, state, true
		}
	}
	if !found {
		return nil, Corrupt(LedgerName, errors.New("no valid slot"))
	}
	l.lengths[l.manifest] = l.manifestLen
	return l, nil
}

// Open opens the ledger's file for writing.
func (l *Ledger) Open() error {
	f, err := l.fs.OpenReadWrite(l.path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	l.file = f
	return nil
}

// Create creates the ledger's file, which completes a new store in dir.
func (l *Ledger) Create(dir string) error {
	temp := l.fs.PathJoin(dir, ledgerTempName)
	f, err := l.fs.Create(temp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	content := make([]byte, 2*ledgerSlot)
	l.seq = 1
	copy(content[ledgerSlot:], l.encode())
	err = MakePrivate(f)
	if err == nil {
		_, err = f.Write(content)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := l.fs.Rename(temp, l.path); err != nil {
		return err
	}
	if err := SyncDir(l.fs, dir); err != nil {
		return err
	}
	return l.Open()
}

func (l *Ledger) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}

// Created records that the engine created a file.
func (l *Ledger) Created(kind Kind, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch kind {
	case LogFile:
		if n, ok := LogNumber(name); ok {
			l.newLogs = append(l.newLogs, n)
		}
	case MarkerFile:
		if n, ok := manifestNumber(markerValue(name, "manifest")); ok {
			l.newManifest = n
		}
	}
}

// FolderSynced records that the files created so far are durable in the
// folder.
func (l *Ledger) FolderSynced() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.newLogs) == 0 && l.newManifest == 0 {
		return nil
	}
	if len(l.newLogs) > 0 {
		l.logs = append(l.logs, l.newLogs...)
		l.newLogs = l.newLogs[:0]
		l.log, l.logLen = l.logs[len(l.logs)-1], 0
	}
	if l.newManifest != 0 {
		l.manifest = l.newManifest
		l.manifestLen = l.lengths[l.manifest]
		l.newManifest = 0
		clear(l.lengths)
	}
	return l.write()
}

// ManifestSynced records that the first n bytes of a manifest are durable.
func (l *Ledger) ManifestSynced(name string, n int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	num, ok := manifestNumber(name)
	if !ok {
		return nil
	}
	if num != l.manifest {
		l.lengths[num] = n
		return nil
	}
	l.manifestLen = n
	return l.write()
}

// DropLog records that a log is about to be removed.
func (l *Ledger) DropLog(name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	num, ok := LogNumber(name)
	i := slices.Index(l.logs, num)
	if !ok || i < 0 {
		return nil
	}
	l.logs = slices.Delete(l.logs, i, i+1)
	return l.write()
}

// LogSynced records that the first n bytes of a log are durable, if it is
// still the newest.
func (l *Ledger) LogSynced(name string, n int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if num, ok := LogNumber(name); !ok || num != l.log || n <= l.logLen {
		return nil
	}
	l.logLen = n
	return l.write()
}

// RequireLog makes Check require the first n bytes of a log, which a store that was
// open until now has synced. The ledger in the folder may not know of them yet,
// and somebody may have replaced it and the log by older ones.
func (l *Ledger) RequireLog(name string, n int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch num, ok := LogNumber(name); {
	case !ok || n == 0:
		return nil
	case num > l.log:
		return Corrupt(LedgerName, fmt.Errorf("it doesn't know %s", name))
	case num == l.log:
		l.logLen = max(l.logLen, n)
	}
	return nil
}

// LogLen returns how much of the newest log is known to be durable.
func (l *Ledger) LogLen() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.logLen
}

func (l *Ledger) write() error {
	if l.file == nil {
		return nil
	}
	l.seq++
	if _, err := l.file.WriteAt(l.encode(), int64(l.seq%2)*ledgerSlot); err != nil {
		return err
	}
	return l.file.SyncData()
}

func (l *Ledger) encode() []byte {
	b := make([]byte, 0, ledgerSize)
	b = append(b, ledgerMagic...)
	logs := l.logs
	if len(logs) > ledgerMaxLogs {
		logs = logs[len(logs)-ledgerMaxLogs:]
	}
	for _, v := range []uint64{
		ledgerVersion, l.seq, l.manifest, uint64(l.manifestLen), l.log, uint64(l.logLen), uint64(len(logs)),
	} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	for _, n := range logs {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	b = b[:ledgerSize-4]
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

func decodeLedger(b []byte) (seq uint64, s ledgerState, ok bool) {
	if len(b) < ledgerSize || !bytes.HasPrefix(b, []byte(ledgerMagic)) {
		return 0, s, false
	}
	body, sum := b[:ledgerSize-4], binary.LittleEndian.Uint32(b[ledgerSize-4:])
	if crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)) != sum {
		return 0, s, false
	}
	at := len(ledgerMagic)
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
	if version != ledgerVersion || count > ledgerMaxLogs {
		return 0, s, false
	}
	for range count {
		s.logs = append(s.logs, next())
	}
	return seq, s, true
}
