package httpapi

import (
	"context"
	"errors"
)

// ErrBusy says that a request would hold more of a limit that all requests
// share than its client may at present.
var ErrBusy = errors.New("too many requests at a time")

// Limits bound what all requests take together.
type Limits struct {
	Memory  *Budget // bytes of bodies that are read and of answers that are built
	Waiting *Budget // requests that wait for a change
	Imports *Budget // imports, by token
	// OrganizationImports are imports, by organization.
	OrganizationImports *Budget
}

// Client is the connection of a request.
type Client interface {
	// Identified is told who the client is.
	Identified(Account)
	// Waiting is told that the request begins or ends to wait for a change.
	Waiting(bool)
}

// Exchange is a request on its way: where it came from, who sent it, and what
// it holds of the limits. It is used by one goroutine at a time.
type Exchange struct {
	Origin Origin
	Limits *Limits // nil for none
	Client Client  // nil for none

	account Account
	wanted  int64 // bytes of memory, what is free of charge included
	charged int64 // bytes taken from the budget
	body    *body // nil for none
}

// knownAllowance is how much memory the request of a known client gets without
// charge, so that small requests cost nothing.
const knownAllowance = 16 << 10

type exchangeKey struct{}

// WithExchange puts an exchange into its request's context.
func WithExchange(ctx context.Context, x *Exchange) context.Context {
	return context.WithValue(ctx, exchangeKey{}, x)
}

// ExchangeOf returns what WithExchange put there, or one without limits.
func ExchangeOf(ctx context.Context) *Exchange {
	if x, ok := ctx.Value(exchangeKey{}).(*Exchange); ok {
		return x
	}
	return &Exchange{}
}

// Identify says who sends the request. Until then it is a stranger's.
func (x *Exchange) Identify(user, token uint64) {
	if user == 0 || x.Limits == nil {
		return
	}
	charged := x.charged
	x.Limits.Memory.Give(x.owner(), charged)
	x.account, x.wanted, x.charged = Account{User: user, Token: token}, 0, 0
	// What was held before is little, and a new request of a known client
	// gets that without charge.
	if x.Client != nil {
		x.Client.Identified(x.account)
	}
	if x.body != nil {
		x.body.arm()
	}
}

// Known reports whether it is known who sent the request.
func (x *Exchange) Known() bool { return x.account.Known() }

func (x *Exchange) owner() Account {
	if x.account.Known() {
		return x.account
	}
	return Account{Network: x.Origin.Network}
}

// Reserve holds memory until the exchange ends. It returns ErrBusy when the
// client may not hold so much now.
func (x *Exchange) Reserve(bytes int64) error {
	if x.Limits == nil {
		return nil
	}
	allowance := int64(0)
	if x.account.Known() {
		allowance = knownAllowance
	}
	if more := x.wanted + bytes - allowance - x.charged; more > 0 {
		if !x.Limits.Memory.Take(x.owner(), more) {
			return ErrBusy
		}
		x.charged += more
	}
	x.wanted += bytes
	return nil
}

// Release returns the memory that the exchange holds.
func (x *Exchange) Release() {
	if x.Limits != nil {
		x.Limits.Memory.Give(x.owner(), x.charged)
	}
	x.wanted, x.charged = 0, 0
}

// Wait holds a place to wait in for a change. The caller calls done when it
// has waited.
func (x *Exchange) Wait() (done func(), err error) {
	if x.Limits == nil {
		return func() {}, nil
	}
	a := x.owner()
	if !x.Limits.Waiting.Take(a, 1) {
		return nil, ErrBusy
	}
	if x.Client != nil {
		x.Client.Waiting(true)
	}
	return func() {
		if x.Client != nil {
			x.Client.Waiting(false)
		}
		x.Limits.Waiting.Give(a, 1)
	}, nil
}

// Import holds a place for an import into an organization. The caller calls
// done when it has ended.
func (x *Exchange) Import(org uint64) (done func(), err error) {
	if x.Limits == nil {
		return func() {}, nil
	}
	token, organization := x.owner(), Account{User: org}
	if !x.Limits.Imports.Take(token, 1) {
		return nil, ErrBusy
	}
	if !x.Limits.OrganizationImports.Take(organization, 1) {
		x.Limits.Imports.Give(token, 1)
		return nil, ErrBusy
	}
	return func() {
		x.Limits.OrganizationImports.Give(organization, 1)
		x.Limits.Imports.Give(token, 1)
	}, nil
}
