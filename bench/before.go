package main

import (
	"context"
	"errors"
)

// before compares the program with an older build, to measure the effect of
// changes.
func before(ctx context.Context, b *bench) (err error) {
	if b.before == "" {
		return nil
	}
	s, err := b.startProgram(ctx, b.fluxkeep, few)
	if err != nil {
		return err
	}
	defer s.stop()
	old, err := b.startProgram(ctx, b.before, few)
	if err != nil {
		return err
	}
	defer old.stop()
	var failed error
	compare := func(work string, of func(*fluxkeep) target) {
		got, err := b.inRounds(ctx, b.duration, contestant{"fluxkeep", of(s)}, contestant{"before", of(old)})
		if err != nil {
			failed = errors.Join(failed, err)
			return
		}
		b.report.add(against(work, "older build", got["fluxkeep"], got["before"], atLeast(0.95)))
	}
	compare("list, 32 clients", func(s *fluxkeep) target { return s.listing(readers) })
	compare("read of one value, 32 clients", func(s *fluxkeep) target { return s.reading(readers) })
	compare("KV read of the document, 32 clients", func(s *fluxkeep) target {
		return document(readers, s.api.url, "/v1/secret/data/"+s.org, s.token)
	})
	compare("durable PATCH, 64 clients", func(s *fluxkeep) target { return s.patching(writers) })
	compare("durable PATCH, one client", func(s *fluxkeep) target { return s.patching(1) })
	return failed
}
