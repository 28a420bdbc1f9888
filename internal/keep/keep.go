package keep

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/audit"
	"github.com/fluxkeep/fluxkeep/internal/clock"
	"github.com/fluxkeep/fluxkeep/internal/directory"
	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/seal"
	"github.com/fluxkeep/fluxkeep/internal/secretmap"
	"github.com/fluxkeep/fluxkeep/internal/store"
	"golang.org/x/crypto/bcrypt"
)

// Limits of stored data, the same for every protocol.
const (
	MaxName  = 1024               // bytes of a secret's name
	MaxValue = 1 << 20            // bytes of a secret's value
	MaxNames = secretmap.MaxNames // names in one organization
)

// Config configures a Keep.
type Config struct {
	Store store.Store // required
	Keys  *seal.Keys  // required
	Audit *audit.Log  // required

	// Cluster is set if several servers share the store.
	Cluster Cluster
	// Logger is for the operator. It never gets values, names, tokens or
	// passwords. Default: discard.
	Logger *slog.Logger
	// HashAuditNames replaces the names of secrets in the audit log with keyed
	// hashes.
	HashAuditNames bool
	// DropGuard is the number of names that one write to the influxd address
	// may remove without pinning the previous version; 0 means one name, or
	// half of all if that is more.
	DropGuard int
	// SessionLength defaults to one hour.
	SessionLength time.Duration
	// PasswordCost is bcrypt's; default bcrypt.DefaultCost. Tests lower it.
	PasswordCost int
	// CacheBytes limits the cache of organizations' secrets, which are sealed;
	// default 64 MiB.
	CacheBytes int64
	// SingleRefusals is how many refusals of a token, of a user's sessions, or of
	// all callers without a valid credential are recorded individually before
	// equal ones share a record. One more is allowed each second. Default 20.
	SingleRefusals int
	// SaveKeys makes a changed keyset durable. Without it keys can't be
	// rotated.
	SaveKeys func(context.Context, *seal.Keys) error
	// SharedKeys is set if the store holds the keyset, because servers share both.
	// SaveKeys and WrappedKeys aren't used then.
	SharedKeys *SharedKeys
	// WrappedKeys returns the wrapped form of exactly the given keys, which are
	// in use. Without it, backups are refused.
	WrappedKeys func(*seal.Keys) ([]byte, error)
	// Reserve, if not nil, reserves the memory for a response before it is read,
	// with the request's context.
	Reserve func(ctx context.Context, bytes int64) error
	// Now defaults to time.Now, and Sleep to a timer that ctx ends.
	Now   func() time.Time
	Sleep func(ctx context.Context, d time.Duration) error
}

// Keep is the gate to the stored data. It is safe for concurrent use.
type Keep struct {
	store   store.Store
	cluster Cluster // nil if the store is this server's own
	records *record.DB
	reserve func(context.Context, int64) error // nil: unlimited
	log     *audit.Log
	logger  *slog.Logger
	clock   *clock.Clock
	now     func() time.Time // clock.Now
	sleep   func(context.Context, time.Duration) error

	hashAuditNames bool
	sessionLength  time.Duration
	passwords      *passwords
	auditSearches  auditSearches

	ids         *audit.IDSource
	outbox      outbox
	limiter     *attemptLimiter
	logins      loginCounts
	refusals    *refusals
	lineBuffers sync.Pool // of *[]byte, for audit records
	watchers    watchers
	activity    *activity

	// These have caches; their DESIGN.md files say why no cache is ever stale.
	maps      *secretmap.Maps
	directory *directory.Directory

	scrub       scrub
	rotation    rotation
	saveKeys    func(context.Context, record.StoredKeyset, *seal.Keys) error
	wrappedKeys func(*seal.Keys) ([]byte, error)
	// keysChange is held while the keyset in use is replaced, and never while
	// waiting for a service or a disk.
	keysChange sync.Mutex

	stats Stats

	clockSaved time.Time // the latest time that is durable
	lastBackup atomic.Pointer[time.Time]
	// sharedNoted receives a value when a server may have made a backup or changed the keyset.
	sharedNoted chan struct{}
	backups     counter

	stop context.CancelFunc
	done sync.WaitGroup
}

// Open opens a Keep on an open store. It first appends any audit records that the
// last run couldn't write to the audit log.
func Open(ctx context.Context, c Config) (*Keep, error) {
	k := &Keep{
		store:          c.Store,
		cluster:        c.Cluster,
		log:            c.Audit,
		logger:         c.Logger,
		sleep:          c.Sleep,
		hashAuditNames: c.HashAuditNames,
		sessionLength:  c.SessionLength,
		ids:            audit.NewIDs(),
		limiter:        newAttemptLimiter(),
		logins:         loginCounts{maxChildren: maxChildren, maxLogins: maxLogins},
		refusals:       newRefusals(c.SingleRefusals),
		reserve:        c.Reserve,
		auditSearches:  newAuditSearches(),
		activity:       newActivity(),
	}
	k.outbox.wake = make(chan struct{}, 1)
	k.rotation.start = make(chan struct{}, 1)
	k.sharedNoted = make(chan struct{}, 1)
	k.lineBuffers.New = func() any { return new([]byte) }
	if k.logger == nil {
		k.logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	k.clock = clock.New(c.Now, func(by time.Duration) {
		k.logger.Warn("the system's clock jumped, because it was set or the machine slept", "by", by.Round(time.Second).String())
	})
	k.now = k.clock.Now
	k.records = record.New(c.Store, c.Keys, k.now)
	k.useKeys(c)
	k.directory = directory.New(k.records)
	k.directory.OnDamage(k.foundDamage)
	if k.sleep == nil {
		k.sleep = sleep
	}
	if k.sessionLength == 0 {
		k.sessionLength = time.Hour
	}
	if c.PasswordCost == 0 {
		c.PasswordCost = bcrypt.DefaultCost
	}
	var err error
	if k.maps, err = secretmap.New(secretmap.Options{DropGuard: c.DropGuard, CacheBytes: c.CacheBytes, Reserve: c.Reserve}); err != nil {
		return nil, err
	}
	if k.passwords, err = newPasswords(c.PasswordCost); err != nil {
		return nil, err
	}
	if err := k.records.Prepare(ctx, secretmap.WriteSums); err != nil {
		return nil, fmt.Errorf("prepare the store: %w", err)
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	k.stop = stop
	k.follow()
	k.startScrub(background)
	if err := k.resume(ctx); err != nil {
		stop()
		k.done.Wait()
		return nil, err
	}
	k.done.Go(func() { k.drainOutbox(background) })
	k.done.Go(func() { k.saveRegularly(background) })
	k.done.Go(func() { k.sweepExpired(background) })
	k.done.Go(func() { k.rotate(background) })
	k.done.Go(func() { k.warnMisplaced(background) })
	if k.cluster != nil {
		k.done.Go(func() { k.watchCluster(background) })
		k.done.Go(func() { k.watchShared(background) })
	}
	return k, nil
}

// resume restores the state that the last run stored.
func (k *Keep) resume(ctx context.Context) error {
	if err := k.resumeClock(ctx); err != nil {
		return fmt.Errorf("read the latest time: %w", err)
	}
	if err := k.resumeLastBackup(ctx); err != nil {
		// No reason not to start: only monitoring needs it.
		k.logger.Warn("the time of the last backup can't be read", "error", err)
	}
	if err := k.recoverOutbox(ctx); err != nil {
		return fmt.Errorf("bring the audit log up to date: %w", err)
	}
	return nil
}

// Close stops background work and makes the audit log durable. It doesn't close
// the store and the log, which belong to the caller.
func (k *Keep) Close() error {
	k.stop()
	k.done.Wait()
	k.save(context.Background(), 1)
	err := k.recordRefusals(true)
	if err != nil {
		err = fmt.Errorf("record counted refusals: %w", err)
	}
	return errors.Join(err, k.flushIfWritable(context.Background()))
}

// errAudit is returned for every request while the log can't be written: nothing
// happens unaudited.
func errAudit(err error) error {
	return &Error{Code: CodeUnavailable, Message: "the audit log can't be written now, try again", Err: err}
}

// Writable returns a CodeUnavailable error while the audit log can't be written.
func (k *Keep) Writable() error {
	if err := k.log.Err(); err != nil {
		return errAudit(err)
	}
	return nil
}

// AuditWarnings returns problems of the audit log that don't stop it from being
// written.
func (k *Keep) AuditWarnings() []string { return k.log.Warnings() }

// requireAuditLog fails while the log can't be written. Trying to record that
// refusal is how recovery is detected.
func (k *Keep) requireAuditLog(c *Caller, action string, org ID) error {
	if err := k.log.Err(); err != nil {
		return k.recordOutcome(c.record(action, org), k.now(), errAudit(err))
	}
	return nil
}

// errUnchanged ends an update that has nothing to write.
var errUnchanged = secretmap.ErrUnchanged

// view is a read transaction; tx also writes.
type view struct {
	*record.Reader
	k   *Keep
	dir directory.Reader
}

// itemSize is the memory for an item of a list, without its texts.
const itemSize = 256

// reserveItem reserves memory for an item of a list, before it is appended.
func (v *view) reserveItem(texts int) error {
	if v.k.reserve == nil {
		return nil
	}
	return v.k.reserve(v.Context(), int64(itemSize+texts))
}

type tx struct {
	view
	w   *record.Writer
	dir directory.Writer
}

func (k *Keep) view(r *record.Reader) *view {
	return &view{Reader: r, k: k, dir: k.directory.Read(r)}
}

// read runs fn and writes the audit record before the result is returned.
func (k *Keep) read(ctx context.Context, rec *audit.Record, fn func(*view) error) error {
	if err := k.log.Err(); err != nil {
		return k.recordOutcome(rec, k.now(), errAudit(err))
	}
	err := k.records.View(ctx, func(r *record.Reader) error {
		rec.Time = r.Now
		return fn(k.view(r))
	})
	if rec.Time.IsZero() { // there was no transaction
		rec.Time = k.now()
	}
	return k.recordOutcome(rec, rec.Time, domain(err))
}

// update runs fn in a transaction that also stores the audit record. fn may run
// more than once, so it must not reuse anything from an earlier run.
func (k *Keep) update(ctx context.Context, rec *audit.Record, fn func(*tx) error) error {
	if err := k.log.Err(); err != nil {
		return k.recordOutcome(rec, k.now(), errAudit(err))
	}
	start := *rec
	start.ID, start.Outcome = k.ids.Next(), audit.Allowed
	line := make([]byte, 0, 512)
	inDoubt, err := k.transact(ctx, func(t *tx) error {
		*rec = start
		rec.Time = t.Now
		if err := fn(t); err != nil {
			return err
		}
		k.redact(rec)
		line = rec.Append(line[:0])
		return t.putOutbox(rec.ID, line)
	})
	if err == nil {
		k.deliver(rec.ID, line)
		return nil
	}
	if inDoubt {
		k.addInDoubt(missedRecord{rec.ID, line})
	}
	if errors.Is(err, errUnchanged) {
		err = nil
	}
	return k.recordOutcome(rec, k.now(), domain(err))
}

// removing returns the context for a change that only removes data, because that is how
// users make room.
func removing(ctx context.Context) context.Context {
	return store.WithReserve(ctx, store.RemovalReserve)
}

// revoking returns the context for a change that only takes rights away. Operators must be
// able to do that after others have used up the space for removals. No others may: some of
// these changes can be repeated endlessly.
func revoking(ctx context.Context, c *Caller) context.Context {
	if !c.Operator() {
		return removing(ctx)
	}
	return store.WithReserve(ctx, store.LastReserve)
}

// readUnaudited reads without an audit record, in preparation for a step that has
// one.
func (k *Keep) readUnaudited(ctx context.Context, fn func(*view) error) error {
	return k.records.View(ctx, func(r *record.Reader) error { return fn(k.view(r)) })
}

// updateUnaudited writes without an audit record, for background maintenance.
func (k *Keep) updateUnaudited(ctx context.Context, fn func(*tx) error) error {
	_, err := k.transact(ctx, fn)
	return err
}

// recordOutcome writes the record of a call that changed nothing, and returns err.
// If the record can't be written, it returns that error instead.
func (k *Keep) recordOutcome(rec *audit.Record, now time.Time, err error) error {
	rec.ID, rec.Time, rec.Outcome = k.ids.Next(), now, audit.Allowed
	rec.Called = "" // nothing was created or deleted
	if err != nil {
		code := CodeOf(err)
		rec.Code = string(code)
		rec.Outcome = audit.Refused
		if code == CodeInternal || code == CodeUnavailable {
			rec.Outcome = audit.Failed
		}
		if rec.Outcome == audit.Failed && !errors.Is(err, context.Canceled) && k.log.Err() == nil { // the server's log already has the log's error
			k.logger.Error("request failed", "action", rec.Action, "request", rec.Request, "code", code, "error", cause(err))
		}
	}
	if err != nil && k.log.Err() == nil && k.refusals.add(now, rec) {
		return err
	}
	k.redact(rec)
	line := k.lineBuffers.Get().(*[]byte)
	*line = rec.Append((*line)[:0])
	werr := k.log.Append(*line)
	k.lineBuffers.Put(line)
	if werr != nil {
		k.refusals.miss(now, rec)
		return errAudit(werr)
	}
	return err
}

// cause returns an error with the details that the log gets and the client doesn't.
func cause(err error) error {
	var damage *record.DamageError
	if errors.As(err, &damage) {
		return damage // includes everything that the client sees
	}
	if inner := errors.Unwrap(err); inner != nil {
		return fmt.Errorf("%w: %w", err, inner)
	}
	return err
}

// maxAuditNames limits the names in an audit record. For a larger change, the
// version it created has all names.
const maxAuditNames = 1000

// redact limits the size of a record, and replaces names with keyed hashes if the
// log must not contain any.
func (k *Keep) redact(rec *audit.Record) {
	names, text := maxAuditNames, MaxName
	if rec.Outcome != audit.Allowed {
		names, text = refusedNames, refusedText
	}
	rec.LimitNames(names)
	if k.hashAuditNames {
		rec.Names, rec.Removed = replaceAll(rec.Names, k.auditHash), replaceAll(rec.Removed, k.auditHash)
	}
	cutTexts(rec, text)
}

// auditHash returns what stands for a secret's name in a log without names.
func (k *Keep) auditHash(name string) string {
	return fmt.Sprintf("%x", k.records.Keys().Lookup("audit", []byte(name)))
}

// ServerID identifies the server by its keys: 8 hexadecimal digits that survive
// restarts and restores, and reveal nothing.
func (k *Keep) ServerID() string {
	h := k.records.Hash("server", "")
	return hex.EncodeToString(h[:4])
}
