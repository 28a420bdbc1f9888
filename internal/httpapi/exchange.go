package httpapi

import (
	"context"
	"errors"
	"fmt"
)

// ErrBusy means that a request needs more of a shared limit than its client
// may currently use. ErrNeverFits, an ErrTooLarge, means that it always will.
var (
	ErrBusy      = errors.New("too many requests at a time")
	ErrNeverFits = fmt.Errorf("%w: it needs more memory than --max-request-memory allows for one", ErrTooLarge)
)

// Limits bound the resources that all requests share.
type Limits struct {
	Memory  *Budget // bytes of request bodies and of answers
	Waiting *Budget // requests waiting for a change
	Imports *Budget // imports, by token
	// OrganizationImports counts imports by organization.
	OrganizationImports *Budget
}

// Client is the connection of a request.
type Client interface {
	// Identified is called when the client has been authenticated.
	Identified(Account)
	// Waiting is called when the request starts or stops waiting for a change.
	Waiting(bool)
}

// Exchange is a request in progress: its origin, its sender, and its share of
// the limits. It must be used by one goroutine at a time.
type Exchange struct {
	Origin Origin
	Limits *Limits // nil for none
	Client Client  // nil for none

	account Account
	wanted  int64 // bytes of memory, including the free allowance
	charged int64 // bytes taken from the budget
	body    *body // nil for none
}

// knownAllowance is the memory that an authenticated client's request gets
// without accounting, so that small requests cost nothing.
const knownAllowance = 16 << 10

type exchangeKey struct{}

// WithExchange adds an exchange to its request's context.
func WithExchange(ctx context.Context, x *Exchange) context.Context {
	return context.WithValue(ctx, exchangeKey{}, x)
}

// ExchangeOf returns the exchange in the context, or one without limits.
func ExchangeOf(ctx context.Context) *Exchange {
	if x, ok := ctx.Value(exchangeKey{}).(*Exchange); ok {
		return x
	}
	return &Exchange{}
}

// Identify sets the sender of the request, which counts as a stranger until
// then.
func (x *Exchange) Identify(user, token uint64) {
	if user == 0 || x.Limits == nil {
		return
	}
	charged := x.charged
	x.Limits.Memory.Give(x.owner(), charged)
	x.account, x.wanted, x.charged = Account{User: user, Token: token}, 0, 0
	// The memory held so far is small: the allowance covers it.
	if x.Client != nil {
		x.Client.Identified(x.account)
	}
	if x.body != nil {
		x.body.arm()
	}
}

// Known reports whether the sender is authenticated.
func (x *Exchange) Known() bool { return x.account.Known() }

func (x *Exchange) owner() Account {
	if x.account.Known() {
		return x.account
	}
	return Account{Network: x.Origin.Network}
}

// Reserve reserves memory until the exchange ends. It returns ErrBusy if the
// client cannot have that much now, and ErrNeverFits if it never can.
func (x *Exchange) Reserve(bytes int64) error {
	if x.Limits == nil {
		return nil
	}
	allowance := int64(0)
	if x.account.Known() {
		allowance = knownAllowance
	}
	if more := x.wanted + bytes - allowance - x.charged; more > 0 {
		if x.charged+more > x.Limits.Memory.Most(x.owner()) {
			return ErrNeverFits
		}
		if !x.Limits.Memory.Take(x.owner(), more) {
			return ErrBusy
		}
		x.charged += more
	}
	x.wanted += bytes
	return nil
}

// Release gives back all memory of the exchange.
func (x *Exchange) Release() {
	if x.Limits != nil {
		x.Limits.Memory.Give(x.owner(), x.charged)
	}
	x.wanted, x.charged = 0, 0
}

// Wait reserves a slot for waiting for a change. The caller calls done after
// the wait.
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

// Import reserves a slot for an import into an organization. The caller calls
// done after the import.
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
