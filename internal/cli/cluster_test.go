package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/spf13/cobra"
)

// TestClusterSilentMember: nothing is claimed about a member that doesn't answer.
func TestClusterSilentMember(t *testing.T) {
	var out bytes.Buffer
	cmd := &cobra.Command{}
	cmd.SetOut(&out)
	r := remote{output: output{format: formatTable}}
	err := r.printCluster(cmd, client.Cluster{
		Servers: []client.ClusterServer{{ID: "1"}},
		Members: []client.EtcdMember{{Endpoint: "http://gone", Error: "refused"}},
	})
	if err == nil || err.Error() != "1 member of etcd can't be reached" {
		t.Errorf("the error is %v", err)
	}
	if text := strings.Join(strings.Fields(out.String()), " "); !strings.HasSuffix(text, " http://gone ? ? refused") {
		t.Errorf("the table says %q", text)
	}
}
