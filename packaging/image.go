package main

import (
	"bytes"
	"encoding/pem"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// imageUser is the user and the group in the container, the one that distroless
// images call nonroot.
const imageUser = 65532

// writeImage writes an image for several architectures as a tar file with an OCI
// layout, which podman, skopeo, crane and docker can load.
func (r *release) writeImage(path string, programs []program) error {
	dir, err := os.MkdirTemp("", "fluxkeep-image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, p := range programs {
		image, err := r.image(p)
		if err != nil {
			return err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        image,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: p.os, Architecture: p.arch}},
		})
	}
	all := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{
		Add:        index,
		Descriptor: v1.Descriptor{Annotations: map[string]string{"org.opencontainers.image.ref.name": r.version}},
	})
	if _, err := layout.Write(dir, all); err != nil {
		return err
	}
	return createFile(path, func(w io.Writer) error { return r.tarFolder(w, dir) })
}

// image makes the image for one architecture: the program, the certificates of
// public authorities, which key management services need, and nothing else.
func (r *release) image(p program) (v1.Image, error) {
	content, err := os.ReadFile(p.path)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := r.writeRoot(&b, content); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(
		func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer),
	)
	if err != nil {
		return nil, err
	}
	base := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	base = mutate.ConfigMediaType(base, types.OCIConfigJSON)
	image, err := mutate.Append(base, mutate.Addendum{
		Layer: layer, History: v1.History{CreatedBy: "fluxkeep " + r.version, Created: v1.Time{Time: r.time}},
	})
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = p.os, p.arch, v1.Time{Time: r.time}
	config.Config = v1.Config{
		User:         "65532:65532",
		Entrypoint:   []string{"/usr/bin/fluxkeep"},
		Cmd:          []string{"serve"},
		Env:          []string{"FLUXKEEP_DATA_DIR=/data", "FLUXKEEP_HTTP_BIND_ADDRESS=:8086"},
		ExposedPorts: map[string]struct{}{"8086/tcp": {}},
		Volumes:      map[string]struct{}{"/data": {}},
		WorkingDir:   "/data",
		Healthcheck: &v1.HealthConfig{
			Test: []string{"CMD", "/usr/bin/fluxkeep", "health"}, Interval: 10 * time.Second, Timeout: 6 * time.Second, StartPeriod: 30 * time.Second, Retries: 3,
		},
		Labels: map[string]string{
			"org.opencontainers.image.title":    "Fluxkeep",
			"org.opencontainers.image.version":  r.version,
			"org.opencontainers.image.revision": r.commit,
			"org.opencontainers.image.licenses": "MIT",
		},
	}
	return mutate.ConfigFile(image, config)
}

// writeRoot writes the file system of the image.
func (r *release) writeRoot(w io.Writer, program []byte) error {
	var roots bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue // a PEM file can't say what it is restricted to
		}
		if err := pem.Encode(&roots, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
			return err
		}
	}
	return writeTar(w, []file{
		{"data/", nil, 0o700, imageUser},
		{"etc/", nil, 0o755, 0},
		{"etc/group", []byte("root:x:0:\nfluxkeep:x:65532:\n"), 0o644, 0},
		{"etc/passwd", []byte("root:x:0:0:root:/root:/sbin/nologin\nfluxkeep:x:65532:65532:Fluxkeep:/data:/sbin/nologin\n"), 0o644, 0},
		{"etc/ssl/", nil, 0o755, 0},
		{"etc/ssl/certs/", nil, 0o755, 0},
		{"etc/ssl/certs/ca-certificates.crt", roots.Bytes(), 0o644, 0},
		{"usr/", nil, 0o755, 0},
		{"usr/bin/", nil, 0o755, 0},
		{"usr/bin/fluxkeep", program, 0o755, 0},
	}, r.time)
}

// tarFolder writes all files of a folder, in the order of their names.
func (r *release) tarFolder(w io.Writer, dir string) error {
	var list []file
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		list = append(list, file{name: filepath.ToSlash(name), content: content, mode: 0o644})
		return err
	})
	if err != nil {
		return err
	}
	return writeTar(w, list, r.time)
}
