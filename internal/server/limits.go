package server

import (
	"context"
	"errors"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/httpapi"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// Concurrent imports by one token and into one organization.
const (
	maxImports          = 64
	tokenImports        = 3
	organizationImports = 2
)

// newLimits returns the limits that all requests share.
func newLimits(c *config.Config) *httpapi.Limits {
	waiting := int64(max(4, c.MaxConnections/2))
	return &httpapi.Limits{
		Memory:              httpapi.NewBudget(c.MaxRequestMemory, 0),
		Waiting:             httpapi.NewBudget(waiting, waiting/4),
		Imports:             httpapi.NewBudget(maxImports, tokenImports),
		OrganizationImports: httpapi.NewBudget(maxImports, organizationImports),
	}
}

// reserveMemory reserves memory for the response to the context's request.
func reserveMemory(ctx context.Context, bytes int64) error {
	err := httpapi.ExchangeOf(ctx).Reserve(bytes)
	switch {
	case errors.Is(err, httpapi.ErrNeverFits):
		return &keep.Error{Code: keep.CodeTooLarge, Message: "the answer needs more memory than --max-request-memory allows for one: ask for less at a time, or raise it"}
	case errors.Is(err, httpapi.ErrBusy):
		return &keep.Error{Code: keep.CodeTooMany, Message: "too many answers at a time, try again", RetryAfter: time.Second}
	}
	return err
}

// reservedFiles returns how many of the process's open files are reserved for the
// store, logs and everything else but connections.
func reservedFiles(limit int) int { return min(max(limit/4, 24), 640) }

// connectionLimit returns how many connections can be open if the process can have
// files open, 0 for no limit.
func connectionLimit(wanted, files int) int {
	if files == 0 {
		return wanted
	}
	return max(1, min(wanted, files-reservedFiles(files)))
}
