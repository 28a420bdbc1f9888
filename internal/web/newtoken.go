package web

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// recipe is a kind of token that people need.
type recipe struct {
	ID, Label, About string
	Actions          []acl.Action
	Names            bool // it is for some names only
	Days             int  // when it expires by default; 0: never
}

func recipes() []recipe {
	read, write := acl.Read, acl.Write
	return []recipe{
		{"influxd", "influxd", "An influxd that stores its secrets here.", []acl.Action{read, write}, false, 0},
		{"telegraf", "Telegraf", "A Telegraf that reads secrets.", []acl.Action{read}, false, 0},
		{"program", "A program that reads", "A program or a script that reads all secrets.", []acl.Action{read}, false, 0},
		{"ci", "A CI job that writes", "A job that sets secrets. It can't read any.", []acl.Action{write}, false, 90},
		{"names", "Read-only for some names", "A program that reads only secrets whose names match a pattern.", []acl.Action{read}, true, 0},
	}
}

// permissions returns what the recipe's token may do in the organization.
func (r recipe) permissions(org keep.ID) acl.Set {
	set := acl.Set{{Action: acl.Read, Resource: acl.Resource{Type: acl.Orgs, ID: org}}}
	for _, a := range r.Actions {
		set = append(set, acl.Permission{Action: a, Resource: acl.Resource{Type: acl.Secrets, OrgID: org}})
	}
	return set
}

// snippets hand the recipe's token to a program. They refer to the token, and don't
// contain it.
func (c *call) recipeSnippets(r recipe, t keep.Token) []snippet {
	host, org := c.address(), c.org.String()
	const file = "Store the token in the file first."
	switch r.ID {
	case "influxd":
		return []snippet{{"snippet", "Start influxd", "VAULT_ADDR=" + shell(host+"/influxd") + ` VAULT_TOKEN="$(cat influxd.token)" influxd --secret-store vault`, file}}
	case "telegraf":
		return []snippet{{"snippet", "Telegraf's configuration", `[[secretstores.vault]]
  id = "fluxkeep"
  address = "` + host + `/influxd"
  mount_path = "secret"
  secret_path = "` + org + `"
  [secretstores.vault.approle]
    role_id = "` + t.ID.String() + `"
    secret = "${TOKEN}"`, "Telegraf takes the token from its environment."}}
	case "ci":
		return []snippet{{"snippet", "Set a secret", `fluxkeep secret set --host ` + shell(host) + ` --org-id ` + org + ` NAME <file`, "The job needs the token in INFLUX_TOKEN."}}
	}
	return []snippet{
		{"snippet", "Start a program", `INFLUX_TOKEN="$(cat token)" fluxkeep run --host ` + shell(host) + ` --org-id ` + org + ` -- program`, file + " The program gets the secrets as environment variables."},
		{"snippet-curl", "curl", "curl -fsS -H \"Authorization: Token $(cat token)\" \\\n  " + shell(host+"/api/v2/orgs/"+org+"/secrets/values"), "Prints a JSON object."},
	}
}

type newTokenView struct {
	frame
	Recipes     []recipe
	Recipe      *recipe // nil to choose one
	May, MayNot []string
	Description string
	Names       string // patterns, one on each line
	Expires     string
	Choices     []choice // for Expires
}

func (*newTokenView) page() string { return "new-token" }

// choice is an option of a select.
type choice struct {
	Value, Label string
	Selected     bool
}

var lifetimes = []struct {
	value, label string
	days         int
}{{"0", "Never", 0}, {"7", "In 7 days", 7}, {"30", "In 30 days", 30}, {"90", "In 90 days", 90}, {"365", "In a year", 365}}

// newTokenView describes a token by recipe; an unknown recipe lets the user choose.
func (c *call) newTokenView(id string) *newTokenView {
	v := &newTokenView{Recipes: recipes()}
	for _, r := range v.Recipes {
		if r.ID != id {
			continue
		}
		v.Recipe = &r
		for _, a := range acl.Actions() {
			if slices.Contains(r.Actions, a) {
				v.May = append(v.May, string(a)+" secrets")
			} else {
				v.MayNot = append(v.MayNot, string(a)+" secrets")
			}
		}
		v.MayNot = append(v.MayNot, "manage tokens, members or users", "see other organizations")
		v.Description = r.ID
		for _, l := range lifetimes {
			v.Choices = append(v.Choices, choice{l.value, l.label, l.days == r.Days})
		}
	}
	return v
}

func (c *call) newTokenPage() error {
	if !c.mayTokens(acl.Write) {
		return c.refuse("tokens.create")
	}
	return c.show(http.StatusOK, c.newTokenView(c.r.URL.Query().Get("recipe")))
}

type newTokenDoneView struct {
	frame
	Token    keep.Token
	Recipe   recipe
	Snippets []snippet
}

func (*newTokenDoneView) page() string { return "new-token-done" }

// newToken creates a token and shows it. The form leads to the token's page if it is
// sent again.
func (c *call) newToken() error {
	if !c.mayTokens(acl.Write) {
		return c.refuse("tokens.create")
	}
	v := c.newTokenView(c.form.get("recipe"))
	if v.Recipe == nil {
		return errForm
	}
	v.Description, v.Names = strings.TrimSpace(c.form.get("description")), c.form.get("names")
	n := keep.NewToken{Org: c.org, Active: true, Description: v.Description, Permissions: v.Recipe.permissions(c.org)}
	for line := range strings.Lines(v.Names) {
		if line = strings.TrimSpace(line); line != "" {
			n.Names = append(n.Names, line)
		}
	}
	known := false
	for i, l := range lifetimes {
		v.Choices[i].Selected = l.value == c.form.get("expires")
		if v.Choices[i].Selected {
			known = true
			if l.days > 0 {
				n.Expires = c.keep.Now().Add(time.Duration(l.days) * 24 * time.Hour)
			}
		}
	}
	if !known {
		return errForm
	}
	if v.Description == "" {
		v.Errors = append(v.Errors, fieldError{"description", "Describe the token, so that people know what uses it."})
	}
	if v.Recipe.Names && len(n.Names) == 0 {
		v.Errors = append(v.Errors, fieldError{"names", "Enter at least one pattern, such as db_*."})
	}
	if len(v.Errors) > 0 {
		return c.show(http.StatusUnprocessableEntity, v)
	}
	t, err := c.keep.CreateToken(c.ctx(), c.caller, n)
	if err != nil {
		return c.showError(v, "", "Not created: ", err)
	}
	c.location = c.orgPath("/access/" + t.ID.String() + "?done=created")
	out := &newTokenDoneView{Token: t, Recipe: *v.Recipe, Snippets: c.recipeSnippets(*v.Recipe, t)}
	return c.show(http.StatusOK, out)
}
