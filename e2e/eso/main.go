// Program eso does what the External Secrets Operator does with the manifests of its
// standard input, with the operator's own providers: it prints the Secrets that the
// ExternalSecrets describe, as JSON.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"

	esv1 "github.com/external-secrets/external-secrets/apis/externalsecrets/v1"
	_ "github.com/external-secrets/external-secrets/pkg/provider/vault"
	_ "github.com/external-secrets/external-secrets/pkg/provider/webhook"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func main() {
	made, err := sync(context.Background(), os.Stdin)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(made)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// cluster has the Secrets that a provider may read.
type cluster struct {
	client.Client
	secrets map[string]*corev1.Secret
}

func (c cluster) Get(_ context.Context, key client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	into, ok := object.(*corev1.Secret)
	if !ok {
		return fmt.Errorf("%T is not in the manifests", object)
	}
	secret, ok := c.secrets[key.Name]
	if !ok {
		return fmt.Errorf("the Secret %s is not in the manifests", key.Name)
	}
	secret.DeepCopyInto(into)
	return nil
}

// sync returns the data of the Secrets that the ExternalSecrets describe.
func sync(ctx context.Context, manifests io.Reader) (map[string]map[string]string, error) {
	kube := cluster{secrets: map[string]*corev1.Secret{}}
	stores := map[string]*esv1.SecretStore{}
	var wanted []*esv1.ExternalSecret
	objects, err := decode(manifests)
	if err != nil {
		return nil, err
	}
	for _, object := range objects {
		switch o := object.(type) {
		case *corev1.Secret:
			kube.secrets[o.Name] = o
		case *esv1.SecretStore:
			stores[o.Name] = o
		case *esv1.ExternalSecret:
			wanted = append(wanted, o)
		default:
			return nil, fmt.Errorf("%T is not for this program", object)
		}
	}
	made := map[string]map[string]string{}
	for _, w := range wanted {
		store, ok := stores[w.Spec.SecretStoreRef.Name]
		if !ok {
			return nil, fmt.Errorf("the SecretStore %s is not in the manifests", w.Spec.SecretStoreRef.Name)
		}
		data, err := dataOf(ctx, kube, store, w)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", w.Name, err)
		}
		made[w.Spec.Target.Name] = data
	}
	return made, nil
}

// decode decodes manifests strictly: an unknown field is an error.
func decode(manifests io.Reader) ([]runtime.Object, error) {
	types := runtime.NewScheme()
	if err := errors.Join(scheme.AddToScheme(types), esv1.AddToScheme(types)); err != nil {
		return nil, err
	}
	decoder := serializer.NewCodecFactory(types, serializer.EnableStrict).UniversalDeserializer()
	documents := yaml.NewYAMLReader(bufio.NewReader(manifests))
	var objects []runtime.Object
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		object, _, err := decoder.Decode(document, nil, nil)
		if err != nil {
			return nil, err
		}
		objects = append(objects, object)
	}
}

func dataOf(ctx context.Context, kube client.Client, store *esv1.SecretStore, wanted *esv1.ExternalSecret) (map[string]string, error) {
	provider, err := esv1.GetProvider(store)
	if err != nil {
		return nil, err
	}
	if _, err := provider.ValidateStore(store); err != nil {
		return nil, err
	}
	secrets, err := provider.NewClient(ctx, store, kube, "default")
	if err != nil {
		return nil, err
	}
	data := map[string][]byte{}
	for _, from := range wanted.Spec.DataFrom {
		all, err := secrets.GetSecretMap(ctx, *from.Extract)
		if err != nil {
			return nil, err
		}
		maps.Copy(data, all)
	}
	for _, d := range wanted.Spec.Data {
		if data[d.SecretKey], err = secrets.GetSecret(ctx, d.RemoteRef); err != nil {
			return nil, err
		}
	}
	if err := secrets.Close(ctx); err != nil {
		return nil, err
	}
	text := map[string]string{}
	for k, v := range data {
		text[k] = string(v)
	}
	return text, nil
}
