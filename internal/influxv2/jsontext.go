package influxv2

import (
	"github.com/fluxkeep/fluxkeep/internal/httpapi"
	"github.com/fluxkeep/fluxkeep/internal/jsontext"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// The most frequent responses are encoded without reflection, exactly as
// encoding/json's MarshalIndent with tabs would.

func appendID(b []byte, id keep.ID) []byte { return append(b, id.String()...) }

// appendSecretList appends the list of an organization's secrets, sending it
// in parts if it is long.
func appendSecretList(b []byte, send httpapi.Sender, org keep.ID, names []string) []byte {
	b = append(b, "{\n\t\"links\": {\n\t\t\"org\": \"/api/v2/orgs/"...)
	b = appendID(b, org)
	b = append(b, "\",\n\t\t\"self\": \"/api/v2/orgs/"...)
	b = appendID(b, org)
	b = append(b, "/secrets\"\n\t},\n\t\"secrets\": ["...)
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		if len(b) >= httpapi.PartSize {
			b = send(b)
		}
		b = append(b, "\n\t\t"...)
		b = jsontext.AppendString(b, name)
	}
	if len(names) > 0 {
		b = append(b, "\n\t"...)
	}
	return append(b, "]\n}"...)
}

// appendSecrets appends an object of secrets, sending it in parts if it is
// long.
func appendSecrets(b []byte, send httpapi.Sender, secrets []keep.Secret) []byte {
	b = append(b, '{')
	for i := range secrets {
		if i > 0 {
			b = append(b, ',')
		}
		if len(b) >= httpapi.PartSize {
			b = send(b)
		}
		b = append(b, "\n\t"...)
		b = jsontext.AppendString(b, secrets[i].Name)
		b = append(b, ": "...)
		b = jsontext.AppendString(b, secrets[i].Value)
	}
	if len(secrets) > 0 {
		b = append(b, '\n')
	}
	return append(b, '}')
}
