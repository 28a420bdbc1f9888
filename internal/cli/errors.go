package cli

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"syscall"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/fluxkeep/fluxkeep/internal/cli/process"
	"github.com/fluxkeep/fluxkeep/internal/cli/profile"
	"github.com/fluxkeep/fluxkeep/internal/datadir"
	"github.com/fluxkeep/fluxkeep/internal/seal"
	"github.com/fluxkeep/fluxkeep/internal/secretfile"
)

// hinted is an error with a hint for the user.
type hinted struct {
	err  error
	hint string
}

func (h *hinted) Error() string { return h.err.Error() }
func (h *hinted) Unwrap() error { return h.err }

func withHint(err error, format string, args ...any) error {
	return &hinted{err, fmt.Sprintf(format, args...)}
}

// printError prints an error, the server it came from, and a hint.
func printError(w io.Writer, err error) {
	fmt.Fprintf(w, "fluxkeep: %s\n", oneLine(err.Error()))
	if at, ok := errors.AsType[*serverError](err); ok {
		fmt.Fprintf(w, "server: %s\n", oneLine(at.server.String()))
	}
	if h := hintFor(err); h != "" {
		fmt.Fprintf(w, "hint: %s\n", oneLine(h))
	}
}

// hintFor returns the hint that the command gave, or the default hint for this
// kind of error.
func hintFor(err error) string {
	if h, ok := errors.AsType[*hinted](err); ok {
		return h.hint
	}
	if refused, ok := errors.AsType[*client.Error](err); ok {
		return refusalHint(refused)
	}
	if provider, ok := errors.AsType[*datadir.ProviderError](err); ok {
		if provider.Kind == seal.KindTransit {
			return "no data was changed: check that the server at --transit-address runs and is unsealed, that --transit-key exists, and that the token in --transit-token-file is valid and may encrypt and decrypt with it; then try again"
		}
		return "no data was changed: check that the service can be reached, that the key is enabled, and that the credentials may encrypt and decrypt with it; then try again"
	}
	if unknown, ok := errors.AsType[*profile.UnknownError](err); ok && len(unknown.Names) > 0 {
		return "the profiles are: " + strings.Join(unknown.Names, ", ")
	}
	switch {
	case is[*profile.AmbiguousError](err):
		return "choose one with --active-config NAME or INFLUX_ACTIVE_CONFIG"
	case is[*profile.EmptyError](err):
		return "is the variable set that it comes from? leave the flag out to use the environment or the profile"
	case is[*influxDBError](err):
		return `choose another server with --host or --active-config; "fluxkeep import influxdb" moves an InfluxDB's secrets`
	case is[*process.ClashError](err):
		return "rename one of them, or choose with --only"
	case is[*secretfile.NameError](err):
		return "use --format json or --format yaml, which hold any name"
	case errors.Is(err, syscall.ECONNREFUSED):
		return `is the server running? "fluxkeep serve" starts one; --host, INFLUX_HOST or the profile says where it is`
	case is[*net.DNSError](err):
		return "is the host's name right? --host or INFLUX_HOST says where the server is"
	case is[x509.UnknownAuthorityError](err), is[x509.HostnameError](err), is[x509.CertificateInvalidError](err):
		return "trust the certificate's authority, for one command with SSL_CERT_FILE=FILE; --skip-verify trusts anybody"
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return "the server doesn't use TLS: use http:// instead of https://"
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return "the server did not answer in time: is it reachable? --host or INFLUX_HOST says where it is"
	case errors.Is(err, fs.ErrPermission):
		return "run it as the user who owns the file, or change the file's mode"
	}
	return ""
}

// is reports whether an error is, or wraps, one of type E.
func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func isTimeout(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout()
}

// refusalHint returns the hint for a server's refusal.
func refusalHint(e *client.Error) string {
	switch {
	case e.Code == client.ErrUnauthorized && e.Message == "unauthorized access":
		return "the server does not know the token, or it has expired: see --token, INFLUX_TOKEN and the profiles in ~/.influxdbv2/configs"
	case e.Code == client.ErrUnauthorized && strings.Contains(e.Message, "inactive"):
		return `"fluxkeep token activate ID", with another token, makes it active again`
	case e.Code == client.ErrUnauthorized:
		return `the token lacks the permission: "fluxkeep token create", with a token that has it, creates another`
	case e.Code == client.ErrForbidden && strings.Contains(e.Message, "inactive"):
		return `the token's user is inactive, or was deleted: "fluxkeep user activate NAME", with another user's token, helps only in the first case`
	case e.Code == client.ErrNotFound && (e.Message == "path not found" || strings.HasPrefix(e.Message, "the server returned ")): // Fluxkeep says what was not found
		return "is a Fluxkeep server at that address? --host, INFLUX_HOST or the profile says where it is"
	case e.Code == client.ErrInvalid && strings.Contains(e.Message, "length of 16 bytes"):
		return `"fluxkeep org list", "user list" and "token list" show the IDs`
	case e.Code == client.ErrNotFound && strings.Contains(e.Message, "user"):
		return `"fluxkeep user list" shows the users`
	case e.Code == client.ErrNotFound && strings.Contains(e.Message, "authorization"):
		return `"fluxkeep token list" shows the tokens and their IDs`
	case e.Code == client.ErrNotFound && strings.Contains(e.Message, "version"):
		return `"fluxkeep secret history" shows the stored versions`
	case e.Code == client.ErrNotFound:
		return `"fluxkeep org list" shows the organizations that the token may read`
	case e.Code == client.ErrChanged:
		return "nothing was written: run the command again"
	case e.Code == client.ErrTooManyRequests:
		return "wait a little, then try again"
	case e.Code == client.ErrUnavailable:
		return "try again in a moment; if it goes on, see the server's log"
	case e.Code == client.ErrInternal:
		return "see the server's log, which says more"
	case e.Code == client.ErrConflict && strings.Contains(e.Message, "onboarding"):
		return `the server is already set up: "fluxkeep user", "org" and "token" create more`
	}
	return ""
}
