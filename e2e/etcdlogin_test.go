//go:build unix

package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/etcdstore/etcdtest"
	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
)

// etcdAdmin administers etcd, as etcdctl does.
type etcdAdmin struct {
	t    *testing.T
	conn *grpc.ClientConn
	auth pb.AuthClient
	ctx  context.Context
}

func newEtcdAdmin(t *testing.T, member *etcdtest.Member, files etcdtest.TLSFiles) *etcdAdmin {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(pair.Leaf)
	conn, err := grpc.NewClient("passthrough:///"+strings.TrimPrefix(member.Endpoint(), "https://"),
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &etcdAdmin{t: t, conn: conn, auth: pb.NewAuthClient(conn), ctx: t.Context()}
}

func (a *etcdAdmin) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatalf("administer etcd: %v", err)
	}
}

func (a *etcdAdmin) put(key, value string) {
	a.t.Helper()
	_, err := pb.NewKVClient(a.conn).Put(a.ctx, &pb.PutRequest{Key: []byte(key), Value: []byte(value)})
	a.must(err)
}

// addUser creates a user with a role of the same name.
func (a *etcdAdmin) addUser(name, password string) {
	a.t.Helper()
	_, err1 := a.auth.RoleAdd(a.ctx, &pb.AuthRoleAddRequest{Name: name})
	_, err2 := a.auth.UserAdd(a.ctx, &pb.AuthUserAddRequest{Name: name, Password: password})
	_, err3 := a.auth.UserGrantRole(a.ctx, &pb.AuthUserGrantRoleRequest{User: name, Role: name})
	a.must(errors.Join(err1, err2, err3))
}

// permit lets a user read and write the keys under a prefix.
func (a *etcdAdmin) permit(name, prefix string) {
	a.t.Helper()
	_, err := a.auth.RoleGrantPermission(a.ctx, &pb.AuthRoleGrantPermissionRequest{Name: name, Perm: &authpb.Permission{
		PermType: authpb.READWRITE, Key: []byte(prefix), RangeEnd: store.PrefixEnd([]byte(prefix)),
	}})
	a.must(err)
}

func (a *etcdAdmin) forbid(name, prefix string) {
	a.t.Helper()
	_, err := a.auth.RoleRevokePermission(a.ctx, &pb.AuthRoleRevokePermissionRequest{Role: name, Key: []byte(prefix), RangeEnd: store.PrefixEnd([]byte(prefix))})
	a.must(err)
}

const rootPassword = "toor"

// enableLogin makes etcd ask for a login, and logs in as root.
func (a *etcdAdmin) enableLogin() {
	a.t.Helper()
	a.addUser("root", rootPassword)
	_, err := a.auth.AuthEnable(a.ctx, &pb.AuthEnableRequest{})
	a.must(err)
	a.login("root", rootPassword)
}

func (a *etcdAdmin) login(name, password string) {
	a.t.Helper()
	r, err := a.auth.Authenticate(a.t.Context(), &pb.AuthenticateRequest{Name: name, Password: password})
	a.must(err)
	a.ctx = metadata.AppendToOutgoingContext(a.t.Context(), rpctypes.TokenFieldNameGRPC, r.Token)
}

// refusedServe runs a server that must not start, and returns what it says.
func refusedServe(t *testing.T, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	cmd := command(t, dir, program, append([]string{"serve", "--http-bind-address", "127.0.0.1:0", "--data-dir", filepath.Join(dir, "data"), "--key-file", filepath.Join(dir, "key")}, args...)...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("serve %q: %v, want exit status 1", args, err)
	}
	return string(out)
}

// TestEtcdLogin uses an etcd with TLS and users: by certificate and by password. A server
// that may not use it says in one line why.
func TestEtcdLogin(t *testing.T) {
	long(t, "starts real servers on etcd")
	t.Parallel()
	const user = "keeper"
	files, foreign := etcdtest.NewTLSFiles(t, user), etcdtest.NewTLSFiles(t, user)
	cluster := etcdtest.Start(t, etcdtest.Options{TLS: &files})
	member := cluster.Members[0]
	admin := newEtcdAdmin(t, member, files)
	admin.put("/foreign/app/setting", "1")
	admin.put("/newer/c", `{"format":999}`)
	password := randomWord()
	admin.addUser(user, password)
	for _, prefix := range []string{"/fluxkeep/", "/foreign/", "/newer/"} {
		admin.permit(user, prefix)
	}
	admin.enableLogin()

	endpoints := []string{"--store", "etcd", "--etcd-endpoints", member.Endpoint()}
	with := func(args []string, more ...string) []string { return append(slices.Clone(args), more...) }
	as := func(user, password string) []string {
		file := filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return []string{"--etcd-username", user, "--etcd-password-file", file}
	}
	byName := with(endpoints, "--etcd-ca", files.CA, "--etcd-cert", files.Cert, "--etcd-key", files.Key)
	byPassword := with(byName, as(user, password)...)

	t.Run("refused", func(t *testing.T) {
		for _, c := range []struct {
			name string
			args []string
			says string
		}{
			{"wrong password", with(byName, as(user, "not "+password)...), "check the etcd user name and the password file"},
			{"unknown user", with(byName, as("nobody", password)...), "check the etcd user name and the password file"},
			{"no permission", with(byPassword, "--etcd-prefix", "/elsewhere/"), "give the etcd user read and write permission"},
			{"wrong authority", with(byPassword, "--etcd-ca", foreign.CA), "check the etcd CA file"},
			{"no authority", endpoints, "check the etcd CA file"},
			{"no client certificate", with(endpoints, "--etcd-ca", files.CA), "check the client certificate"},
			{"another authority's client certificate", with(byPassword, "--etcd-cert", foreign.Cert, "--etcd-key", foreign.Key), "check the client certificate"},
			{"no TLS", []string{"--store", "etcd", "--etcd-endpoints", strings.Replace(member.Endpoint(), "https", "http", 1)}, "start with https://"},
			{"no etcd", []string{"--store", "etcd", "--etcd-endpoints", "http://127.0.0.1:1"}, "check the etcd endpoints"},
			{"something else", with(byPassword, "--etcd-prefix", "/foreign/"), "choose another prefix"},
			{"a newer format", with(byPassword, "--etcd-prefix", "/newer/"), "upgrade this server"},
			{"an old etcd", []string{"--store", "etcd", "--etcd-endpoints", serveOldEtcd(t)}, "upgrade it to"},
		} {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				out := refusedServe(t, c.args...)
				if !strings.Contains(out, c.says) || strings.Contains(out, password) || strings.Count(out, "\n") != 1 {
					t.Errorf("serve says %q, want one line with %q", out, c.says)
				}
			})
		}
	})

	key := []string{"--key-file", filepath.Join(t.TempDir(), "key")}
	a, b := start(t, with(byName, key...)...), start(t, with(byPassword, key...)...)
	a.setUp()
	b.shares(a)
	both := []*server{a, b}
	for _, s := range both {
		s.troubled = true
		s.secrets.add(password) // looked for on the disk and in the log
	}
	want := map[string]string{}
	write := func(by *server, name string) {
		t.Helper()
		name, value := by.secretName(name), by.private(name)
		eventually(t, "success of a change", func() bool {
			_, err := by.operator().WriteValues(t.Context(), by.orgID, map[string]*string{name: &value}, nil)
			return err == nil
		})
		want[name] = value
		for _, s := range both {
			s.wantValues(want)
		}
	}
	write(a, "by_certificate")
	write(b, "by_password")

	// Each of these makes the tokens that etcd gave out invalid.
	admin.addUser("another", "password")
	write(b, "after_change_of_users")
	member.Kill()
	member.Restart()
	write(b, "after_restart")

	admin.login("root", rootPassword)
	admin.forbid(user, "/fluxkeep/")
	for _, s := range both {
		refused := s.ask("PATCH", "/api/v2/orgs/"+s.orgID+"/secrets", s.token, object{s.secretName("never"): "x"})
		if refused.status != 503 {
			t.Errorf("without permission: %v", refused)
		}
		eventually(t, "line in the log about the permission", func() bool { return strings.Contains(s.log(), "read and write permission for the etcd prefix") })
		eventually(t, "metric that says that etcd can't be used", func() bool {
			metrics := s.ask("GET", "/metrics", "", nil).body
			if strings.Contains(metrics, password) {
				t.Error("the metrics have the password")
			}
			return strings.Contains(metrics, "fluxkeep_etcd_available 0")
		})
	}
	admin.permit(user, "/fluxkeep/")
	for _, s := range both {
		write(s, "after_permission_"+s.address()[len("127.0.0.1:"):])
	}
}

// oldEtcd is an etcd with a version that has known bugs.
type oldEtcd struct {
	pb.UnimplementedMaintenanceServer
}

func (oldEtcd) Status(context.Context, *pb.StatusRequest) (*pb.StatusResponse, error) {
	return &pb.StatusResponse{Header: &pb.ResponseHeader{}, Version: "3.5.27"}, nil
}

func serveOldEtcd(t *testing.T) (endpoint string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	pb.RegisterMaintenanceServer(s, oldEtcd{})
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return fmt.Sprint("http://", l.Addr())
}
