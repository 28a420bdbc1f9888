package examples

import (
	"os"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
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
