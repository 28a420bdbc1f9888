package main

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// writeArchive writes a program with its documents: a .tar.gz, or a .zip for
// Windows.
func (r *release) writeArchive(dist string, p program, docs *documents) error {
	content, err := os.ReadFile(p.path)
	if err != nil {
		return err
	}
	top := r.fileName(p.target.String())
	files := []file{
		{"fluxkeep" + p.suffix(), content, 0o755, 0},
		{"LICENSE", docs.license, 0o644, 0},
		{"README.md", docs.readme, 0o644, 0},
		{"CHANGELOG.md", docs.changelog, 0o644, 0},
	}
	add := func(folder string, list []file) {
		for _, f := range list {
			f.name = folder + "/" + f.name
			files = append(files, f)
		}
	}
	add("completions", docs.completions)
	add("man", docs.manuals)
	for i := range files {
		files[i].name = top + "/" + files[i].name
	}
	write, name := writeTarGz, top+".tar.gz"
	if p.os == "windows" {
		write, name = writeZip, top+".zip"
	}
	return createFile(filepath.Join(dist, name), func(w io.Writer) error { return write(w, files, r.time) })
}

func createFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	b := bufio.NewWriter(f)
	err = write(b)
	if err == nil {
		err = b.Flush()
	}
	return errors.Join(err, f.Close())
}

func writeTarGz(w io.Writer, files []file, at time.Time) error {
	z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	if err := writeTar(z, files, at); err != nil {
		return err
	}
	return z.Close()
}

// writeTar writes files, and folders for names that end with a slash.
func writeTar(w io.Writer, files []file, at time.Time) error {
	t := tar.NewWriter(w)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: f.mode, Uid: f.owner, Gid: f.owner, Size: int64(len(f.content)), ModTime: at, Format: tar.FormatPAX}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		if _, err := t.Write(f.content); err != nil {
			return err
		}
	}
	return t.Close()
}

func writeZip(w io.Writer, files []file, at time.Time) error {
	z := zip.NewWriter(w)
	for _, f := range files {
		h := &zip.FileHeader{Name: f.name, Method: zip.Deflate, Modified: at}
		h.SetMode(os.FileMode(f.mode))
		to, err := z.CreateHeader(h)
		if err == nil {
			_, err = to.Write(f.content)
		}
		if err != nil {
			return err
		}
	}
	return z.Close()
}

// checksums writes the sums of all other files in a file's folder, in the form of
// sha256sum.
func checksums(path string) error {
	dir := filepath.Dir(path)
	entries, err := os.ReadDir(dir) // sorted
	if err != nil {
		return err
	}
	return createFile(path, func(w io.Writer) error {
		for _, e := range entries {
			b, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err == nil {
				_, err = fmt.Fprintf(w, "%x  %s\n", sha256.Sum256(b), e.Name())
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}
