package httpapi

import "context"

// Origin says where a request came from.
type Origin struct {
	Remote  string // the client's address, without port
	Request string // the request's ID
	Trace   string // the trace ID, "" when the client sent none
}

type originKey struct{}

// WithOrigin puts the origin into a request's context.
func WithOrigin(ctx context.Context, o *Origin) context.Context {
	return context.WithValue(ctx, originKey{}, o)
}

// OriginOf returns what WithOrigin put there, or a zero Origin.
func OriginOf(ctx context.Context) Origin {
	if o, ok := ctx.Value(originKey{}).(*Origin); ok {
		return *o
	}
	return Origin{}
}
