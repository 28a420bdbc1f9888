package web

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/httpapi"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

var (
	// errMissing is the answer for whatever doesn't exist or is refused.
	errMissing    = &keep.Error{Code: keep.CodeNotFound, Message: "This page doesn't exist, or you don't have access to it."}
	errNotAllowed = &problem{http.StatusMethodNotAllowed, "Wrong method", "This address doesn't take that kind of request."}
	errOrigin     = &problem{http.StatusForbidden, "Sent from another site", "This form wasn't sent from Fluxkeep's own page, so nothing was changed. Open the page and try there. Behind a proxy that changes the Host header, set --web-origin."}
	errHost       = &problem{http.StatusForbidden, "Unknown host name", "Fluxkeep listens on this machine only, and its page answers there at localhost and at IP addresses. Behind a proxy, set --web-origin to the address in the browser, such as https://secrets.example.com."}
	errOtherUser  = &problem{http.StatusConflict, "Another user's form", "Somebody else opened this form before you signed in. Nothing was changed."}
	errForm       = &problem{http.StatusBadRequest, "Invalid form", "The form has a field that isn't expected here, or isn't encoded as a form. Nothing was changed."}
	errMediaType  = &problem{http.StatusUnsupportedMediaType, "Invalid form", "A form must be URL-encoded. Nothing was changed."}
	errSnippets   = &problem{http.StatusUnprocessableEntity, "Too many secrets", "There are snippets for up to 1,000 secrets at a time. Select fewer."}
	errMemory     = &problem{http.StatusRequestEntityTooLarge, "Too large", "This needs more memory than --max-request-memory allows for one request. Nothing was changed."}
	errFormSize   = &problem{http.StatusRequestEntityTooLarge, "Form too large", "What you sent is too large. Nothing was changed."}
)

// problem is an error of the page itself.
type problem struct {
	status         int
	title, message string
}

func (p *problem) Error() string { return p.message }

// explain translates an error to an answer. Whatever the caller may not do or see
// gets the same answer as what doesn't exist.
func explain(err error) (p problem, retry time.Duration) {
	var own *problem
	var e *keep.Error
	switch {
	case errors.As(err, &own):
		return *own, 0
	case errors.Is(err, httpapi.ErrBusy):
		return problem{http.StatusTooManyRequests, "Busy", "Too many requests at a time. Nothing was changed. Try again in a moment."}, time.Second
	case errors.Is(err, httpapi.ErrNeverFits):
		return *errMemory, 0
	case errors.Is(err, httpapi.ErrTooLarge):
		return *errFormSize, 0
	case errors.Is(err, httpapi.ErrEncoding), errors.Is(err, httpapi.ErrGzip):
		return *errMediaType, 0
	case !errors.As(err, &e):
		return problem{http.StatusInternalServerError, "Error", "An internal error has occurred. The server's log says more."}, 0
	}
	switch e.Code {
	case keep.CodeNotFound, keep.CodeUnauthorized, keep.CodeForbidden:
		return problem{http.StatusNotFound, "Not found", errMissing.Message}, 0
	case keep.CodeTooMany:
		return problem{http.StatusTooManyRequests, "Too many requests", sentence(e.Message) + " " + tryAgain(e.RetryAfter)}, e.RetryAfter
	case keep.CodeUnavailable:
		return problem{http.StatusServiceUnavailable, "Not available", sentence(e.Message) + " Trying again is safe."}, 0
	case keep.CodeInternal:
		return problem{http.StatusInternalServerError, "Error", sentence(e.Message) + " The server's log says more."}, 0
	case keep.CodeTooLarge:
		return problem{http.StatusRequestEntityTooLarge, "Too large", sentence(e.Message)}, 0
	case keep.CodeConflict:
		return problem{http.StatusConflict, "Conflict", sentence(e.Message)}, 0
	}
	return problem{http.StatusBadRequest, "Not possible", sentence(e.Message)}, 0
}

// inForm returns what a form says about an error, or the error itself if the form
// must not be shown again.
func (c *call) inForm(err error) (message string, status int, _ error) {
	p, retry := explain(err)
	httpapi.SetRetryAfter(c.w.Header(), retry)
	switch code := keep.CodeOf(err); {
	case code == keep.CodeNotFound, code == keep.CodeUnauthorized:
		return "", 0, err
	case code == keep.CodeForbidden: // the page was allowed, this input isn't
		return sentence(err.Error()), http.StatusForbidden, nil
	}
	return p.message, p.status, nil
}

// showError shows a form again with an error in a field, "" for the whole form, or
// returns the error if the form must not be shown again.
func (c *call) showError(v view, field, before string, err error) error {
	message, status, err := c.inForm(err)
	if err != nil {
		return err
	}
	v.top().Errors = []fieldError{{field, before + message}}
	return c.show(status, v)
}

type problemView struct {
	frame
	Heading, Message string
}

func (*problemView) page() string { return "problem" }

// fail answers with an error. It is the only place that does.
func (c *call) fail(err error) {
	p, retry := explain(err)
	httpapi.SetRetryAfter(c.w.Header(), retry)
	c.location = ""
	if fromScript(c.r) {
		c.respond(p.status, map[string]string{"error": p.message})
		return
	}
	v := &problemView{Heading: p.title, Message: p.message}
	if p.status == http.StatusNotFound {
		c.org, c.labels.Organization = 0, ""
	}
	if err := c.show(p.status, v); err != nil { // can't happen: a test renders the page
		http.Error(c.w, p.message, p.status)
	}
}

// respond answers the page's script with JSON.
func (c *call) respond(status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", "application/json")
	c.w.WriteHeader(status)
	c.w.Write(b) // fails if the connection is broken, so there is nobody to tell
	return nil
}
