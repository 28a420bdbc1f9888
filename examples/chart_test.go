package examples

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	sigsyaml "sigs.k8s.io/yaml"
)

const chartFolder = "kubernetes/fluxkeep"

func TestChartLint(t *testing.T) {
	result := lint.All(chartFolder, nil, "default", true)
	for _, m := range result.Messages {
		if m.Severity >= support.WarningSev {
			t.Errorf("%v", m)
		}
	}
}

// everything uses each part of the chart.
const everything = `
tls: {secret: fluxkeep-tls}
settings: {log-level: debug, rate-limit: 100, hsts: true}
storage: {size: 20Gi, className: fast}
serviceAccount: {annotations: {eks.amazonaws.com/role-arn: "arn:aws:iam::1:role/fluxkeep"}}
networkPolicy: {from: [{namespaceSelector: {matchLabels: {name: influxdb}}}]}
serviceMonitor: {enabled: true, labels: {release: prometheus}}
backup: {enabled: true}
`

// rendered returns the objects of the chart, decoded strictly with the types of
// Kubernetes: an unknown or duplicate field is an error.
func rendered(t *testing.T, values string) map[string]runtime.Object {
	t.Helper()
	c, err := loader.Load(chartFolder)
	if err != nil {
		t.Fatal(err)
	}
	manifests, err := render(c, values)
	if err != nil {
		t.Fatal(err)
	}
	objects := map[string]runtime.Object{}
	for name, text := range manifests {
		for _, document := range documents(t, text) {
			if bytes.Contains(document, []byte("kind: ServiceMonitor")) {
				checkServiceMonitor(t, document)
				objects["ServiceMonitor"] = nil
				continue
			}
			object, kind, err := decode(document)
			if err != nil {
				t.Fatalf("%s: %v\n%s", name, err, document)
			}
			objects[kind.Kind] = object
		}
	}
	return objects
}

// documents splits a YAML file into its documents.
func documents(t *testing.T, text string) (all [][]byte) {
	t.Helper()
	for r := yaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text))); ; {
		document, err := r.Read()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(bytes.TrimSpace(document)) > 0 {
			all = append(all, document)
		}
	}
}

// decode decodes an object strictly with the types of Kubernetes.
func decode(document []byte) (runtime.Object, *schema.GroupVersionKind, error) {
	return serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer().Decode(document, nil, nil)
}

// render renders the chart's templates with values in YAML.
func render(c *chart.Chart, values string) (map[string]string, error) {
	var given map[string]any
	if err := sigsyaml.Unmarshal([]byte(values), &given); err != nil {
		return nil, err
	}
	options := chartutil.ReleaseOptions{Name: "fluxkeep", Namespace: "secrets", Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(c, given, options, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	manifests, err := engine.Render(c, all)
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(manifests, func(name, _ string) bool { return !strings.HasSuffix(name, ".yaml") })
	return manifests, nil
}

// checkServiceMonitor decodes what the chart uses of the Prometheus Operator's type.
func checkServiceMonitor(t *testing.T, document []byte) {
	t.Helper()
	var monitor struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Metadata   struct {
			Name   string            `json:"name"`
			Labels map[string]string `json:"labels"`
		} `json:"metadata"`
		Spec struct {
			Selector  struct{ MatchLabels map[string]string } `json:"selector"`
			Endpoints []struct {
				Port      string `json:"port"`
				Path      string `json:"path"`
				Scheme    string `json:"scheme"`
				TLSConfig struct {
					ServerName string `json:"serverName"`
				} `json:"tlsConfig"`
			} `json:"endpoints"`
		} `json:"spec"`
	}
	if err := sigsyaml.UnmarshalStrict(document, &monitor); err != nil {
		t.Fatalf("%v\n%s", err, document)
	}
	if len(monitor.Spec.Endpoints) != 1 || monitor.Spec.Endpoints[0].Scheme != "https" || len(monitor.Spec.Selector.MatchLabels) != 2 || monitor.Metadata.Labels["release"] != "prometheus" {
		t.Errorf("the ServiceMonitor is %+v", monitor)
	}
}

func TestChart(t *testing.T) {
	for _, tt := range []struct {
		name, values string
		kinds        []string
	}{
		{"defaults", "", []string{"NetworkPolicy", "PodDisruptionBudget", "Service", "ServiceAccount", "StatefulSet"}},
		{"everything", everything, []string{"CronJob", "NetworkPolicy", "PersistentVolumeClaim", "PodDisruptionBudget", "Service", "ServiceAccount", "ServiceMonitor", "StatefulSet"}},
		{"without policies", "networkPolicy: {enabled: false}\npodDisruptionBudget: {enabled: false}", []string{"Service", "ServiceAccount", "StatefulSet"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			objects := rendered(t, tt.values)
			if kinds := slices.Sorted(maps.Keys(objects)); !slices.Equal(kinds, tt.kinds) {
				t.Errorf("the objects are %q, want %q", kinds, tt.kinds)
			}
			set, ok := objects["StatefulSet"].(*appsv1.StatefulSet)
			if !ok {
				t.Fatal("there is no StatefulSet")
			}
			pod := set.Spec.Template.Spec
			c := pod.Containers[0]
			if !*pod.SecurityContext.RunAsNonRoot || !*c.SecurityContext.ReadOnlyRootFilesystem || *c.SecurityContext.AllowPrivilegeEscalation || c.SecurityContext.Capabilities.Drop[0] != "ALL" {
				t.Errorf("the pod may do too much: %+v %+v", pod.SecurityContext, c.SecurityContext)
			}
			for name := range set.Spec.Selector.MatchLabels {
				if set.Spec.Template.Labels[name] != set.Spec.Selector.MatchLabels[name] {
					t.Errorf("the selector doesn't fit: %s", name)
				}
			}
			settings := settingsOf(set)
			if settings["FLUXKEEP_DATA_DIR"] == "" {
				t.Errorf("the settings are %v", settings)
			}
			if tt.values == everything && (settings["FLUXKEEP_RATE_LIMIT"] != "100" || settings["FLUXKEEP_HSTS"] != "true" || settings["FLUXKEEP_TLS_CERT"] == "") {
				t.Errorf("the settings are %v", settings)
			}
		})
	}
}

func settingsOf(set *appsv1.StatefulSet) map[string]string {
	settings := map[string]string{}
	for _, v := range set.Spec.Template.Spec.Containers[0].Env {
		settings[v.Name] = v.Value
	}
	return settings
}

// TestChartKeys: each provider of the key gets its settings, which the server knows, and
// its Secret, if it needs one, and no other.
func TestChartKeys(t *testing.T) {
	settings, err := os.ReadFile("../internal/config/config.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		values   string
		settings map[string]string
		secret   string
	}{
		{"", map[string]string{"KEY_FILE": "/run/fluxkeep/key/key"}, "fluxkeep-key"},
		{"key: {secret: other}", map[string]string{"KEY_FILE": "/run/fluxkeep/key/key"}, "other"},
		{"key: {provider: aws-kms, awsKMSKey: 'arn:aws:kms:eu-west-1:1:key/2'}", map[string]string{"AWS_KMS_KEY": "arn:aws:kms:eu-west-1:1:key/2"}, ""},
		{"key: {provider: gcp-kms, gcpKMSKey: 'projects/p/locations/l/keyRings/r/cryptoKeys/k'}", map[string]string{"GCP_KMS_KEY": "projects/p/locations/l/keyRings/r/cryptoKeys/k"}, ""},
		{
			"key: {provider: transit, transit: {address: 'https://vault:8200', key: fluxkeep, tokenSecret: vault, namespace: team}}",
			map[string]string{
				"TRANSIT_ADDRESS": "https://vault:8200", "TRANSIT_KEY": "fluxkeep", "TRANSIT_TOKEN_FILE": "/run/fluxkeep/key/token",
				"TRANSIT_MOUNT": "transit", "TRANSIT_NAMESPACE": "team",
			}, "vault",
		},
	} {
		t.Run(tt.values, func(t *testing.T) {
			set := rendered(t, tt.values)["StatefulSet"].(*appsv1.StatefulSet)
			got := map[string]string{}
			for name, value := range settingsOf(set) {
				name = strings.TrimPrefix(name, "FLUXKEEP_")
				if flag := strings.ToLower(strings.ReplaceAll(name, "_", "-")); !strings.Contains(string(settings), strconv.Quote(flag)) {
					t.Errorf("the server has no setting %s", flag)
				}
				if name != "DATA_DIR" && name != "HTTP_BIND_ADDRESS" {
					got[name] = value
				}
			}
			if !maps.Equal(got, tt.settings) {
				t.Errorf("the settings are %q, want %q", got, tt.settings)
			}
			secret := ""
			for _, v := range set.Spec.Template.Spec.Volumes {
				secret += v.Secret.SecretName
			}
			mounts := set.Spec.Template.Spec.Containers[0].VolumeMounts
			if mounted := len(mounts) == 2 && mounts[1].MountPath == "/run/fluxkeep/key"; secret != tt.secret || mounted != (secret != "") {
				t.Errorf("the Secret %q is mounted as %v, want %q", secret, mounts, tt.secret)
			}
		})
	}
}

// TestChartEtcd: several servers share an etcd, with the settings that the server knows and
// the files that they name.
func TestChartEtcd(t *testing.T) {
	var config []byte
	for _, file := range []string{"config", "etcd"} {
		text, err := os.ReadFile("../internal/config/" + file + ".go")
		if err != nil {
			t.Fatal(err)
		}
		config = append(config, text...)
	}
	set := rendered(t, "etcd: {endpoints: ['https://a:2379', 'https://b:2379'], tls: {secret: fluxkeep-etcd}}")["StatefulSet"].(*appsv1.StatefulSet)
	if *set.Spec.Replicas != 3 || set.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType || len(set.Spec.VolumeClaimTemplates) != 1 {
		t.Errorf("the StatefulSet is %+v", set.Spec)
	}
	pod := set.Spec.Template.Spec
	settings := settingsOf(set)
	for name, value := range map[string]string{"STORE": "etcd", "ETCD_ENDPOINTS": "https://a:2379,https://b:2379", "ETCD_PREFIX": "/fluxkeep/"} {
		if settings["FLUXKEEP_"+name] != value {
			t.Errorf("%s is %q, want %q", name, settings["FLUXKEEP_"+name], value)
		}
	}
	secrets := map[string]string{}
	for _, v := range pod.Volumes {
		secrets[v.Name] = v.Secret.SecretName
	}
	for name, value := range settings {
		flag := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, "FLUXKEEP_"), "_", "-"))
		if !strings.Contains(string(config), strconv.Quote(flag)) {
			t.Errorf("the server has no setting %s", flag)
		}
		if strings.HasPrefix(value, "/run/") && !slices.ContainsFunc(pod.Containers[0].VolumeMounts, func(m corev1.VolumeMount) bool {
			return strings.HasPrefix(value, m.MountPath+"/") && secrets[m.Name] != ""
		}) {
			t.Errorf("no Secret has the file of %s, %s", flag, value)
		}
	}
	if secrets["etcd"] != "fluxkeep-etcd" {
		t.Errorf("the Secrets are %q", secrets)
	}
	if alone := rendered(t, "")["StatefulSet"].(*appsv1.StatefulSet); *alone.Spec.Replicas != 1 {
		t.Errorf("%d servers without etcd", *alone.Spec.Replicas)
	}
}

// TestChartRefuses: the schema refuses values that have no effect or can't work.
func TestChartRefuses(t *testing.T) {
	c, err := loader.Load(chartFolder)
	if err != nil {
		t.Fatal(err)
	}
	for _, values := range []string{
		"replicas: 3", "settings: {data-dir: /elsewhere}", "settings: {LOG_LEVEL: debug}", "settings: {log-level: [debug]}",
		"backup: {keep: 0}", "storage: {size: much}", "tls: true", "image: {repository: ''}",
		"key: {secret: ''}", "key: {provider: vault}", "key: {provider: aws-kms}", "key: {provider: gcp-kms, awsKMSKey: a}",
		"key: {provider: transit, transit: {address: 'https://vault', key: k}}", "settings: {aws-kms-key: a}",
		"etcd: {endpoints: 'https://a:2379'}", "etcd: {endpoints: ['a:2379']}", "etcd: {servers: 0}", "settings: {store: etcd}",
	} {
		if _, err := render(c, values); err == nil {
			t.Errorf("%s is accepted", values)
		}
	}
}
