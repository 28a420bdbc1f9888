package httpapi

import (
	"context"
	"net/netip"
	"strings"
)

// Origin says where a request came from.
type Origin struct {
	Remote  string // the client's address, without port
	Network string // identifies the client in limits, see Network
	Request string // the request's ID
	Trace   string // the trace ID, "" when the client sent none
}

// OriginOf returns the origin of the exchange in the context, or a zero
// Origin.
func OriginOf(ctx context.Context) Origin { return ExchangeOf(ctx).Origin }

// Network returns the part of an address that identifies a client: the whole
// IPv4 address, or the /64 network of an IPv6 address, since a client usually
// has all of it.
func Network(address string) string {
	if !strings.Contains(address, ":") {
		return address
	}
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	if addr = addr.Unmap().WithZone(""); addr.Is4() {
		return addr.String()
	}
	return netip.PrefixFrom(addr, 64).Masked().String()
}
