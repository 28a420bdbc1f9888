package web

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"mime"
	"net/http"
	"path"
	"strconv"
)

//go:embed assets
var assetFiles embed.FS

// assets are the style sheet, the script and the icon. Their path contains a hash of
// all of them, so browsers may store them forever.
type assets struct {
	hash  string
	files map[string]asset
}

type asset struct {
	kind          string
	plain, zipped []byte
}

func loadAssets() (*assets, error) {
	entries, err := assetFiles.ReadDir("assets")
	if err != nil {
		return nil, fmt.Errorf("read the web page's assets: %w", err)
	}
	a := &assets{files: map[string]asset{}}
	hash := sha256.New()
	for _, e := range entries {
		b, err := assetFiles.ReadFile("assets/" + e.Name())
		if err != nil {
			return nil, fmt.Errorf("read the web page's assets: %w", err)
		}
		fmt.Fprintf(hash, "%s %d\n%s", e.Name(), len(b), b)
		a.files[e.Name()] = asset{kindOf(e.Name()), b, compress(b)}
	}
	a.hash = hex.EncodeToString(hash.Sum(nil)[:8])
	return a, nil
}

// kindOf returns a file's type without asking the system's tables.
func kindOf(name string) string {
	switch path.Ext(name) {
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return mime.TypeByExtension(path.Ext(name))
}

// path returns a function that returns the path of a file.
func (a *assets) path(base string) func(file string) (string, error) {
	return func(file string) (string, error) {
		if _, ok := a.files[file]; !ok {
			return "", fmt.Errorf("there is no asset %q", file)
		}
		return base + "/ui/assets/" + a.hash + "/" + file, nil
	}
}

func (c *call) serveAsset() error {
	file, ok := c.assets.files[c.r.PathValue("file")]
	if !ok || c.r.PathValue("hash") != c.assets.hash {
		return errMissing
	}
	header := c.w.Header()
	header.Set("Cache-Control", "public, max-age=31536000, immutable")
	header.Set("Content-Type", file.kind)
	header.Set("Vary", "Accept-Encoding")
	body := file.plain
	if acceptsGzip(c.r) {
		header.Set("Content-Encoding", "gzip")
		body = file.zipped
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	c.w.WriteHeader(http.StatusOK)
	c.w.Write(body) // fails if the connection is broken, so there is nobody to tell
	return nil
}
