package config

import (
	"net/url"

	"github.com/spf13/pflag"
)

// Settings returns all settings by flag name, for operators to inspect. None
// is secret; credentials in a URL are removed all the same.
func (c *Config) Settings() map[string]any {
	all := map[string]any{}
	c.flags.VisitAll(func(f *pflag.Flag) { all[f.Name] = f.Value.String() })
	all["drop-guard"] = c.DropGuard
	all["max-connections"] = c.MaxConnections
	all["max-connections-per-address"] = c.MaxConnectionsPerAddress
	all["rate-limit"] = c.RateLimit
	all["trace-sample-ratio"] = c.TraceSampleRatio
	for _, address := range []string{"transit-address", "trace-endpoint"} {
		if u, err := url.Parse(all[address].(string)); err == nil && u.User != nil {
			u.User = nil
			all[address] = u.String()
		}
	}
	return all
}
