package etcdstore

import (
	"errors"
	"fmt"
	"strings"

	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/engine"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var (
	// ErrRestored means that etcd has lost commits that this server has seen,
	// because it was restored from a backup.
	ErrRestored = fmt.Errorf("%w: etcd was restored to an older state: check it, then run `fluxkeep cluster accept-restored`", store.ErrUnavailable)

	// ErrNotAStore means that there is something else under the prefix.
	ErrNotAStore = errors.New("the etcd prefix contains something other than a Fluxkeep store: choose another prefix")

	// ErrNoStore means that there is nothing under the prefix.
	ErrNoStore = errors.New("there is no store under the etcd prefix: check the etcd endpoints and prefix, or use a new data folder for a new store")

	// ErrNewerFormat means that a newer Fluxkeep has written the store.
	ErrNewerFormat = errors.New("the store in etcd was written by a newer version of Fluxkeep: upgrade this server")

	// ErrOtherStore means that the folder has the copy of another store.
	ErrOtherStore = errors.New("the folder belongs to another store than the one in etcd: check the etcd endpoints and prefix, or use a new data folder")

	// ErrDuplicateServer means that a server with the same ID is running.
	ErrDuplicateServer = errors.New("another server with a copy of this data folder is running: each server needs a data folder of its own")

	// ErrOldEtcd means that etcd has bugs that break the store's guarantees.
	ErrOldEtcd = errors.New("etcd is too old: upgrade it to 3.5.28, 3.6.9, 3.7.0 or newer")
)

var (
	errCompacted = errors.New("etcd: history has been compacted")
	errNoSpace   = fmt.Errorf("%w: etcd's space quota is used up, or nearly so: compact and defragment etcd, or raise the quota, and disarm the alarm, if there is one", store.ErrFull)
)

// unanswered reports whether a request may be under way still, or was not made
// for a reason that may be gone at another member.
func unanswered(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Aborted, codes.Internal, codes.Unknown:
		return true
	case codes.ResourceExhausted:
		return !isError(err, rpctypes.ErrGRPCNoSpace)
	case codes.FailedPrecondition:
		return isError(err, rpctypes.ErrGRPCNotLeader) || isError(err, rpctypes.ErrGRPCNotSupportedForLearner)
	}
	return false
}

// badToken reports whether a new token may help.
func badToken(err error) bool {
	return isError(err, rpctypes.ErrGRPCInvalidAuthToken) || isError(err, rpctypes.ErrGRPCAuthOldRevision) ||
		isError(err, rpctypes.ErrGRPCUserEmpty)
}

func isError(err, want error) bool {
	return status.Code(err) == status.Code(want) && status.Convert(err).Message() == status.Convert(want).Message()
}

// translate returns an error of the store for an error of etcd.
func translate(err error) error {
	switch {
	case err == nil:
		return nil
	case isError(err, rpctypes.ErrGRPCCompacted):
		return errCompacted
	case isError(err, rpctypes.ErrGRPCNoSpace):
		return errNoSpace
	}
	if s, ok := status.FromError(err); ok {
		err = errors.New(strings.TrimPrefix(s.Message(), "etcdserver: "))
	}
	if todo := advice(err); todo != "" {
		err = fmt.Errorf("%w: %s", err, todo)
	}
	return engine.Unavailable(fmt.Errorf("etcd: %w", err))
}

// advice returns what an operator can do about an error of etcd, or "" if that is not
// known.
func advice(err error) string {
	for _, known := range []struct{ part, todo string }{
		{"authentication failed, invalid user ID or password", "check the etcd user name and the password file"},
		{"user name is empty", "etcd requires a user name and a password, or a client certificate"},
		{"permission denied", "give the etcd user read and write permission for the etcd prefix"},
		{"tls: failed to verify certificate", "check the etcd CA file, and that the certificate is for the endpoint's host"},
		{"remote error: tls:", "check the client certificate for etcd"},
		{"error reading server preface: EOF", "if etcd uses TLS, its endpoints start with https://"},
		{"first record does not look like a TLS handshake", "if etcd does not use TLS, its endpoints start with http://"},
		{"Error while dialing", "check the etcd endpoints, and that etcd is running"},
	} {
		if strings.Contains(err.Error(), known.part) {
			return known.todo
		}
	}
	return ""
}
