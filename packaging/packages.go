package main

import (
	"bytes"
	"compress/gzip"
	"embed"
	"io"
	"os"
	"path/filepath"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb" // registers itself
	nfpmfiles "github.com/goreleaser/nfpm/v2/files"
	_ "github.com/goreleaser/nfpm/v2/rpm" // registers itself
)

// files has the systemd unit, the logrotate file and the scripts of packages.
//
//go:embed files
var files embed.FS

// packageFile is a file that a package installs.
type packageFile struct {
	path    string
	content []byte
	mode    os.FileMode
	config  bool // stays as the administrator left it
}

// writePackage writes a Debian or RPM package.
func (r *release) writePackage(dist, format string, p program, docs *documents) error {
	stage, err := os.MkdirTemp("", "fluxkeep-package-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(stage)
	installed, err := r.packageFiles(format, docs)
	if err != nil {
		return err
	}
	info := nfpm.WithDefaults(&nfpm.Info{
		Name:            "fluxkeep",
		Arch:            p.arch + p.arm,
		Platform:        "linux",
		Version:         r.version,
		Release:         "1",
		Section:         "admin",
		Priority:        "optional",
		Maintainer:      "The Fluxkeep authors <fluxkeep@localhost>",
		Description:     "Secrets server for InfluxDB\nFluxkeep stores secrets encrypted, versioned and audited, and hands them to influxd,\nTelegraf and other programs. It speaks InfluxDB's and Vault's APIs.",
		License:         "MIT",
		MTime:           r.time,
		DisableGlobbing: true,
		Overridables: nfpm.Overridables{
			Umask:      0o022,
			Recommends: []string{"logrotate"},
			RPM:        nfpm.RPM{BuildHost: "localhost", Summary: "Secrets server for InfluxDB"},
		},
	})
	if format == "deb" {
		info.Depends = []string{"passwd"}
	} else {
		info.Depends = []string{"shadow-utils"}
	}
	info.Contents = append(info.Contents,
		&nfpmfiles.Content{Source: p.path, Destination: "/usr/bin/fluxkeep", FileInfo: &nfpmfiles.ContentFileInfo{Mode: 0o755, MTime: r.time}},
		&nfpmfiles.Content{Destination: "/etc/fluxkeep", Type: nfpmfiles.TypeDir, FileInfo: &nfpmfiles.ContentFileInfo{Mode: 0o755, MTime: r.time}},
	)
	for _, f := range installed {
		source := filepath.Join(stage, f.path)
		if err := os.MkdirAll(filepath.Dir(source), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(source, f.content, 0o600); err != nil {
			return err
		}
		c := &nfpmfiles.Content{Source: source, Destination: f.path, FileInfo: &nfpmfiles.ContentFileInfo{Mode: f.mode, MTime: r.time}}
		if f.config {
			c.Type = nfpmfiles.TypeConfigNoReplace
		}
		info.Contents = append(info.Contents, c)
	}
	for name, into := range map[string]*string{
		"postinst": &info.Scripts.PostInstall, "prerm": &info.Scripts.PreRemove, "postrm": &info.Scripts.PostRemove,
	} {
		script, err := files.ReadFile("files/" + name + ".sh")
		if err != nil {
			return err
		}
		*into = filepath.Join(stage, name)
		if err := os.WriteFile(*into, script, 0o700); err != nil {
			return err
		}
	}
	packager, err := nfpm.Get(format)
	if err != nil {
		return err
	}
	return createFile(filepath.Join(dist, packager.ConventionalFileName(info)), func(w io.Writer) error { return packager.Package(info, w) })
}

// packageFiles lists the files of a package besides the program.
func (r *release) packageFiles(format string, docs *documents) ([]packageFile, error) {
	zsh := "/usr/share/zsh/site-functions/_fluxkeep"
	if format == "deb" {
		zsh = "/usr/share/zsh/vendor-completions/_fluxkeep"
	}
	completions := map[string]string{
		"fluxkeep.bash": "/usr/share/bash-completion/completions/fluxkeep",
		"_fluxkeep":     zsh,
		"fluxkeep.fish": "/usr/share/fish/vendor_completions.d/fluxkeep.fish",
	}
	list := []packageFile{
		{path: "/etc/fluxkeep/fluxkeep.toml", content: docs.settings, mode: 0o644, config: true},
		{path: "/usr/share/doc/fluxkeep/copyright", content: docs.license, mode: 0o644},
		{path: "/usr/share/doc/fluxkeep/README.md", content: docs.readme, mode: 0o644},
		{path: "/usr/share/doc/fluxkeep/CHANGELOG.md", content: docs.changelog, mode: 0o644},
	}
	for path, f := range map[string]packageFile{
		"fluxkeep.service":   {path: "/usr/lib/systemd/system/fluxkeep.service", mode: 0o644},
		"fluxkeep.logrotate": {path: "/etc/logrotate.d/fluxkeep", mode: 0o644, config: true},
	} {
		content, err := files.ReadFile("files/" + path)
		if err != nil {
			return nil, err
		}
		f.content = content
		list = append(list, f)
	}
	for _, script := range docs.completions {
		if path := completions[script.name]; path != "" {
			list = append(list, packageFile{path: path, content: script.content, mode: 0o644})
		}
	}
	for _, page := range docs.manuals {
		var b bytes.Buffer
		z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
		if err == nil {
			_, err = z.Write(page.content)
		}
		if err == nil {
			err = z.Close()
		}
		if err != nil {
			return nil, err
		}
		list = append(list, packageFile{path: "/usr/share/man/man1/" + page.name + ".gz", content: b.Bytes(), mode: 0o644})
	}
	return list, nil
}
