package influxv2

import (
	"io"

	"github.com/fluxkeep/fluxkeep/internal/httpapi"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// StatusOf exposes the status of a code.
func StatusOf(code string) int { return statusOf(keep.Code(code)) }

// Codes returns all codes.
func Codes() []keep.Code {
	return []keep.Code{
		keep.CodeInternal, codeNotImplemented, keep.CodeNotFound, keep.CodeConflict, keep.CodeInvalid,
		keep.CodeUnprocessable, keep.CodeEmptyValue, keep.CodeUnavailable, keep.CodeForbidden, keep.CodeTooMany,
		keep.CodeUnauthorized, CodeMethodNotAllowed, keep.CodeTooLarge, codeMediaType, codePrecondition,
	}
}

// DecodeSecrets exposes the decoder of PATCH secrets.
func DecodeSecrets(body []byte) (map[string]string, error) { return decodeSecrets(body) }

// DecodeNames exposes the decoder of POST secrets/delete.
func DecodeNames(body []byte) ([]string, error) { return decodeNames(body) }

// ReadObject reads an object from a reader, as imports do.
func ReadObject(r io.Reader, fn func(string, *string) error) error {
	return newObjectReader(r).each(fn)
}

// ParseObject reads an object in memory.
func ParseObject(body []byte, fn func(string, *string) error) error {
	return newObject(body).each(fn)
}

// AppendSecretList and AppendSecrets expose the hand-written encoders.
func AppendSecretList(org keep.ID, names []string) []byte {
	return whole(func(send httpapi.Sender) []byte { return appendSecretList(nil, send, org, names) })
}

func AppendSecrets(secrets []keep.Secret) []byte {
	return whole(func(send httpapi.Sender) []byte { return appendSecrets(nil, send, secrets) })
}

// whole joins what fill sends and returns.
func whole(fill func(httpapi.Sender) []byte) []byte {
	var all []byte
	last := fill(func(b []byte) []byte {
		all = append(all, b...)
		return b[:0]
	})
	return append(all, last...)
}

// TokenIn exposes the parser of the Authorization header.
func TokenIn(header string) (string, bool) { return tokenIn(header) }

// ParseETag exposes the parser of ETags.
func ParseETag(s string) (tag, view string, ok bool) { return parseETag(s) }

// SetMaxImport lowers the limit on imports for tests.
func (h *Handler) SetMaxImport(n int64) { h.maxImport = n }
