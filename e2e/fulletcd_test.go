//go:build unix

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/fluxkeep/fluxkeep/internal/store/etcdstore/etcdtest"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// TestFullEtcd fills an etcd nearly up to its quota: reads, deletions and taking rights
// away go on, and other changes are refused. At the quota, reads go on. All of it works again
// once the commands of docs/cluster.md have made room. However many deletions there are,
// operators can sign in and take rights away.
func TestFullEtcd(t *testing.T) {
	long(t, "starts real servers on etcd")
	t.Parallel()
	const quota = 32 << 20
	etcd := etcdtest.Start(t, etcdtest.Options{Args: []string{fmt.Sprint("--quota-backend-bytes=", quota)}})
	s := startServersOn(t, etcd, etcd.Endpoints()).all[0]
	s.troubled = true
	token, writer := s.newToken(client.Read), s.newToken(client.Write)
	kept, gone, more := s.secretName("kept"), s.secretName("gone"), s.secretName("more")
	want := map[string]string{kept: s.private("1")}
	s.set(map[string]string{kept: want[kept], gone: s.private("2")})
	target := "/api/v2/orgs/" + s.orgID + "/secrets"
	change := func(value string) reply {
		return s.ask("PATCH", target, s.token, map[string]string{more: s.private(value)})
	}

	conn, err := grpc.NewClient(strings.TrimPrefix(etcd.Endpoints()[0], "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	maintenance := pb.NewMaintenanceClient(conn)
	var filler [4]string
	for i := range filler {
		filler[i] = s.secretName(fmt.Sprint("filler", i))
	}
	var refused reply
	for n := 0; refused.status == 0 && n < 1000; n++ {
		values := map[string]string{}
		for _, name := range filler {
			values[name] = strings.Repeat(fmt.Sprint(n%10), 60<<10)
		}
		if r := s.ask("PATCH", target, s.token, values); r.status != http.StatusNoContent {
			refused = r
		}
	}
	if refused.status != http.StatusServiceUnavailable || !strings.Contains(refused.body, "etcd's quota") {
		t.Fatalf("a nearly full etcd: %v", refused)
	}
	for n := 0; change(fmt.Sprint(n)).status != http.StatusServiceUnavailable; n++ {
		if n == 1000 {
			t.Fatal("small changes are accepted")
		}
	}
	if r := s.ask("POST", target+"/delete", s.token, map[string][]string{"secrets": append(filler[:], gone, more)}); r.status != http.StatusNoContent {
		t.Errorf("a deletion: %v", r)
	}
	s.wantValues(want)
	// Changes that only remove write a little, too: each by this token adds a version.
	for n := 0; ; n++ {
		r := s.ask("POST", target+"/delete", writer.Token, map[string][]string{"secrets": {gone}})
		if r.status == http.StatusServiceUnavailable {
			break
		}
		if r.status != http.StatusNoContent || n == 4000 {
			t.Fatalf("removal %d: %v", n, r)
		}
	}
	if s.signIn(s.user, s.password) == "" {
		t.Error("an operator can't sign in")
	}
	status := client.Inactive
	if _, err := s.operator().UpdateToken(t.Context(), token.ID, client.TokenUpdate{Status: &status}); err != nil {
		t.Error(err)
	}
	if r := s.ask("GET", target, token.Token, nil); r.status != http.StatusNotFound {
		t.Errorf("a token that was deactivated: %v", r)
	}
	if active, err := maintenance.Alarm(t.Context(), &pb.AlarmRequest{Action: pb.AlarmRequest_GET}); err != nil || len(active.Alarms) > 0 {
		t.Errorf("the server has used up the quota: %v, %v", active.GetAlarms(), err)
	}

	// Another program uses the rest, and etcd raises its alarm.
	kv := pb.NewKVClient(conn)
	for full := false; !full; {
		_, err := kv.Put(t.Context(), &pb.PutRequest{Key: []byte("/another/program"), Value: make([]byte, 1<<20)})
		full = err != nil
	}
	s.wantValues(want)
	if r := change("3"); r.status != http.StatusServiceUnavailable {
		t.Errorf("a change of a full etcd: %v", r)
	}
	eventually(t, "alarm in the status of the cluster", func() bool {
		now, err := s.operator().Cluster(t.Context())
		return err == nil && len(now.Alarms) == 1 && strings.HasPrefix(now.Alarms[0], "NOSPACE")
	})
	eventually(t, "warning in /health, which passes", func() bool {
		r := s.ask("GET", "/health", "", nil)
		return r.ok() && strings.Contains(r.body, "etcd has raised an alarm")
	})

	bin := t.TempDir()
	programsIn(t, bin)("etcdctl")
	find(t, "jq")
	makeRoom := command(t, s.home, find(t, "bash"), "-euc", tried(t, "../docs/cluster.md", "Space in etcd"))
	makeRoom.Env = append(makeRoom.Env, "ENDPOINTS="+etcd.Endpoints()[0], "PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
	output(t, makeRoom)
	eventually(t, "change", func() bool { return change("3").ok() })
	want[more] = s.private("3")
	s.wantValues(want)
}
