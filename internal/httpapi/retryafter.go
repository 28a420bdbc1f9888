package httpapi

import (
	"math"
	"net/http"
	"strconv"
	"time"
)

// SetRetryAfter asks the client to wait, in whole seconds, if d is more than 0.
func SetRetryAfter(h http.Header, d time.Duration) {
	if d > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(d.Seconds()))))
	}
}
