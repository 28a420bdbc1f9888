package datadir

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/seal"
	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/etcdstore"
)

// etcdOptions returns the options of a store in etcd, whose copy is in dir.
func etcdOptions(c *config.Config, server keep.ID, dir string, logger *slog.Logger) (etcdstore.Options, error) {
	e := &c.Etcd
	o := etcdstore.Options{
		Endpoints: e.Endpoints, Prefix: e.Prefix, Dir: dir, Logger: logger,
		Server: etcdstore.Server{ID: server.String(), Version: c.Version, Address: c.BindAddress},
	}
	o.Server.Name, _ = os.Hostname()
	if e.PasswordFile != "" {
		password, err := os.ReadFile(e.PasswordFile)
		if err != nil {
			return o, fmt.Errorf("read etcd's password: %w", err)
		}
		o.Username, o.Password = e.Username, strings.TrimRight(string(password), "\r\n")
	}
	var err error
	if strings.HasPrefix(e.Endpoints[0], "https:") {
		o.TLS, err = etcdTLS(e)
	}
	return o, err
}

func etcdTLS(e *config.Etcd) (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if e.CA != "" {
		pem, err := os.ReadFile(e.CA)
		if err != nil {
			return nil, fmt.Errorf("read etcd's certificate authorities: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read etcd's certificate authorities: %s has no certificate in PEM", e.CA)
		}
	}
	if e.Cert != "" {
		load := func() (*tls.Certificate, error) {
			cert, err := tls.LoadX509KeyPair(e.Cert, e.Key)
			return &cert, err
		}
		if _, err := load(); err != nil {
			return nil, fmt.Errorf("read the client certificate for etcd: %w", err)
		}
		// It is read for each connection, so that it can be renewed.
		t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	}
	return t, nil
}

// openEtcd connects to etcd as the server with the given ID, whose copy is in dir. If
// existing is set, it doesn't create the store.
func (d *Data) openEtcd(ctx context.Context, c *config.Config, server keep.ID, dir string, existing bool, logger *slog.Logger) error {
	o, err := etcdOptions(c, server, dir, logger)
	if err != nil {
		return err
	}
	o.Existing = existing
	if d.Etcd, err = etcdstore.Open(ctx, o); err != nil {
		return fmt.Errorf("use etcd at %s: %w", strings.Join(hosts(c.Etcd.Endpoints), ", "), err)
	}
	d.Store = d.Etcd
	return nil
}

// hosts returns the hosts of URLs.
func hosts(urls []string) []string {
	all := slices.Clone(urls)
	for i, text := range all {
		if u, err := url.Parse(text); err == nil {
			all[i] = u.Host
		}
	}
	return all
}

// openServer opens the store in etcd for the server that the folder belongs to. On
// its first start it makes the folder, and on the first start of all servers the
// keyset.
func (d *Data) openServer(ctx context.Context, c *config.Config, logger *slog.Logger) error {
	if d.dir.state == stateEmpty {
		d.dir.server = acl.NewID()
		if err := d.dir.begin(); err != nil {
			return err
		}
	}
	whole := d.dir.state == stateWhole
	if err := d.openEtcd(ctx, c, d.dir.server, d.dir.file(copyName), whole, logger); err != nil {
		return err
	}
	stored, err := keep.LoadKeyset(ctx, d.Store)
	if errors.Is(err, store.ErrNotFound) && !whole {
		stored, err = createKeyset(ctx, d.Store, c)
	}
	if err != nil {
		return fmt.Errorf("load the keyset from etcd: %w", err)
	}
	return d.unlockShared(ctx, stored, c)
}

// unlockShared unlocks the keyset in the store.
func (d *Data) unlockShared(ctx context.Context, stored keep.StoredKeyset, c *config.Config) (err error) {
	d.keys, err = unlock(ctx, stored.Wrapped, c.SealConfig())
	d.shared = &keep.SharedKeys{Loaded: stored, Open: func(ctx context.Context, wrapped []byte) (*seal.Keys, error) {
		keys, err := unlock(ctx, wrapped, c.SealConfig())
		if err != nil {
			return nil, err
		}
		return keys.Keys, nil
	}}
	return err
}

// createKeyset makes the keyset of an empty store, and the key file if it is missing.
// If another server is faster, it returns that one's keyset.
func createKeyset(ctx context.Context, s store.Store, c *config.Config) (keep.StoredKeyset, error) {
	sc := c.SealConfig()
	provider, missing, err := openProvider(ctx, sc)
	if missing {
		provider, _, err = makeKeyFile(c.KeyFile())
	}
	if err != nil {
		return keep.StoredKeyset{}, err
	}
	keys, err := createKeys(ctx, provider, sc)
	if err != nil {
		return keep.StoredKeyset{}, err
	}
	return keep.CreateKeyset(ctx, s, keys.wrapped)
}

// openVisitor opens the store in etcd for a tool, with a copy in a temporary folder.
// Servers may be running. The tool changes the store as a server of its own, if at
// all. If existing is set, it doesn't create the store.
func openVisitor(ctx context.Context, c *config.Config, existing bool) (d *Data, err error) {
	dir, err := os.MkdirTemp("", "fluxkeep-etcd-")
	if err != nil {
		return nil, err
	}
	d = &Data{temporary: dir}
	if err := d.openEtcd(ctx, c, acl.NewID(), filepath.Join(dir, copyName), existing, discardLog()); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// openReader is openVisitor for a tool that reads records. The error is
// fs.ErrNotExist if there are none.
func openReader(ctx context.Context, c *config.Config) (d *Data, err error) {
	d, err = openVisitor(ctx, c, true)
	if errors.Is(err, etcdstore.ErrNoStore) {
		err = fmt.Errorf("etcd %w", errNoData)
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
			d = nil
		}
	}()
	stored, err := keep.LoadKeyset(ctx, d.Store)
	if errors.Is(err, store.ErrNotFound) {
		return d, fmt.Errorf("etcd %w", errNoData)
	}
	if err != nil {
		return d, err
	}
	return d, d.unlockShared(ctx, stored, c)
}

// serverOf returns the ID of the server that a data folder belongs to, 0 if there is
// none.
func serverOf(c *config.Config) (keep.ID, error) {
	text, err := os.ReadFile(filepath.Join(c.DataDir, formatName))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	_, server, err := parseFormat(string(text))
	return server, err
}

// restoreEtcd writes a verified backup into an empty store in etcd.
func restoreEtcd(ctx context.Context, c *config.Config, keys *seal.Keys, wrapped []byte, file io.Reader) (err error) {
	d, err := openVisitor(ctx, c, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	err = keep.RestoreShared(ctx, file, d.Store, keys, wrapped)
	if errors.Is(err, keep.ErrNotEmpty) {
		return fmt.Errorf("etcd has data under %s: a backup is restored into a prefix of its own", c.Etcd.Prefix)
	}
	return err
}

// rewrapEtcd is Rewrap for the keyset in etcd. Servers may be running: they have the
// data keys, and need the new key-encryption key at their next start.
func rewrapEtcd(ctx context.Context, c, to *config.Config) (done RewrapResult, err error) {
	d, err := openReader(ctx, c)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return d.rewrap(ctx, to)
}

func (d *Data) rewrap(ctx context.Context, to *config.Config) (done RewrapResult, err error) {
	wrapped, err := done.wrap(ctx, d.keys, to)
	if err != nil {
		return done, err
	}
	err = keep.RewrapKeyset(ctx, d.Store, d.shared.Loaded, wrapped)
	if errors.Is(err, keep.ErrKeysetChanged) {
		err = fmt.Errorf("%w in the meantime: try again", err)
	}
	if err != nil && done.NewKeyFile != "" && !errors.Is(err, store.ErrUnavailable) {
		_ = os.Remove(done.NewKeyFile) // nothing is wrapped with it
	}
	return done, err
}

// AcceptRestored makes all servers accept the state of an etcd that was restored from
// a backup. It needs the data folder of a stopped server, whose copy shows what is
// missing. The others may be running.
func AcceptRestored(ctx context.Context, c *config.Config) error {
	dir, err := lockWhole(c)
	if err != nil {
		return err
	}
	d := &Data{dir: dir}
	if err := d.openEtcd(ctx, c, dir.server, dir.file(copyName), true, discardLog()); err != nil {
		return errors.Join(err, d.Close())
	}
	return errors.Join(d.Etcd.AcceptRestored(ctx), d.Close())
}

// member is a server's part in the cluster of those that share a store.
type member struct {
	id    keep.ID
	store *etcdstore.Store
}

var _ keep.Cluster = member{}

// Self implements keep.Cluster.
func (m member) Self() keep.ID { return m.id }

// Leads implements keep.Cluster.
func (m member) Leads() bool { return m.store.Elected() }

// Follow implements keep.Cluster.
func (m member) Follow(f keep.Follower) { m.store.Follow(etcdstore.Follower(f)) }

// Running implements keep.Cluster.
func (m member) Running(ctx context.Context) ([]keep.ID, error) {
	texts, err := m.store.Running(ctx)
	if err != nil {
		return nil, err
	}
	ids := make([]keep.ID, len(texts))
	for i, text := range texts {
		if ids[i], err = acl.ParseID(text); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// Status implements keep.Cluster.
func (m member) Status(ctx context.Context) (keep.ClusterStatus, error) {
	s, err := m.store.Status(ctx)
	if err != nil {
		return keep.ClusterStatus{}, err
	}
	out := keep.ClusterStatus{Changes: s.Commit, Alarms: s.Alarms}
	for _, server := range s.Servers {
		id, err := acl.ParseID(server.ID)
		if err != nil {
			return keep.ClusterStatus{}, err
		}
		out.Servers = append(out.Servers, keep.ServerStatus{
			ID: id, Name: server.Name, Version: server.Version, Address: server.Address, Since: server.Since,
			Leads: server.Elected, Reported: server.Reported, Behind: server.Behind, Skew: server.Skew,
		})
	}
	for _, e := range s.Members {
		out.Members = append(out.Members, keep.MemberStatus{
			Endpoint: e.Endpoint, Name: e.Name, Version: e.Version, Leader: e.Leader, Size: e.DBSize, Quota: e.Quota, Err: e.Err,
		})
	}
	return out, nil
}
