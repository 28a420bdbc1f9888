package keep

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
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

// Limits of what is kept. They are the same on every protocol.
const (
	MaxName  = 1024               // bytes of a secret's name
	MaxValue = 1 << 20            // bytes of a secret's value
	MaxNames = secretmap.MaxNames // names in one organization
)

// Config is what a Keep is made of.
type Config struct {
	Store store.Store // required
	Keys  *seal.Keys  // required
	Audit *audit.Log  // required

	// Logger is for what an operator should know; never values, names,
	// tokens or passwords. Default: discard.
	Logger *slog.Logger
	// HashAuditNames puts a keyed hash in place of a secret's name in the
	// audit log.
	HashAuditNames bool
	// DropGuard is the number of names that one write to the influxd address
	// may remove without pinning the version before; 0 means one name, or
	// half of all when that is more.
	DropGuard int
	// SessionLength defaults to one hour.
	SessionLength time.Duration
	// PasswordCost is bcrypt's; default bcrypt.DefaultCost. Tests lower it.
	PasswordCost int
	// CacheBytes bounds what is remembered of organizations' secrets, in
	// sealed form; default 64 MiB.
	CacheBytes int64
	// SingleRefusals is how many refusals of a token, of a user's sessions,
	// or of all callers without a valid credential are recorded one by one
	// before equal ones share a record; one more is every second. Default 20.
	SingleRefusals int
	// SaveKeys makes a changed keyset durable. Without it keys can't be
	// rotated.
	SaveKeys func(context.Context, *seal.Keys) error
	// WrappedKeys returns the wrapped form of exactly the given keys, which
	// are in use. Without it there are no backups.
	WrappedKeys func(*seal.Keys) ([]byte, error)
	// Reserve, if not nil, is asked for the memory that an answer takes before
	// it is read, with the request's context.
	Reserve func(ctx context.Context, bytes int64) error
	// Now defaults to time.Now, and Sleep to a timer that ctx ends.
	Now   func() time.Time
	Sleep func(ctx context.Context, d time.Duration) error
}

// Keep is the domain's door. Its methods may be called by several goroutines
// at once.
type Keep struct {
	store   store.Store
	records *record.DB
	log     *audit.Log
	logger  *slog.Logger
	clock   *clock.Clock
	now     func() time.Time // clock.Now
	sleep   func(context.Context, time.Duration) error

	hashAuditNames bool
	sessionLength  time.Duration
	passwords      *passwords

	ids         *audit.IDSource
	outbox      outbox
	limiter     *attemptLimiter
	refusals    *refusals
	lineBuffers sync.Pool // of *[]byte, for audit records
	watchers    watchers

	// What is remembered; DESIGN.md says why none of it can be wrong.
	maps      *secretmap.Maps
	directory *directory.Directory

	scrub       scrub
	rotation    rotation
	saveKeys    func(context.Context, *seal.Keys) error
	wrappedKeys func(*seal.Keys) ([]byte, error)
	// keysChange is held while the keyset in use is replaced, and never while
	// a service or a disk is waited for.
	keysChange sync.Mutex

	stats Stats

	clockSaved time.Time // the latest time that is durable

	stop context.CancelFunc
	done sync.WaitGroup
}

// Open starts the domain on an open store. What the last run could no longer
// put into the audit log is put there first.
func Open(ctx context.Context, c Config) (*Keep, error) {
	k := &Keep{
		store:          c.Store,
		log:            c.Audit,
		logger:         c.Logger,
		sleep:          c.Sleep,
		hashAuditNames: c.HashAuditNames,
		sessionLength:  c.SessionLength,
		ids:            audit.NewIDs(),
		limiter:        newAttemptLimiter(),
		refusals:       newRefusals(c.SingleRefusals),
	}
	k.outbox.wake = make(chan struct{}, 1)
	k.rotation.start = make(chan struct{}, 1)
	k.saveKeys, k.wrappedKeys = c.SaveKeys, c.WrappedKeys
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
	k.startScrub(background)
	if err := k.resume(ctx); err != nil {
		stop()
		k.done.Wait()
		return nil, err
	}
	k.done.Go(func() { k.drainOutbox(background) })
	k.done.Go(func() { k.keepClock(background) })
	k.done.Go(func() { k.sweepExpired(background) })
	k.done.Go(func() { k.rotate(background) })
	k.done.Go(func() { k.warnMisplaced(background) })
	return k, nil
}

// resume goes on from what the last run stored.
func (k *Keep) resume(ctx context.Context) error {
	if err := k.resumeClock(ctx); err != nil {
		return fmt.Errorf("read the latest time: %w", err)
	}
	if err := k.recoverOutbox(ctx); err != nil {
		return fmt.Errorf("bring the audit log up to date: %w", err)
	}
	return nil
}

// Close ends the background work and makes the audit log durable. The store
// and the log stay open: they are the caller's.
func (k *Keep) Close() error {
	k.stop()
	k.done.Wait()
	if err := k.saveClock(context.Background(), 1); err != nil {
		k.logger.Debug("the time can't be saved", "error", err)
	}
	err := k.recordRefusals(true)
	if err != nil {
		err = fmt.Errorf("record counted refusals: %w", err)
	}
	return errors.Join(err, k.flushIfWritable(context.Background()))
}

// errAudit is what everything is answered with while the log can't be
// written: nothing is done unseen.
func errAudit(err error) error {
	return &Error{Code: CodeUnavailable, Message: "the audit log can't be written now, try again", Err: err}
}

// Writable returns an error with CodeUnavailable while the audit log can't be
// written.
func (k *Keep) Writable() error {
	if err := k.log.Err(); err != nil {
		return errAudit(err)
	}
	return nil
}

// AuditWarnings returns what is wrong with the audit log although it can be
// written.
func (k *Keep) AuditWarnings() []string { return k.log.Warnings() }

// requireAuditLog refuses to act while the log can't be written. The record of the
// refusal is what finds out when that is over.
func (k *Keep) requireAuditLog(c *Caller, action string, org ID) error {
	if err := k.log.Err(); err != nil {
		return k.recordOutcome(c.record(action, org), k.now(), errAudit(err))
	}
	return nil
}

// errUnchanged ends an Update that has nothing to write.
var errUnchanged = secretmap.ErrUnchanged

// view reads within one transaction; tx also writes.
type view struct {
	*record.Reader
	k   *Keep
	dir directory.Reader
}

type tx struct {
	view
	w   *record.Writer
	dir directory.Writer
}

func (k *Keep) view(r *record.Reader) *view {
	return &view{Reader: r, k: k, dir: k.directory.Read(r)}
}

// read runs fn and, before its result may leave, writes the audit record.
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

// update runs fn in a transaction that also holds the audit record of what it
// did. fn may run more than once, so it must not keep anything of an earlier
// run.
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

// readUnaudited reads without an audit record, for what is only a step towards
// something that has one.
func (k *Keep) readUnaudited(ctx context.Context, fn func(*view) error) error {
	return k.records.View(ctx, func(r *record.Reader) error { return fn(k.view(r)) })
}

// updateUnaudited writes without an audit record: upkeep that nobody asked for.
func (k *Keep) updateUnaudited(ctx context.Context, fn func(*tx) error) error {
	_, err := k.transact(ctx, fn)
	return err
}

// recordOutcome writes the record of something that changed nothing. When that can't
// be done the caller gets that error, and so no answer.
func (k *Keep) recordOutcome(rec *audit.Record, now time.Time, err error) error {
	rec.ID, rec.Time, rec.Outcome = k.ids.Next(), now, audit.Allowed
	if err != nil {
		code := CodeOf(err)
		rec.Code = string(code)
		rec.Outcome = audit.Refused
		if code == CodeInternal || code == CodeUnavailable {
			rec.Outcome = audit.Failed
		}
		if rec.Outcome == audit.Failed && !errors.Is(err, context.Canceled) && k.log.Err() == nil { // of which the server's log knows
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

// cause is what the log says of an error that the client is told little of.
func cause(err error) error {
	var damage *record.DamageError
	if errors.As(err, &damage) {
		return damage // says all that the client is told
	}
	if inner := errors.Unwrap(err); inner != nil {
		return fmt.Errorf("%w: %w", err, inner)
	}
	return err
}

// maxAuditNames limits the names in an audit record. The version that a larger
// change made holds all its names.
const maxAuditNames = 1000

// redact limits the size of a record, and replaces names with keyed hashes
// if the log must not hold any.
func (k *Keep) redact(rec *audit.Record) {
	names, text := maxAuditNames, MaxName
	if rec.Outcome != audit.Allowed {
		names, text = refusedNames, refusedText
	}
	if n := len(rec.Names) + len(rec.Removed); n > names {
		rec.Detail = fmt.Sprintf("%d names in all", n)
		rec.Names = rec.Names[:min(len(rec.Names), names)]
		rec.Removed = rec.Removed[:min(len(rec.Removed), names)]
	}
	if k.hashAuditNames {
		hide := func(name string) string { return fmt.Sprintf("%x", k.records.Keys().Lookup("audit", []byte(name))) }
		rec.Names, rec.Removed = replaceAll(rec.Names, hide), replaceAll(rec.Removed, hide)
	}
	cutTexts(rec, text)
}
