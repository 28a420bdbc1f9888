package etcdstore

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/grpc"
)

// Options are the settings of a store.
type Options struct {
	// Endpoints are the addresses of the cluster's members: URLs with the
	// scheme http or https. The store tries them in this order.
	Endpoints []string

	// TLS is the configuration for https endpoints. Default: the system's
	// certificate authorities, and no client certificate.
	TLS *tls.Config

	// Username and Password authenticate to etcd, if Username is not empty.
	Username, Password string

	// Prefix is the prefix of all keys.
	Prefix string

	// Dir is the folder for the copy. It is created if it does not exist, and
	// belongs to this store alone.
	Dir string

	// Server describes this server to the others.
	Server Server

	// Existing refuses to create the store: Open returns ErrNoStore if there is
	// nothing under the prefix.
	Existing bool

	// Logger gets messages for the operator. Default: nothing is logged.
	Logger *slog.Logger

	// Tests set these.
	timing timing
	omit   omissions
	fs     vfs.FS
	dial   []grpc.DialOption
}

// omissions are protections that tests disable to show that they are needed.
type omissions struct {
	compare bool // of the commit key
	empty   bool // confirming groups that change nothing
	next    bool // the next read, instead of the one under way, for a View
	doubt   bool // looking up a change whose answer was lost
	spans   bool // keeping other changes away from chunks that are not moved yet
	chunks  bool // showing a large change all at once
}

// Server describes a server to the others.
type Server struct {
	// ID identifies the server, and is stored in its data folder. A second
	// server with the same ID is refused while the first runs.
	ID string `json:"id"`
	// Name, Version and Address are for people.
	Name    string `json:"name,omitempty"`
	Version string `json:"version,omitempty"`
	Address string `json:"address,omitempty"`
}

func (o Options) withDefaults() (Options, error) {
	if len(o.Endpoints) == 0 {
		return o, errors.New("no etcd endpoints")
	}
	if o.Prefix == "" || o.Dir == "" || o.Server.ID == "" {
		return o, errors.New("a store on etcd needs a prefix, a folder and a server ID")
	}
	if !strings.HasSuffix(o.Prefix, "/") {
		o.Prefix += "/"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.fs == nil {
		o.fs = vfs.Default
	}
	if o.timing == (timing{}) {
		o.timing = defaultTiming
	}
	return o, nil
}
