package client

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"time"
)

// WatchOptions configures a watch. Nil is valid.
type WatchOptions struct {
	// Names selects the secrets to watch; nil means all.
	Names []string
	// Known is what the caller already has. If it is not set, the first values
	// are reported at once.
	Known *Values
	// Failed is called after each failed attempt, with the delay before the
	// next.
	Failed func(err error, next time.Duration)
	// Recovered is called after the first success that follows failures.
	Recovered func()
}

const (
	watchWait = 30 * time.Second
	// watchSlack is how much later than promised an answer may come before the
	// connection is considered dead.
	watchSlack    = 30 * time.Second
	watchMinPause = time.Second
	watchMaxPause = time.Minute
)

// Watch calls changed with the values each time one of the watched secrets
// changes. It uses long polling, and retries with increasing delays while the
// server is unreachable. It returns when ctx ends, when changed returns an
// error, or when the server refuses for a reason that a retry cannot fix: an
// *Error with a status below 500 other than 408 and 429.
func (c *Client) Watch(ctx context.Context, orgID string, o *WatchOptions, changed func(Values) error) error {
	if o == nil {
		o = &WatchOptions{}
	}
	var known Values
	reported := o.Known != nil
	if reported {
		known = *o.Known
	}
	poll := func(ctx context.Context) (bool, error) {
		v, other, err := c.Values(ctx, orgID, &ValuesQuery{Names: o.Names, ETag: known.ETag, Wait: watchWait})
		if err != nil || !other {
			return false, err
		}
		// A new version need not have new values: other secrets changed, or
		// one was set to the same value.
		news := !reported || !maps.Equal(v.Secrets, known.Secrets)
		known, reported = v, true
		return news, nil
	}
	return watch(ctx, poll, o, func() error { return changed(known) })
}

// watch calls poll, which waits for changes, repeatedly.
func watch(ctx context.Context, poll func(context.Context) (news bool, err error), o *WatchOptions, changed func() error) error {
	pause, failing := watchMinPause, false
	for {
		start := time.Now()
		news, err := pollOnce(ctx, poll)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var wait time.Duration
		switch {
		case err != nil && final(err):
			return err
		case err != nil:
			wait = jitter(pause)
			pause, failing = min(2*pause, watchMaxPause), true
			if o.Failed != nil {
				o.Failed(err, wait)
			}
		case failing && o.Recovered != nil:
			o.Recovered()
			fallthrough
		default:
			pause, failing = watchMinPause, false
			if !news {
				// Do not poll a server that does not support waiting in a
				// tight loop.
				wait = watchMinPause - time.Since(start)
			} else if err := changed(); err != nil {
				return err
			}
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

func pollOnce(ctx context.Context, poll func(context.Context) (bool, error)) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, watchWait+watchSlack)
	defer cancel()
	return poll(ctx)
}

func final(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Status < 500 && e.Status != http.StatusTooManyRequests && e.Status != http.StatusRequestTimeout
}
