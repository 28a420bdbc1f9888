package etcdstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
)

// timing are the time limits of the store.
type timing struct {
	attempt  time.Duration // for an answer from one member
	patience time.Duration // for an answer from any member
	behind   time.Duration // until the copy must have what a read saw
	lease    time.Duration // of the registration
	report   time.Duration // between two reports of a server's state
	lock     time.Duration // without progress of a large change, after which its lock is broken
	help     time.Duration // without progress of a move, after which others help
}

var defaultTiming = timing{
	attempt:  time.Second,
	patience: 4500 * time.Millisecond,
	behind:   time.Second,
	lease:    10 * time.Second,
	report:   3 * time.Second,
	lock:     5 * time.Second,
	help:     time.Second,
}

// maxReply is the number of bytes of a reply. Pages of records are as large as fits, and
// so are the pieces of watch responses: etcd divides them at its own limit for requests,
// for which it recommends 10 MiB at most. If a watch response is larger, the copy is loaded
// again.
const maxReply = 16 << 20

// client talks to the members of the etcd cluster. It chooses the member itself,
// because only the store knows which requests may be sent again: all of its
// requests can, since their transactions compare what they change.
type client struct {
	timing    timing
	members   []*member
	preferred atomic.Int32 // index of the member that requests try first
}

// member is a member of the cluster.
type member struct {
	endpoint    string
	conn        *grpc.ClientConn
	kv          pb.KVClient
	watch       pb.WatchClient
	lease       pb.LeaseClient
	cluster     pb.ClusterClient
	maintenance pb.MaintenanceClient
	auth        pb.AuthClient

	username, password string
	patience           time.Duration // for an answer to a login
	mu                 sync.Mutex
	login              *login // guarded by mu; nil if there is none
}

// A login gives the token for requests. All requests share it, since it costs etcd as
// much time as it takes to check a password.
type login struct {
	done  chan struct{} // closed when the rest is set
	token string        // "" if etcd has no users
	err   error
}

func newClient(o Options) (*client, error) {
	c := &client{timing: o.timing}
	for _, endpoint := range o.Endpoints {
		m, err := newMember(o, endpoint)
		if err != nil {
			return nil, errors.Join(err, c.close())
		}
		c.members = append(c.members, m)
	}
	return c, nil
}

func newMember(o Options, endpoint string) (*member, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, fmt.Errorf("etcd endpoint: %w", err)
	}
	var creds credentials.TransportCredentials
	switch u.Scheme {
	case "http":
		creds = insecure.NewCredentials()
	case "https":
		conf := o.TLS
		if conf == nil {
			conf = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		creds = credentials.NewTLS(conf)
	default:
		return nil, fmt.Errorf("etcd endpoint %q: the scheme must be http or https", endpoint)
	}
	conn, err := grpc.NewClient("passthrough:///"+u.Host, append([]grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: o.timing.attempt,
		}),
		// etcd ends connections that ask more often than every 5 s.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 2 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReply)),
		grpc.WithChainUnaryInterceptor(checkReplies),
		grpc.WithChainStreamInterceptor(checkStream),
	}, o.dial...)...)
	if err != nil {
		return nil, fmt.Errorf("etcd endpoint %q: %w", endpoint, err)
	}
	return &member{
		endpoint: endpoint, conn: conn,
		kv: pb.NewKVClient(conn), watch: pb.NewWatchClient(conn), lease: pb.NewLeaseClient(conn),
		cluster: pb.NewClusterClient(conn), maintenance: pb.NewMaintenanceClient(conn), auth: pb.NewAuthClient(conn),
		username: o.Username, password: o.Password, patience: o.timing.patience,
	}, nil
}

func (c *client) close() error {
	var err error
	for _, m := range c.members {
		err = errors.Join(err, m.conn.Close())
	}
	return err
}

// call calls do with one member after another until there is an answer. It
// returns an error of the store.
func (c *client) call(ctx context.Context, do func(ctx context.Context, m *member) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.timing.patience)
	defer cancel()
	var cause error
	for tries := 1; ; tries++ {
		i := c.preferred.Load()
		m := c.members[i]
		err := m.try(ctx, c.timing.attempt, do)
		if err == nil || !unanswered(err) {
			return translate(err)
		}
		// A connection that fails does not always say why.
		if cause == nil || advice(cause) == "" || advice(err) != "" {
			cause = fmt.Errorf("%w (%s)", translate(err), m.endpoint)
		}
		c.preferred.CompareAndSwap(i, (i+1)%int32(len(c.members)))
		pause := time.Duration(0)
		if tries%len(c.members) == 0 {
			pause = 50 * time.Millisecond
		}
		select {
		case <-time.After(pause):
			if ctx.Err() == nil {
				continue
			}
		case <-ctx.Done():
		}
		return cause
	}
}

// try calls do once, or twice if the token has expired.
func (m *member) try(ctx context.Context, limit time.Duration, do func(context.Context, *member) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	out, used, err := m.outgoing(ctx)
	if err != nil {
		return err
	}
	err = do(out, m)
	if m.expired(used, err) {
		if out, _, err = m.outgoing(ctx); err == nil {
			err = do(out, m)
		}
	}
	return err
}

// outgoing adds what every request carries: the token, and that the member
// must have a leader.
func (m *member) outgoing(ctx context.Context) (context.Context, *login, error) {
	ctx = metadata.AppendToOutgoingContext(ctx, rpctypes.MetadataRequireLeaderKey, rpctypes.MetadataHasLeader)
	if m.username == "" {
		return ctx, nil, nil
	}
	l := m.join()
	select {
	case <-l.done:
	case <-ctx.Done():
		return nil, nil, fmt.Errorf("log in to etcd: %w", ctx.Err())
	}
	if l.err != nil {
		return nil, nil, l.err
	}
	if l.token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, rpctypes.TokenFieldNameGRPC, l.token)
	}
	return ctx, l, nil
}

// join returns the login, and begins one if there is none. It goes on when the request
// that began it ends, so that the next one has the token.
func (m *member) join() *login {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.login == nil {
		l := &login{done: make(chan struct{})}
		m.login = l
		go func() {
			defer close(l.done)
			ctx, cancel := context.WithTimeout(context.Background(), m.patience)
			defer cancel()
			resp, err := m.auth.Authenticate(ctx, &pb.AuthenticateRequest{Name: m.username, Password: m.password})
			switch {
			case err == nil:
				l.token = resp.Token
			case !isError(err, rpctypes.ErrGRPCAuthNotEnabled):
				l.err = err
				m.forget(l)
			}
		}()
	}
	return m.login
}

// expired reports whether err means that a new login may help, and forgets the one that
// was used.
func (m *member) expired(used *login, err error) bool {
	if used == nil || !badToken(err) {
		return false
	}
	m.forget(used)
	return true
}

func (m *member) forget(l *login) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.login == l {
		m.login = nil
	}
}

// rangeOf reads the keys in [from, to), or one key if to is nil.
func (c *client) rangeOf(ctx context.Context, req *pb.RangeRequest) (*pb.RangeResponse, error) {
	var resp *pb.RangeResponse
	err := c.call(ctx, func(ctx context.Context, m *member) (err error) {
		resp, err = m.kv.Range(ctx, req)
		return err
	})
	return resp, err
}

func (c *client) txn(ctx context.Context, req *pb.TxnRequest) (*pb.TxnResponse, error) {
	var resp *pb.TxnResponse
	err := c.call(ctx, func(ctx context.Context, m *member) (err error) {
		resp, err = m.kv.Txn(ctx, req)
		return err
	})
	return resp, err
}

// recent reports whether a version of etcd has none of the known bugs. Versions
// that it does not understand are newer.
func recent(version string) bool {
	var n [3]int
	core, _, _ := strings.Cut(version, "-")
	for i, part := range strings.SplitN(core, ".", 3) {
		v, err := strconv.Atoi(part)
		if err != nil {
			return true
		}
		n[i] = v
	}
	if n[0] != 3 {
		return n[0] > 3
	}
	switch n[1] {
	case 5:
		return n[2] >= 28
	case 6:
		return n[2] >= 9
	}
	return n[1] > 6
}
