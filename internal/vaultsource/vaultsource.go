// Package vaultsource reads documents from a KV version 2 secrets engine of a
// Vault or an OpenBao.
//
// It only reads. Nothing here knows about Fluxkeep's organizations. Errors name
// paths and statuses, never values or the token.
package vaultsource

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Source is a secrets engine.
type Source struct {
	Address   string // such as https://vault.example.com:8200
	Token     string
	Namespace string // "" for none
	Mount     string // such as secret
	HTTP      *http.Client
}

// Document is a version of a document.
type Document struct {
	Version uint64
	Created time.Time
	Secrets map[string]string
	// Encoded lists the names whose values are not strings in Vault. Here they are
	// JSON.
	Encoded []string
}

const (
	// maxAnswer limits the size of an answer.
	maxAnswer = 64 << 20
	// maxPaths and maxPath limit the documents and folders, and the length of their
	// paths. A server could list folders in folders without end.
	maxPaths = 1 << 20
	maxPath  = 4 << 10
)

var (
	errNotFound = errors.New("not found")
	errTooMany  = fmt.Errorf("the engine has more than %d documents and folders, or paths of more than %d bytes", maxPaths, maxPath)
	// ErrDenied means that the token lacks a permission, or is unknown.
	ErrDenied = errors.New("permission denied")
)

// Paths returns the paths of all documents, in byte order.
func (s *Source) Paths(ctx context.Context) ([]string, error) {
	var out []string
	folders := []string{""}
	for i := 0; i < len(folders); i++ {
		folder := folders[i]
		var answer struct {
			Data struct {
				Keys []string `json:"keys"`
			} `json:"data"`
		}
		err := s.get(ctx, "LIST", s.path("metadata", folder), nil, &answer)
		if errors.Is(err, errNotFound) { // how Vault says that a folder is empty
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list %s/%s: %w", s.Mount, folder, err)
		}
		for _, key := range answer.Data.Keys {
			if below, ok := strings.CutSuffix(key, "/"); ok && below != "" {
				folders = append(folders, join(folder, below))
			} else {
				out = append(out, join(folder, key))
			}
			if len(folders)+len(out) > maxPaths || len(folder)+len(key) > maxPath {
				return nil, errTooMany
			}
		}
	}
	slices.Sort(out)
	return out, nil
}

// Read returns a document's stored versions, oldest first, but no more than most
// of them. A version that is deleted or destroyed has no Secrets. A document
// without versions returns none.
func (s *Source) Read(ctx context.Context, path string, most int) ([]Document, error) {
	var answer struct {
		Data struct {
			Versions map[string]struct {
				Created time.Time `json:"created_time"`
			} `json:"versions"`
		} `json:"data"`
	}
	err := s.get(ctx, http.MethodGet, s.path("metadata", path), nil, &answer)
	if err != nil && !errors.Is(err, errNotFound) {
		return nil, fmt.Errorf("read the versions of %s/%s: %w", s.Mount, path, err)
	}
	var out []Document
	for number, v := range answer.Data.Versions {
		n, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read the versions of %s/%s: %w", s.Mount, path, errAnswer)
		}
		out = append(out, Document{Version: n, Created: v.Created})
	}
	slices.SortFunc(out, func(a, b Document) int { return cmp.Compare(a.Version, b.Version) })
	out = out[max(0, len(out)-most):]
	for i := range out {
		if err := s.readVersion(ctx, path, &out[i]); err != nil {
			return nil, fmt.Errorf("read version %d of %s/%s: %w", out[i].Version, s.Mount, path, err)
		}
	}
	return out, nil
}

func (s *Source) readVersion(ctx context.Context, path string, d *Document) error {
	var answer struct {
		Data struct {
			Data map[string]json.RawMessage `json:"data"`
		} `json:"data"`
	}
	query := url.Values{"version": {strconv.FormatUint(d.Version, 10)}}
	err := s.get(ctx, http.MethodGet, s.path("data", path), query, &answer)
	if errors.Is(err, errNotFound) { // deleted or destroyed
		return nil
	}
	if err != nil {
		return err
	}
	d.Secrets = make(map[string]string, len(answer.Data.Data))
	for _, name := range slices.Sorted(maps.Keys(answer.Data.Data)) {
		raw := answer.Data.Data[name]
		var text string
		if raw[0] != '"' || json.Unmarshal(raw, &text) != nil {
			var b bytes.Buffer
			if err := json.Compact(&b, raw); err != nil {
				return errAnswer
			}
			text = b.String()
			d.Encoded = append(d.Encoded, name)
		}
		d.Secrets[name] = text
	}
	return nil
}

// Cluster returns what identifies the server: the ID of its cluster or, without
// one, its address.
func (s *Source) Cluster(ctx context.Context) (string, error) {
	var answer struct {
		Cluster string `json:"cluster_id"`
	}
	query := url.Values{"standbyok": {"true"}, "perfstandbyok": {"true"}}
	if err := s.get(ctx, http.MethodGet, "/v1/sys/health", query, &answer); err != nil {
		return "", fmt.Errorf("ask the server for its ID: %w", err)
	}
	if answer.Cluster == "" {
		return s.Address, nil
	}
	return answer.Cluster, nil
}

func join(folder, name string) string {
	if folder == "" {
		return name
	}
	return folder + "/" + name
}

// path returns the escaped path of a document or folder.
func (s *Source) path(kind, path string) string {
	segments := slices.Concat([]string{"v1"}, strings.Split(strings.Trim(s.Mount, "/"), "/"), []string{kind})
	if path != "" {
		segments = append(segments, strings.Split(path, "/")...)
	}
	for i := range segments {
		segments[i] = url.PathEscape(segments[i])
	}
	return "/" + strings.Join(segments, "/")
}

var errAnswer = errors.New("the answer is not that of a KV version 2 secrets engine")

func (s *Source) get(ctx context.Context, method, path string, query url.Values, out any) error {
	u, err := url.Parse(strings.TrimRight(s.Address, "/") + path)
	if err != nil || u.Host == "" || u.User != nil {
		return errors.New("the server's address is invalid; use the form https://host:port")
	}
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return err
	}
	req.Header.Set("X-Vault-Token", s.Token)
	req.Header.Set("X-Vault-Request", "true")
	if s.Namespace != "" {
		req.Header.Set("X-Vault-Namespace", s.Namespace)
	}
	c := *s.HTTP
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // the token is for this host
	resp, err := c.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the path
		}
		return fmt.Errorf("request to %s: %w", s.Address, err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return errNotFound
	case http.StatusForbidden, http.StatusUnauthorized:
		return ErrDenied
	default:
		return fmt.Errorf("the server at %s returned %d %s", s.Address, resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return errAnswer // the decoder's error can quote values
	}
	return nil
}
