package influxv2_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
)

// parts records how a response is sent.
type parts struct {
	*httptest.ResponseRecorder
	sizes []int
}

func (p *parts) Write(b []byte) (int, error) {
	p.sizes = append(p.sizes, len(b))
	return p.ResponseRecorder.Write(b)
}

// TestLongAnswers requests more than is buffered before sending.
func TestLongAnswers(t *testing.T) {
	const names = 10_000
	a := filled(t, names)
	for _, path := range []string{"", "/values"} {
		r := httptest.NewRequest(http.MethodGet, a.secrets(path), nil)
		r.Header.Set("Authorization", "Token "+a.OperatorToken)
		w := &parts{ResponseRecorder: httptest.NewRecorder()}
		a.handler.ServeHTTP(w, r)
		n := 0
		if path == "" {
			var list struct{ Secrets []string }
			if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil {
				t.Errorf("%s: %v", path, err)
			}
			n = len(list.Secrets)
		} else {
			var values map[string]string
			if err := json.Unmarshal(w.Body.Bytes(), &values); err != nil {
				t.Errorf("%s: %v", path, err)
			}
			n = len(values)
		}
		if w.Code != http.StatusOK || n != names || w.Header().Get("Content-Type") == "" {
			t.Errorf("%s: %d with %d names, %v", path, w.Code, n, w.Header())
		}
		for _, size := range w.sizes {
			if size > 128<<10 {
				t.Errorf("%s: a part of %d bytes", path, size)
			}
		}
		if len(w.sizes) < 3 {
			t.Errorf("%s: sent in %d parts", path, len(w.sizes))
		}
	}
}
