package main

import (
	"context"
	"net/http"
	"time"
)

const (
	readers     = 32
	writers     = 64
	tailReaders = 8
)

const notGiven = "program not given"

// Requests for any server with InfluxDB's API.

func (a *api) target(clients int, method, path, body string) target {
	return target{
		url: a.url, method: method, path: path, body: body, orgs: []string{a.org}, names: few, clients: clients,
		header: map[string]string{"Authorization": "Token " + a.token},
	}
}

func (a *api) listing(clients int) target {
	return a.target(clients, http.MethodGet, "/api/v2/orgs/%s/secrets", "")
}

func (a *api) patching(clients int) target {
	return a.target(clients, http.MethodPatch, "/api/v2/orgs/%s/secrets", `{"%s":"%s"}`)
}

// mixed lists three times for each change.
func (a *api) mixed(clients int) target {
	t := a.patching(clients)
	t.reads = 0.75
	return t
}

// reading reads one value. InfluxDB has no such request.
func (a *api) reading(clients int) target {
	return a.target(clients, http.MethodGet, "/api/v2/orgs/%s/secrets/values?name=%s", "")
}

// document reads all values, like Vault's tools.
func document(clients int, url, path, token string) target {
	return target{url: url, method: http.MethodGet, path: path, header: map[string]string{"X-Vault-Token": token}, clients: clients}
}

// withURL returns the same target on another server.
func (t target) withURL(url string) target {
	t.url = url
	return t
}

// list compares listing names with a server that sends the same bytes.
func list(ctx context.Context, b *bench) error {
	s, err := b.startFluxkeep(ctx, few)
	if err != nil {
		return err
	}
	defer s.stop()
	bare, err := b.startBareHTTP(ctx, s.api.url+secretsPath(s.org), s.header())
	if err != nil {
		return err
	}
	defer bare.stop()
	contestants := []contestant{{"fluxkeep", s.listing(readers)}, {bareHTTP, s.listing(readers).withURL(bare.url)}}
	if b.influxd != "" {
		influx, err := b.startInfluxDB(ctx)
		if err != nil {
			return err
		}
		defer influx.stop()
		contestants = append(contestants, contestant{"influxdb", influx.listing(readers)})
	}
	got, err := b.inRounds(ctx, b.duration, contestants...)
	if err != nil {
		return err
	}
	const work = "list, 32 clients"
	b.report.add(
		against(work, "bare net/http server, same bytes", got["fluxkeep"], got[bareHTTP], atLeast(0.8)),
		against(work, "InfluxDB", got["fluxkeep"], got["influxdb"], bound{}),
	)
	b.report.plot(bars(work, got))
	return nil
}

// kv compares reading a document with a server that sends the same bytes, and
// with OpenBao.
func kv(ctx context.Context, b *bench) error {
	s, err := b.startFluxkeep(ctx, few)
	if err != nil {
		return err
	}
	defer s.stop()
	own := document(readers, s.api.url, "/v1/secret/data/"+s.org, s.token)
	bare, err := b.startBareHTTP(ctx, s.api.url+own.path, http.Header{"X-Vault-Token": {s.token}})
	if err != nil {
		return err
	}
	defer bare.stop()
	contestants := []contestant{{"fluxkeep", own}, {bareHTTP, own.withURL(bare.url)}}
	if b.bao != "" {
		bao, err := b.startOpenBao(ctx)
		if err != nil {
			return err
		}
		defer bao.stop()
		contestants = append(contestants, contestant{"openbao", document(readers, bao.url, baoDocument, bao.token)})
	}
	got, err := b.inRounds(ctx, b.duration, contestants...)
	if err != nil {
		return err
	}
	const work = "KV read of the document, 32 clients"
	b.report.add(
		against(work, "OpenBao, in memory, no audit", got["fluxkeep"], got["openbao"], atLeast(5)),
		against(work, "bare net/http server, same bytes", got["fluxkeep"], got[bareHTTP], atLeast(0.7)),
	)
	b.report.plot(bars(work, got))
	return nil
}

// patch compares durable writes with a server that shares syncs of a file, and
// with InfluxDB.
func patch(ctx context.Context, b *bench) error {
	s, err := b.startFluxkeep(ctx, few)
	if err != nil {
		return err
	}
	defer s.stop()
	bare, err := b.startBareFsync(ctx)
	if err != nil {
		return err
	}
	defer bare.stop()
	var influx *influxdb
	if b.influxd != "" {
		if influx, err = b.startInfluxDB(ctx); err != nil {
			return err
		}
		defer influx.stop()
	}
	for _, p := range []struct {
		work       string
		clients    int
		influx, fs bound
	}{
		{"durable PATCH, 64 clients", writers, atLeast(10), atLeast(0.8)},
		{"durable PATCH, one client", 1, atLeast(2), bound{}},
	} {
		contestants := []contestant{{"fluxkeep", s.patching(p.clients)}, {bareFsync, s.patching(p.clients).withURL(bare.url)}}
		if influx != nil {
			contestants = append(contestants, contestant{"influxdb", influx.patching(p.clients)})
		}
		got, err := b.inRounds(ctx, b.duration, contestants...)
		if err != nil {
			return err
		}
		b.report.add(
			against(p.work, "InfluxDB", got["fluxkeep"], got["influxdb"], p.influx),
			against(p.work, "bare server with a shared fsync", got["fluxkeep"], got[bareFsync], p.fs),
		)
		b.report.plot(bars(p.work, got))
	}
	return nil
}

// against returns a row that compares two rates. Without samples of the other
// program, the row says that it was not given.
func against(work, other string, own, others samples, goal bound) row {
	r := row{work: work, figure: perSecond(median(own.rates())), against: other, unit: times, goal: goal}
	if others == nil {
		r.missing = notGiven
		return r
	}
	r.against += " " + perSecond(median(others.rates()))
	r.values = ratios(own.rates(), others.rates())
	return r
}

// tail compares the slowest reads with and without concurrent writers.
func tail(ctx context.Context, b *bench) error {
	s, err := b.startFluxkeep(ctx, few)
	if err != nil {
		return err
	}
	defer s.stop()
	var alone, beside samples
	var written []float64
	for round := range b.rounds {
		quiet, err := b.load(ctx, s.listing(tailReaders), b.duration)
		if err != nil {
			return err
		}
		busy, writes, err := b.readBesideWriters(ctx, s)
		if err != nil {
			return err
		}
		alone, beside, written = append(alone, quiet), append(beside, busy), append(written, writes.rate)
		b.say("  round %d:  alone %s  with writers %s", round+1, span(quiet.p99.Seconds()), span(busy.p99.Seconds()))
	}
	b.report.add(row{
		work:   "99th percentile of lists, 8 clients, while 64 clients write",
		figure: span(median(beside.p99s())), against: "without writers " + span(median(alone.p99s())),
		values: ratios(beside.p99s(), alone.p99s()), unit: times, goal: atMost(3),
	})
	b.report.note("While 64 clients wrote %s, 8 clients listed %s; without writers %s.", perSecond(median(written)),
		perSecond(median(beside.rates())), perSecond(median(alone.rates())))
	return nil
}

// readBesideWriters reads while writers run, which start before and end after
// the reads.
func (b *bench) readBesideWriters(ctx context.Context, s *fluxkeep) (reads, writes sample, err error) {
	margin := b.duration / 4
	failed := make(chan error, 1)
	writing := b.prepare(s.patching(writers))
	go func() {
		var err error
		writes, err = b.runBeside(ctx, writing, b.duration+2*margin)
		failed <- err
	}()
	select {
	case <-time.After(margin):
	case <-ctx.Done():
	}
	reads, err = b.load(ctx, s.listing(tailReaders), b.duration)
	if e := <-failed; err == nil {
		err = e
	}
	return reads, writes, err
}
