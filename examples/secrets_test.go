package examples

import (
	"maps"
	"os"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	sigsyaml "sigs.k8s.io/yaml"
)

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestInitContainer: only the init container has the token, and both containers run as the
// one user that can read the file, which is in memory.
func TestInitContainer(t *testing.T) {
	object, _, err := decode([]byte(readFile(t, "kubernetes/init-container/pod.yaml")))
	if err != nil {
		t.Fatal(err)
	}
	pod := object.(*corev1.Pod).Spec
	if !*pod.SecurityContext.RunAsNonRoot || pod.SecurityContext.RunAsUser == nil || pod.Volumes[0].EmptyDir.Medium != corev1.StorageMediumMemory {
		t.Errorf("the pod is %+v", pod)
	}
	for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
		if c.SecurityContext.RunAsUser != nil || *c.SecurityContext.AllowPrivilegeEscalation || c.SecurityContext.Capabilities.Drop[0] != "ALL" {
			t.Errorf("%s may do too much: %+v", c.Name, c.SecurityContext)
		}
		if c.VolumeMounts[0].Name != pod.Volumes[0].Name || c.VolumeMounts[0].MountPath != "/secrets" {
			t.Errorf("%s has the volumes %+v", c.Name, c.VolumeMounts)
		}
	}
	if c := pod.Containers[0]; len(c.Env) != 0 || len(c.EnvFrom) != 0 || !c.VolumeMounts[0].ReadOnly {
		t.Errorf("the application is %+v", c)
	}
}

// externalSecret has the fields of External Secrets Operator's types that the examples
// use, by their names in external-secrets.io/v1.
type externalSecret struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		RefreshInterval string `json:"refreshInterval"`
		SecretStoreRef  struct {
			Kind string `json:"kind"`
			Name string `json:"name"`
		} `json:"secretStoreRef"`
		Target struct {
			Name string `json:"name"`
		} `json:"target"`
		Data []struct {
			SecretKey string    `json:"secretKey"`
			RemoteRef remoteRef `json:"remoteRef"`
		} `json:"data"`
		DataFrom []struct {
			Extract *remoteRef `json:"extract"`
			Find    *struct {
				Name struct {
					Regexp string `json:"regexp"`
				} `json:"name"`
			} `json:"find"`
		} `json:"dataFrom"`
	} `json:"spec"`
}

type remoteRef struct {
	Key      string `json:"key"`
	Property string `json:"property"`
}

type secretStore struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		Provider struct {
			Vault *struct {
				Server  string `json:"server"`
				Path    string `json:"path"`
				Version string `json:"version"`
				Auth    struct {
					TokenSecretRef secretKey `json:"tokenSecretRef"`
				} `json:"auth"`
			} `json:"vault"`
			Webhook *struct {
				URL     string            `json:"url"`
				Headers map[string]string `json:"headers"`
				Result  struct {
					JSONPath string `json:"jsonPath"`
				} `json:"result"`
				Secrets []struct {
					Name      string    `json:"name"`
					SecretRef secretKey `json:"secretRef"`
				} `json:"secrets"`
			} `json:"webhook"`
		} `json:"provider"`
	} `json:"spec"`
}

type secretKey struct {
	Name string `json:"name"`
	Key  string `json:"key"`
}

// TestExternalSecrets: no field is unknown, and each object uses the store of its file.
func TestExternalSecrets(t *testing.T) {
	for file, want := range map[string][]string{"vault.yaml": {"app", "database", "organizations"}, "webhook.yaml": {"database"}} {
		all := documents(t, readFile(t, "kubernetes/external-secrets/"+file))
		var store secretStore
		if err := sigsyaml.UnmarshalStrict(all[0], &store); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if store.APIVersion != "external-secrets.io/v1" || store.Kind != "SecretStore" {
			t.Errorf("%s begins with %+v", file, store)
		}
		names := map[string]bool{}
		for _, document := range all[1:] {
			var e externalSecret
			if err := sigsyaml.UnmarshalStrict(document, &e); err != nil {
				t.Fatalf("%s: %v\n%s", file, err, document)
			}
			names[e.Metadata.Name] = true
			if e.APIVersion != store.APIVersion || e.Kind != "ExternalSecret" || e.Spec.SecretStoreRef.Kind != store.Kind || e.Spec.SecretStoreRef.Name != store.Metadata.Name {
				t.Errorf("%s has %+v", file, e)
			}
		}
		if got := slices.Sorted(maps.Keys(names)); !slices.Equal(got, want) {
			t.Errorf("%s has %q, want %q", file, got, want)
		}
	}
}
