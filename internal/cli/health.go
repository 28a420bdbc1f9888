package cli

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/spf13/cobra"
)

// maxHealth limits the response that is read.
const maxHealth = 1 << 20

// healthSettings says where the command looks for the server: it knows no profile.
const healthSettings = "give the settings that the server has: --config, --http-bind-address or --health-address"

func newHealthCommand() *cobra.Command {
	c := config.New()
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Check that the server on this machine is ready",
		Long: `Check that the server on this machine is ready, and exit with status 0 if it is and 1 if it
isn't. The command is for containers, Kubernetes, systemd and scripts. It needs no token.

It reads the same settings as "fluxkeep serve", from flags, FLUXKEEP_… variables and the
configuration file, to find the server's address: --health-address or, without it,
--http-bind-address. It doesn't verify the server's TLS certificate, because that is
rarely valid for a loopback address and nothing confidential is sent.`,
		Example: `  fluxkeep health
  fluxkeep health --config /etc/fluxkeep/fluxkeep.toml
  until fluxkeep health; do sleep 1; done`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.Load(os.Environ()); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return checkHealth(ctx, cmd.OutOrStdout(), localHealthURL(c))
		},
	}
	fs := cmd.Flags()
	fs.DurationVar(&timeout, "timeout", 5*time.Second, "`time` to wait for the response")
	addServerFlags(fs, c, "config", "http-bind-address", "health-address", "tls-cert", "tls-key", "data-dir")
	return cmd
}

// localHealthURL returns the URL at which a server with these settings reports
// its health.
func localHealthURL(c *config.Config) string {
	scheme, address := "http", c.HealthAddress
	if address == "" {
		address = c.BindAddress
		if c.TLSCert != "" {
			scheme = "https"
		}
	}
	return healthURL(scheme + "://" + reachable(address))
}

// reachable returns an address at which a listener can be reached from this
// machine.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen // which config.Load has refused
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip.Is6() && !ip.Is4In6() {
			host = "::1"
		}
	}
	return net.JoinHostPort(host, port)
}

// checkHealth prints the server's message if it is ready; otherwise the error
// has it.
func checkHealth(ctx context.Context, w io.Writer, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	web := &http.Client{
		Transport: &http.Transport{
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // see the command's help
			DisableKeepAlives: true,
			Proxy:             nil, // the server is on this machine
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := web.Do(req)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return withHint(err, "is the server running? if so, %s", healthSettings)
	}
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var health struct{ Name, Message string }
	err = json.NewDecoder(io.LimitReader(res.Body, maxHealth)).Decode(&health)
	switch {
	case err != nil || health.Name != "fluxkeep":
		return withHint(fmt.Errorf("%s is not a Fluxkeep server (status %d)", url, res.StatusCode),
			"%s", healthSettings)
	case res.StatusCode != http.StatusOK:
		return errors.New("the server is not ready: " + health.Message)
	}
	_, err = fmt.Fprintln(w, oneLine(health.Message))
	return err
}
