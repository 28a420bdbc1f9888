package web

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// snippet is text that hands a secret to a program. It holds names, quoted for its
// language, and never a value or a token.
type snippet struct {
	ID, Label, Text, Note string
}

// snippets returns the snippets for secrets.
func (c *call) snippets(names ...string) []snippet {
	org, host := c.labels.Organization, c.address()
	var flux, telegraf, get, query, vault strings.Builder
	flux.WriteString("import \"influxdata/influxdb/secrets\"\n")
	plain := true
	get.WriteString("fluxkeep secret get --host " + shell(host) + " --org " + shell(org))
	if len(names) > 1 {
		get.WriteString(" --json")
	}
	get.WriteString(" --") // a name may begin with a hyphen
	for i, name := range names {
		variable := "secret"
		if len(names) > 1 {
			variable += strconv.Itoa(i + 1)
		}
		flux.WriteString("\n" + variable + " = secrets.get(key: " + fluxString(name) + ")")
		telegraf.WriteString("@{fluxkeep:" + name + "}\n")
		plain = plain && telegrafName.MatchString(name)
		get.WriteString(" " + shell(name))
		query.WriteString(" \\\n  --data-urlencode " + shell("name="+name))
		vault.WriteString("VAULT_ADDR=" + shell(host) + " vault kv get -mount=secret -field=" + shell(name) + " " + shell(c.org.String()) + "\n")
	}
	list := []snippet{
		{"snippet-flux", "Flux", flux.String(), "In a query or a task of an influxd that stores its secrets here."},
		{"snippet-telegraf", "Telegraf", strings.TrimSuffix(telegraf.String(), "\n"), "For a secret store with the ID fluxkeep."},
		{"snippet-cli", "fluxkeep", get.String(), "“fluxkeep run” passes secrets to a program as environment variables."},
		{"snippet-curl", "curl", "curl -fsSG -H \"Authorization: Token $INFLUX_TOKEN\"" + query.String() + " \\\n  " + shell(host+"/api/v2/orgs/"+c.org.String()+"/secrets/values"), "Prints a JSON object. The token is read from the environment."},
		{"snippet-vault", "vault, bao", strings.TrimSuffix(vault.String(), "\n"), "The token is read from VAULT_TOKEN; bao takes BAO_ADDR and BAO_TOKEN."},
	}
	if !plain {
		list[1].Text, list[1].Note = "", "Telegraf can refer only to names of letters, digits and underscores."
	}
	return list
}

var telegrafName = regexp.MustCompile(`^[A-Za-z0-9_]+$`)

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:@%+,=][A-Za-z0-9_./:@%+,=-]*$`)

// shell quotes a word for a POSIX shell.
func shell(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// fluxString quotes a text for Flux, which expands ${} in strings.
func fluxString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '\\' || r == '"':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '$':
			b.WriteString(`\x24`)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsGraphic(r):
			b.WriteRune(r)
		default:
			for _, c := range []byte(string(r)) {
				b.WriteString(`\x` + strconv.FormatUint(uint64(c)>>4, 16) + strconv.FormatUint(uint64(c)&15, 16))
			}
		}
	}
	b.WriteByte('"')
	return b.String()
}
