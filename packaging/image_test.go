package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// readImage returns the image for this machine from a layout's tar file.
func readImage(t testing.TB, path string) v1.Image {
	t.Helper()
	dir := t.TempDir()
	must(t, "tar", "-C", dir, "-xf", path)
	all, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(all); err != nil {
		t.Errorf("the image is not valid: %v", err)
	}
	top, err := all.IndexManifest()
	if err != nil || len(top.Manifests) != 1 {
		t.Fatalf("%v, %v", top, err)
	}
	index, err := all.ImageIndex(top.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range m.Manifests {
		if d.Platform != nil && d.Platform.OS == host.os && d.Platform.Architecture == host.arch {
			image, err := index.Image(d.Digest)
			if err != nil {
				t.Fatal(err)
			}
			return image
		}
	}
	t.Fatalf("there is no image for %s among %v", host, m.Manifests)
	return nil
}

// unpack writes an image's files to a folder.
func unpack(t testing.TB, image v1.Image, root string) {
	t.Helper()
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		r, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		files := tar.NewReader(r)
		for {
			h, err := files.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(root, h.Name)
			if h.Typeflag == tar.TypeDir {
				err = os.Mkdir(path, h.FileInfo().Mode())
			} else {
				content, rerr := io.ReadAll(files)
				err = errors.Join(rerr, os.WriteFile(path, content, h.FileInfo().Mode().Perm()))
			}
			if err == nil && os.Getuid() == 0 {
				err = os.Chown(path, h.Uid, h.Gid)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		_ = r.Close() // everything was read
	}
}

// TestImage runs the image as a container engine does: its entry point and its
// environment, as its user, in its files alone.
func TestImage(t *testing.T) {
	built(t)
	image := readImage(t, one(t, packed(t, "1.2.3"), "*-oci.tar"))
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c := config.Config
	if c.User != "65532:65532" || len(c.Volumes) != 1 || c.Healthcheck == nil || c.Labels["org.opencontainers.image.version"] != "1.2.3" {
		b, _ := json.Marshal(c) // for the message
		t.Errorf("its configuration is %s", b)
	}
	if os.Getuid() != 0 {
		t.Skip("only root can run an image's files")
	}
	root := t.TempDir()
	if err := os.Chmod(filepath.Dir(root), 0o755); err != nil { // the container's user must get there
		t.Fatal(err)
	}
	unpack(t, image, root)
	in := func(address string, args ...string) *exec.Cmd {
		cmd := exec.Command(c.Entrypoint[0], args...)
		cmd.Dir = c.WorkingDir
		cmd.Env = append([]string{}, c.Env...)
		cmd.Env = append(cmd.Env, "FLUXKEEP_HTTP_BIND_ADDRESS="+address)
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: imageUser, Gid: imageUser}}
		return cmd
	}
	address := ""
	s := serve(t, func(a string) *exec.Cmd { address = a; return in(a, c.Cmd...) })
	if c.Healthcheck.Test[0] != "CMD" || c.Healthcheck.Test[1] != c.Entrypoint[0] {
		t.Fatalf("the health check is %q", c.Healthcheck.Test)
	}
	if out, err := in(address, c.Healthcheck.Test[2:]...).CombinedOutput(); err != nil || !bytes.HasPrefix(out, []byte("healthy")) {
		t.Errorf("the health check fails: %v %s", err, out)
	}
	home := t.TempDir()
	client(t, s, home, "correct horse battery", "setup", "--username", "admin", "--org", "acme")
	client(t, s, home, "s3cret", "secret", "set", "db_password")
	s.stop(t)
	if out, err := in(address, c.Healthcheck.Test[2:]...).CombinedOutput(); err == nil {
		t.Errorf("the health check of a stopped server says %s", out)
	}
	// Nothing was written but data.
	err = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path, root)
		if info, ierr := d.Info(); ierr == nil && info.Sys().(*syscall.Stat_t).Uid == imageUser && !strings.HasPrefix(name, "/data") {
			t.Errorf("the container's user owns %s", name)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(root, "data", "keyset.json")); err != nil {
		t.Error(err)
	}
}
