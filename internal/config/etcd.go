package config

import (
	"cmp"
	"errors"
	"net/url"
	"strings"

	"github.com/spf13/pflag"
)

// Values of Config.Store.
const (
	StoreEmbedded = "embedded" // in the data folder
	StoreEtcd     = "etcd"     // in an etcd cluster, for several servers
)

// Etcd has the settings of a store in an etcd cluster.
type Etcd struct {
	Endpoints    []string // URLs of its members
	Prefix       string   // of all keys
	CA           string   // "" for the system's certificate authorities
	Cert, Key    string   // "" for no client certificate
	Username     string   // "" for none
	PasswordFile string
	Compact      string // CompactOn or CompactOff: remove etcd's history
}

// DefaultEtcdPrefix is the default of Etcd.Prefix.
const DefaultEtcdPrefix = "/fluxkeep/"

// Values of Etcd.Compact.
const (
	CompactOn  = "on"
	CompactOff = "off"
)

func (c *Config) addStoreFlags(fs *pflag.FlagSet) {
	e := &c.Etcd
	fs.Var(newChoice(&c.Store, StoreEmbedded, StoreEmbedded, StoreEtcd), "store", "`where` the data is: embedded, in the data folder, or etcd, where several servers share it")
	fs.Var((*endpoints)(&e.Endpoints), "etcd-endpoints", "`URLs` of the members of the etcd cluster, separated by commas")
	fs.StringVar(&e.Prefix, "etcd-prefix", DefaultEtcdPrefix, "`prefix` of all keys in etcd")
	fs.StringVar(&e.CA, "etcd-ca", "", "`file` with the certificate authorities of etcd's certificates (default the system's)")
	fs.StringVar(&e.Cert, "etcd-cert", "", "`file` with the client certificate for etcd, in PEM")
	fs.StringVar(&e.Key, "etcd-key", "", "`file` with the client certificate's key, in PEM")
	fs.StringVar(&e.Username, "etcd-username", "", "etcd `user`, if it isn't the name in the client certificate")
	fs.StringVar(&e.PasswordFile, "etcd-password-file", "", "`file` with the etcd user's password")
	fs.Var(newChoice(&e.Compact, CompactOn, CompactOn, CompactOff), "etcd-compact", "remove etcd's history that is older than 5 minutes, for the whole cluster: `on` or off")
}

// StoreFlags are the names of the flags that say where the data is.
var StoreFlags = []string{
	"store", "etcd-endpoints", "etcd-prefix", "etcd-ca", "etcd-cert", "etcd-key", "etcd-username", "etcd-password-file", "etcd-compact",
}

func (c *Config) checkStore() error {
	e := &c.Etcd
	if c.Store != StoreEtcd {
		for _, setting := range StoreFlags[1:] {
			if f := c.flags.Lookup(setting); f.Value.String() != f.DefValue {
				return c.wrong(setting, "is only for --store etcd")
			}
		}
		return nil
	}
	switch {
	case len(e.Endpoints) == 0:
		return c.wrong("etcd-endpoints", "is required with --store etcd")
	case strings.Trim(e.Prefix, "/") == "":
		return c.wrong("etcd-prefix", "must not be empty: servers share what is under it")
	}
	if err := cmp.Or(c.checkPair("etcd-cert", "etcd-key"), c.checkPair("etcd-username", "etcd-password-file")); err != nil {
		return err
	}
	secure := strings.HasPrefix(e.Endpoints[0], "https:")
	for _, endpoint := range e.Endpoints {
		if strings.Contains(endpoint, "@") {
			return c.wrong("etcd-endpoints", "must not contain a user or a password")
		}
		if strings.HasPrefix(endpoint, "https:") != secure {
			return c.wrong("etcd-endpoints", "must be all https or all http")
		}
	}
	for _, setting := range []string{"etcd-ca", "etcd-cert"} {
		if !secure && c.given(setting) {
			return c.wrong(setting, "is only for endpoints that start with https://")
		}
	}
	return nil
}

// endpoints is a list of URLs.
type endpoints []string

func (e *endpoints) Type() string   { return "URLs" }
func (e *endpoints) String() string { return strings.Join(*e, ",") }

func (e *endpoints) Set(s string) error {
	if strings.Contains(s, "@") {
		*e = endpoints{s} // for checkStore to refuse: an error here would show the password
		return nil
	}
	var read endpoints
	for text := range strings.SplitSeq(s, ",") {
		text = strings.TrimSuffix(strings.TrimSpace(text), "/")
		if text == "" {
			continue
		}
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.Path != "" || u.RawQuery != "" {
			return errors.New("must be URLs such as https://10.0.0.1:2379, separated by commas")
		}
		read = append(read, text)
	}
	*e = read
	return nil
}
