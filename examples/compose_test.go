package examples

import (
	"slices"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// TestCompose: the file has the schema of Compose, and what it refers to exists.
func TestCompose(t *testing.T) {
	project, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir:  "compose",
		ConfigFiles: []types.ConfigFile{{Filename: "compose/compose.yaml"}},
		Environment: types.Mapping{"FLUXKEEP_VERSION": "1.2.3"},
	}, func(o *loader.Options) { o.SetProjectName("fluxkeep", true) })
	if err != nil {
		t.Fatal(err)
	}
	if got, want := project.ServiceNames(), []string{"fluxkeep", "influxdb", "telegraf"}; !slices.Equal(got, want) {
		t.Errorf("the services are %q, want %q", got, want)
	}
	if s := project.Services["fluxkeep"]; s.Image != "fluxkeep:1.2.3" || !s.ReadOnly || len(s.Secrets) != 1 {
		t.Errorf("the server is %+v", s)
	}
}
