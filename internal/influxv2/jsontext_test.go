package influxv2_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/fluxkeep/fluxkeep/internal/influxv2"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// marshalList encodes the list with encoding/json.
func marshalList(tb testing.TB, org keep.ID, names []string) []byte {
	tb.Helper()
	path := "/api/v2/orgs/" + org.String()
	out, err := json.MarshalIndent(struct {
		Links   map[string]string `json:"links"`
		Secrets []string          `json:"secrets"`
	}{map[string]string{"org": path, "self": path + "/secrets"}, append([]string{}, names...)}, "", "\t")
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func checkJSON(tb testing.TB, org keep.ID, texts []string) {
	tb.Helper()
	if got, want := influxv2.AppendSecretList(org, texts), marshalList(tb, org, texts); !bytes.Equal(got, want) {
		tb.Fatalf("list %q\n%s\nwant\n%s", texts, got, want)
	}
	values := map[string]string{}
	var secrets []keep.Secret
	for i, text := range texts {
		// encoding/json sorts names before it replaces invalid UTF-8.
		if _, twice := values[text]; !twice && utf8.ValidString(text) {
			values[text] = texts[len(texts)-1-i]
			secrets = append(secrets, keep.Secret{Name: text, Value: values[text]})
		}
	}
	slices.SortFunc(secrets, func(a, b keep.Secret) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	want, err := json.MarshalIndent(values, "", "\t")
	if err != nil {
		tb.Fatal(err)
	}
	if got := influxv2.AppendSecrets(secrets); !bytes.Equal(got, want) {
		tb.Fatalf("values of %q\n%s\nwant\n%s", texts, got, want)
	}
}

func TestJSONIsEncodingJSONs(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	alphabet := []rune("abz019 \"\\/<>&\b\f\n\r\t\x00\x1f\x7fäß€😀\u2028\u2029\ufffd\ufeff")
	for range 3000 {
		texts := make([]string, random.IntN(6))
		for i := range texts {
			var b []byte
			for range random.IntN(12) {
				if random.IntN(40) == 0 {
					b = append(b, byte(random.IntN(256))) // probably invalid UTF-8
				} else {
					b = utf8.AppendRune(b, alphabet[random.IntN(len(alphabet))])
				}
			}
			texts[i] = string(b)
		}
		checkJSON(t, keep.ID(random.Uint64()|1), texts)
	}
}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{"", "plain", "<html>&", "\u2028\u2029", "\xff\xc3", "a\x00b\x7f", "\"\\\b\f\n\r\t"} {
		f.Add(s, "x")
	}
	f.Fuzz(func(t *testing.T, a, b string) { checkJSON(t, 0xa, []string{a, b}) })
}
