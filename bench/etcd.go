package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// cluster is an etcd cluster of three members, and three servers that share it, on
// this machine.
type cluster struct {
	bench   *bench
	members []*member
	servers []*fluxkeep
	key     string // file with the servers' key-encryption key
}

// member is a member of an etcd cluster, with a connection to it.
type member struct {
	*process
	again func() (*process, error)
	pb.KVClient
	pb.MaintenanceClient
}

const clusterSize = 3

func (b *bench) startCluster(ctx context.Context) (_ *cluster, err error) {
	if err := b.findEtcd(ctx); err != nil {
		return nil, err
	}
	c := &cluster{bench: b}
	defer func() {
		if err != nil {
			c.stop()
		}
	}()
	if err := c.startMembers(ctx); err != nil {
		return nil, err
	}
	folder, err := b.newFolder("key")
	if err != nil {
		return nil, err
	}
	c.key = filepath.Join(folder, "key")
	for i := range clusterSize {
		if err := c.addServer(ctx, i); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// findEtcd builds etcd from the repository's module for it, unless a program is
// given.
func (b *bench) findEtcd(ctx context.Context) error {
	if b.etcd != "" {
		return nil
	}
	b.say("building etcd")
	program := filepath.Join(b.folder, "etcd")
	build := exec.CommandContext(ctx, "go", "-C", "../e2e/etcd", "build", "-trimpath", "-ldflags=-s -w", "-o", program, "go.etcd.io/etcd/server/v3")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build etcd: %w\n%s", err, out)
	}
	b.etcd = program
	return nil
}

func (c *cluster) startMembers(ctx context.Context) error {
	addresses, err := freeAddresses(2 * clusterSize)
	if err != nil {
		return err
	}
	var clients, peers, initial []string
	for i, address := range addresses {
		if i < clusterSize {
			clients = append(clients, "http://"+address)
		} else {
			peers = append(peers, "http://"+address)
			initial = append(initial, fmt.Sprintf("m%d=http://%s", i-clusterSize, address))
		}
	}
	for i := range clusterSize {
		folder, err := c.bench.newFolder("etcd")
		if err != nil {
			return err
		}
		again := func() (*process, error) {
			return start("etcd", folder, clients[i], nil, c.bench.etcd, "--name", fmt.Sprintf("m%d", i), "--data-dir", filepath.Join(folder, "data"),
				"--listen-client-urls", clients[i], "--advertise-client-urls", clients[i],
				"--listen-peer-urls", peers[i], "--initial-advertise-peer-urls", peers[i],
				"--initial-cluster", strings.Join(initial, ","), "--quota-backend-bytes=8589934592", "--log-level=error")
		}
		p, err := again()
		if err != nil {
			return err
		}
		conn, err := grpc.NewClient(strings.TrimPrefix(clients[i], "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			p.stop()
			return err
		}
		c.members = append(c.members, &member{p, again, pb.NewKVClient(conn), pb.NewMaintenanceClient(conn)})
	}
	for _, m := range c.members {
		if err := m.await(ctx, "/health", nil); err != nil {
			return err
		}
	}
	return nil
}

// addServer starts a server that asks member i first. The first server is set up.
func (c *cluster) addServer(ctx context.Context, i int) error {
	var endpoints []string
	for j := range c.members {
		endpoints = append(endpoints, c.members[(i+j)%clusterSize].url)
	}
	args := []string{"--store", "etcd", "--etcd-endpoints", strings.Join(endpoints, ","), "--key-file", c.key}
	s, err := c.bench.launch(ctx, c.bench.fluxkeep, args...)
	if err != nil {
		return err
	}
	if len(c.servers) > 0 {
		first := c.servers[0]
		s.token, s.org = first.token, first.org
	} else if err := s.setUp(ctx, s.password); err != nil {
		return s.fail(err)
	} else if err := s.fill(ctx, s.org, 0, few); err != nil {
		return s.fail(err)
	}
	c.servers = append(c.servers, s)
	return nil
}

func (c *cluster) stop() {
	for _, s := range c.servers {
		s.stop()
	}
	for _, m := range c.members {
		m.stop()
	}
}

// processorTime returns how much the members, and the servers if they take part,
// have used.
func (c *cluster) processorTime(servers []*fluxkeep) (sum time.Duration, err error) {
	var all []*process
	for _, m := range c.members {
		all = append(all, m.process)
	}
	for _, s := range servers {
		all = append(all, s.process)
	}
	for _, p := range all {
		t, err := p.processorTime()
		if err != nil {
			return 0, err
		}
		sum += t
	}
	return sum, nil
}

// figures are the results of one kind of load, by round.
type figures struct {
	rates []float64 // requests a second
	times []float64 // processor time of all servers and members for each request, in seconds
}

// during runs a load and adds the figures.
func (f *figures) during(c *cluster, servers []*fluxkeep, load func() (loaded, error)) error {
	before, err := c.processorTime(servers)
	if err != nil {
		return err
	}
	l, err := load()
	if err != nil {
		return err
	}
	after, err := c.processorTime(servers)
	f.rates = append(f.rates, l.rate)
	f.times = append(f.times, (after-before).Seconds()/float64(l.requests))
	return err
}

// loaded is what several clients did together.
type loaded struct {
	requests int
	rate     float64 // a second
}

// loadServers loads servers at the same time.
func (c *cluster) loadServers(ctx context.Context, servers []*fluxkeep, target func(*fluxkeep) target) (sum loaded, err error) {
	got, errs := make([]sample, len(servers)), make([]error, len(servers))
	var all sync.WaitGroup
	for i, s := range servers {
		prepared := c.bench.prepare(target(s))
		all.Go(func() { got[i], errs[i] = c.bench.runBeside(ctx, prepared, c.bench.duration) })
	}
	all.Wait()
	for _, x := range got {
		sum.requests += x.requests
		sum.rate += x.rate
	}
	return sum, errors.Join(errs...)
}

// loadEtcd makes requests of etcd itself, with the clients spread over the members,
// until the time is over.
func (c *cluster) loadEtcd(ctx context.Context, clients int, request func(context.Context, *member, uint64) error) (loaded, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var n atomic.Uint64
	errs := make([]error, clients)
	begin := time.Now()
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			for time.Since(begin) < c.bench.duration && errs[i] == nil {
				errs[i] = request(ctx, c.members[i%clusterSize], n.Add(1))
			}
		})
	}
	all.Wait()
	made := int(n.Load())
	return loaded{made, float64(made) / time.Since(begin).Seconds()}, errors.Join(errs...)
}

var etcdKey, etcdValue = []byte("/bench/one"), make([]byte, 300)

func getOne(ctx context.Context, m *member, _ uint64) error {
	_, err := m.Range(ctx, &pb.RangeRequest{Key: etcdKey})
	return err
}

func putOne(ctx context.Context, m *member, n uint64) error {
	_, err := m.Put(ctx, &pb.PutRequest{Key: fmt.Appendf(nil, "/bench/%d", n%1000), Value: etcdValue})
	return err
}

// etcd compares servers that share an etcd cluster with etcd itself.
func etcd(ctx context.Context, b *bench) error {
	c, err := b.startCluster(ctx)
	if err != nil {
		return err
	}
	defer c.stop()
	if err := putOne(ctx, c.members[0], 1); err != nil {
		return err
	}
	lists := func(s *fluxkeep) target { return s.listing(readers) }
	documents := func(s *fluxkeep) target {
		return document(readers, s.api.url, "/v1/secret/data/"+s.org, s.token)
	}
	// Changes are shared out between the servers.
	patches := func(s *fluxkeep) target { return s.patching(writers / clusterSize) }
	const gets, puts = "etcd's own linearizable gets", "etcd's own puts of one record"
	for _, w := range []struct {
		work, against string
		servers       int
		target        func(*fluxkeep) target
		clients       int
		request       func(context.Context, *member, uint64) error
		goal          bound
	}{
		{"three servers on etcd: list, 32 clients each", gets, clusterSize, lists, clusterSize * readers, getOne, atLeast(2)},
		{"three servers on etcd: KV read, 32 clients each", gets, clusterSize, documents, clusterSize * readers, getOne, atLeast(2)},
		{"three servers on etcd: durable PATCH, 64 clients", puts, clusterSize, patches, writers, putOne, atLeast(0.8)},
		{"one server on etcd: durable PATCH, 64 clients", puts, 1, func(s *fluxkeep) target { return s.patching(writers) }, writers, putOne, atLeast(1)},
	} {
		servers := c.servers[:w.servers]
		var own, others figures
		for round := range b.rounds {
			if err := own.during(c, c.servers, func() (loaded, error) { return c.loadServers(ctx, servers, w.target) }); err != nil {
				return err
			}
			if err := others.during(c, nil, func() (loaded, error) { return c.loadEtcd(ctx, w.clients, w.request) }); err != nil {
				return err
			}
			b.say("  round %d:  fluxkeep %s %s  etcd %s %s", round+1, perSecond(own.rates[round]), span(own.times[round]), perSecond(others.rates[round]), span(others.times[round]))
		}
		b.report.add(row{
			work: w.work, figure: perSecond(median(own.rates)), against: w.against + " " + perSecond(median(others.rates)),
			values: ratios(own.rates, others.rates), unit: times, goal: w.goal,
		}, row{
			work: w.work + ": processor time", figure: span(median(own.times)), against: w.against + " " + span(median(others.times)),
			values: ratios(own.times, others.times), unit: times,
		})
	}
	if err := c.readsBesideChanges(ctx); err != nil {
		return err
	}
	return c.outages(ctx)
}

// readsBesideChanges compares the slowest reads of one server with etcd's own gets,
// while another server makes changes. Both come from few clients at the same moments,
// with pauses, so that they don't wait for each other.
func (c *cluster) readsBesideChanges(ctx context.Context) error {
	const clients, pause = 4, 5 * time.Millisecond
	reading := c.servers[0].listing(clients)
	reading.pause = pause
	writing := c.servers[1].patching(8)
	var own, others []float64
	for round := range c.bench.rounds {
		var reads, writes sample
		var gets []float64
		errs := make([]error, 3)
		r, w := c.bench.prepare(reading), c.bench.prepare(writing)
		var all sync.WaitGroup
		all.Go(func() { reads, errs[0] = c.bench.runBeside(ctx, r, c.bench.duration) })
		all.Go(func() { writes, errs[1] = c.bench.runBeside(ctx, w, c.bench.duration) })
		all.Go(func() {
			var mu sync.Mutex
			_, errs[2] = c.loadEtcd(ctx, clients, func(ctx context.Context, m *member, n uint64) error {
				begin := time.Now()
				err := getOne(ctx, m, n)
				mu.Lock()
				gets = append(gets, time.Since(begin).Seconds())
				mu.Unlock()
				time.Sleep(pause)
				return err
			})
		})
		all.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
		own, others = append(own, reads.p99.Seconds()), append(others, percentile(gets, 0.99))
		c.bench.say("  round %d:  list %s  etcd's get %s  while %s changed", round+1, span(own[round]), span(others[round]), perSecond(writes.rate))
	}
	c.bench.report.add(row{
		work: "99th percentile of lists while another server writes", figure: span(median(own)),
		against: "etcd's own gets in the same moments " + span(median(others)), values: ratios(own, others), unit: times, goal: atMost(1.5),
	})
	return nil
}

// attempt returns the result of a request that gives up after a second.
func attempt(ctx context.Context, s *fluxkeep, change bool, n int) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if change {
		return s.do(ctx, http.MethodPatch, secretsPath(s.org), map[string]string{secretName(0): fmt.Sprint("outage-", n)}, nil)
	}
	return s.do(ctx, http.MethodGet, secretsPath(s.org), nil, nil)
}

// longestWait sends one request after another, to the next server if there is no
// answer, and calls fault in between. It returns the longest time between a
// request's first attempt and its answer.
func (c *cluster) longestWait(ctx context.Context, change bool, fault func()) (longest time.Duration, err error) {
	const before = time.Second
	after := 8 * time.Second
	if c.bench.quick {
		after = before
	}
	begin := time.Now()
	at, failed := 0, false
	for n := 0; time.Since(begin) < before+after; n++ {
		if !failed && time.Since(begin) > before {
			fault()
			failed = true
		}
		sent := time.Now()
		for attempt(ctx, c.servers[at%clusterSize], change, n) != nil {
			if at++; ctx.Err() != nil || time.Since(sent) > time.Minute {
				return 0, errors.New("no server answers any longer")
			}
			time.Sleep(time.Millisecond)
		}
		longest = max(longest, time.Since(sent))
		time.Sleep(time.Millisecond)
	}
	return longest, nil
}

// outages measures the longest waits when a server and when etcd's leader dies.
func (c *cluster) outages(ctx context.Context) error {
	var server, leaderRead, leaderChange []float64
	for range min(c.bench.rounds, 3) {
		wait, err := c.longestWait(ctx, false, c.servers[0].kill)
		if err == nil {
			_, err = c.servers[0].again(ctx, c.servers[0].org)
		}
		if err != nil {
			return err
		}
		server = append(server, wait.Seconds())
		for change, waits := range map[bool]*[]float64{false: &leaderRead, true: &leaderChange} {
			leader, err := c.leader(ctx)
			if err != nil {
				return err
			}
			wait, err := c.longestWait(ctx, change, leader.kill)
			if err != nil {
				return err
			}
			if leader.process, err = leader.again(); err == nil {
				err = leader.await(ctx, "/health", nil)
			}
			if err != nil {
				return err
			}
			*waits = append(*waits, wait.Seconds())
		}
	}
	c.bench.report.add(
		row{work: "a server on etcd is killed: longest wait for a list", figure: span(median(server)), values: server, unit: " s", goal: atMost(1)},
		row{work: "etcd's leader is killed: longest wait for a list", figure: span(median(leaderRead)), values: leaderRead, unit: " s", goal: atMost(5)},
		row{work: "etcd's leader is killed: longest wait for a PATCH", figure: span(median(leaderChange)), values: leaderChange, unit: " s", goal: atMost(5)},
	)
	return nil
}

func (c *cluster) leader(ctx context.Context) (*member, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for { // during an election there is none
		for _, m := range c.members {
			status, err := m.Status(ctx, &pb.StatusRequest{}, grpc.WaitForReady(true))
			if err != nil {
				return nil, fmt.Errorf("find etcd's leader: %w", err)
			}
			if status.Leader == status.Header.MemberId {
				return m, nil
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// bigImport measures how long one change of many secrets takes, and how long a
// change and a list through other servers wait meanwhile.
func (c *cluster) bigImport(ctx context.Context) error {
	n := c.bench.sizes.growth[len(c.bench.sizes.growth)-1] / 10
	var took, changes, lists, updates []float64
	for round := range min(c.bench.rounds, 3) {
		org, err := c.servers[0].createOrganization(ctx, fmt.Sprintf("import %d", round))
		if err != nil {
			return err
		}
		importing, cancel := context.WithCancel(ctx)
		longest := make([]time.Duration, 2)
		done := false
		errs := make([]error, 2)
		var all sync.WaitGroup
		for i, s := range c.servers[1:] {
			all.Go(func() {
				for change := 0; importing.Err() == nil && errs[i] == nil; change++ {
					begin := time.Now()
					if i == 0 {
						errs[i] = s.do(ctx, http.MethodPatch, secretsPath(s.org), map[string]string{secretName(1): fmt.Sprint(round, "-", change)}, nil)
					} else {
						errs[i] = wholeOrNothing(ctx, s, org, n, &done)
					}
					longest[i] = max(longest[i], time.Since(begin))
					time.Sleep(10 * time.Millisecond)
				}
			})
		}
		begin := time.Now()
		err = c.servers[0].do(ctx, http.MethodPatch, secretsPath(org), manySecrets(0, n), nil)
		took = append(took, time.Since(begin).Seconds())
		// A change of imported secrets waits until etcd has moved their records.
		if err == nil {
			update := manySecrets(0, min(n, 100))
			for name := range update {
				update[name] = "updated"
			}
			err = c.servers[0].do(ctx, http.MethodPatch, secretsPath(org), update, nil)
			updates = append(updates, time.Since(begin).Seconds()-took[round])
		}
		cancel()
		all.Wait()
		if err := errors.Join(append(errs, err)...); err != nil {
			return err
		}
		changes, lists = append(changes, longest[0].Seconds()), append(lists, longest[1].Seconds())
		c.bench.say("  import %d: %s, a change waited %s, a list %s", round+1, span(took[round]), span(changes[round]), span(lists[round]))
	}
	work := "import of " + count(n) + " secrets on etcd"
	c.bench.report.add(
		row{work: work, figure: span(median(took)), values: took, unit: " s"},
		row{work: work + ": a change of 100 of them right after", figure: span(median(updates)), values: updates, unit: " s"},
		row{work: work + ": longest wait of a change through another server", figure: span(median(changes)), values: changes, unit: " s", goal: atMost(10)},
		row{work: work + ": longest wait of a list through another server", figure: span(median(lists)), values: lists, unit: " s", goal: atMost(10)},
	)
	return nil
}

// wholeOrNothing lists an organization into which n secrets are imported, and returns
// an error if it shows only some of them. Once it has shown all, *done is true, and
// the server's own organization is listed, which takes less time.
func wholeOrNothing(ctx context.Context, s *fluxkeep, org string, n int, done *bool) error {
	if *done {
		return s.do(ctx, http.MethodGet, secretsPath(s.org), nil, nil)
	}
	var answer struct{ Secrets []string }
	if err := s.do(ctx, http.MethodGet, secretsPath(org), nil, &answer); err != nil {
		return err
	}
	*done = len(answer.Secrets) == n
	if len(answer.Secrets) > 0 && !*done {
		return fmt.Errorf("a list shows %d of %d secrets", len(answer.Secrets), n)
	}
	return nil
}

// etcdLarge measures large changes, and servers with many secrets.
func etcdLarge(ctx context.Context, b *bench) error {
	c, err := b.startCluster(ctx)
	if err != nil {
		return err
	}
	defer c.stop()
	if err := c.bigImport(ctx); err != nil {
		return err
	}
	return c.manySecrets(ctx)
}

// manySecrets measures how long servers take to start with many secrets, and their
// memory.
func (c *cluster) manySecrets(ctx context.Context) error {
	b := c.bench
	n := b.sizes.growth[len(b.sizes.growth)-1]
	s := c.servers[clusterSize-1]
	s.stop()
	begin := time.Now()
	for from := 0; from < n; from += namesPerPatch {
		// A busy machine may be too slow for etcd's time limits.
		err := errors.New("not filled")
		for try := 0; err != nil && try < 5; try++ {
			err = c.servers[0].fill(ctx, c.servers[0].org, from, min(from+namesPerPatch, n))
		}
		if err != nil {
			return err
		}
	}
	b.say("  %s secrets, set in %s", count(n), span(time.Since(begin).Seconds()))
	var empty, with, memory []float64
	for round := range min(b.rounds, 3) {
		for _, times := range []*[]float64{&empty, &with} {
			if times == &empty {
				if err := os.RemoveAll(filepath.Join(s.folder, "data", "copy")); err != nil {
					return err
				}
			}
			took, err := s.again(ctx, s.org)
			if err != nil {
				return err
			}
			*times = append(*times, took.Seconds())
			if times == &with {
				if _, err := b.load(ctx, s.listing(1), time.Second); err != nil {
					return err
				}
			}
			m, err := s.process.memory()
			if err != nil {
				return err
			}
			memory = append(memory, float64(m.resident)/megabyte)
			s.stop()
		}
		b.say("  round %d:  without a copy %s, with it %s", round+1, span(empty[round]), span(with[round]))
	}
	work := count(n) + " secrets on etcd"
	b.report.add(
		row{work: work + ": start without a copy, to the first answer", figure: span(median(empty)), values: empty, unit: " s", goal: atMost(60)},
		row{work: work + ": start with a copy, to the first answer", figure: span(median(with)), values: with, unit: " s", goal: atMost(3)},
		row{work: work + ": memory after a start", figure: megabytes(median(memory) * megabyte), values: memory, unit: " MB", goal: atMost(400)},
	)
	return nil
}
