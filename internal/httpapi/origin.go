package httpapi

import "context"

// Origin says where a request came from.
type Origin struct {
	Remote  string // the client's address, without port
	Network string // identifies the client in limits, see Network
	Request string // the request's ID
	Trace   string // the trace ID, "" when the client sent none
}

// WithOrigin adds an exchange with this origin to a request's context.
func WithOrigin(ctx context.Context, o *Origin) context.Context {
	return WithExchange(ctx, &Exchange{Origin: *o})
}

// OriginOf returns the origin of the exchange in the context, or a zero
// Origin.
func OriginOf(ctx context.Context) Origin { return ExchangeOf(ctx).Origin }
