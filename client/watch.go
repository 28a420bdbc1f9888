package client

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"time"
)

// WatchOptions of a watch. Nil is valid.
type WatchOptions struct {
	// Names chooses the secrets to watch; nil means all.
	Names []string
	// Known is what the caller has already. Without it the first values are
	// reported at once.
	Known *Values
	// Failed is told of each attempt that failed, and when the next one is.
	Failed func(err error, next time.Duration)
	// Recovered is told of the first attempt that works after those.
	Recovered func()
}

const (
	watchWait = 30 * time.Second
	// watchSlack is how much longer than promised an answer may take, before
	// the connection is held to be dead.
	watchSlack    = 30 * time.Second
	watchMinPause = time.Second
	watchMaxPause = time.Minute
)

// Watch calls changed with the values each time that one of the chosen secrets
// changes. It asks the server to say when something does, and tries again,
// less and less often, when the server can't be reached. It returns when ctx
// ends, when changed returns an error, or when the server refuses for a reason
// that time won't mend: an *Error with a status below 500 other than 408 and
// 429.
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
		// A version may be new without another value: other secrets changed,
		// or one was set to what it is.
		news := !reported || !maps.Equal(v.Secrets, known.Secrets)
		known, reported = v, true
		return news, nil
	}
	return watch(ctx, poll, o, func() error { return changed(known) })
}

// watch calls poll, which waits for news, over and over.
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
				// A server that does not know how to wait must not be asked
				// without end.
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
	var e *Error
	return errors.As(err, &e) && e.Status < 500 && e.Status != http.StatusTooManyRequests && e.Status != http.StatusRequestTimeout
}
