package influxbolt

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	bolt "go.etcd.io/bbolt"
)

// reader fills Contents from buckets that have been checked.
type reader struct {
	tx        *bolt.Tx
	out       *Contents
	userIndex map[acl.ID]int // index of each user in out.Users
	// unread are the buckets that bbolt cannot read.
	unread map[string]bool
}

func (r *reader) skip(format string, args ...any) {
	r.out.Skipped = append(r.out.Skipped, fmt.Sprintf(format, args...))
}

func (r *reader) read() error {
	for _, read := range []func() error{r.instance, r.organizations, r.users, r.passwords, r.members, r.tokens, r.secrets, r.legacy, r.others} {
		if err := read(); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) instance() error {
	return r.each(bucketInstance, func(key, value []byte) {
		if string(key) == "id" {
			r.out.Instance, _ = acl.ParseID(string(value))
		}
	})
}

// each calls fn with the records of a bucket. A missing bucket has none. The
// slices are valid until fn returns.
func (r *reader) each(bucket string, fn func(key, value []byte)) error {
	b := r.tx.Bucket([]byte(bucket))
	if b == nil {
		return nil
	}
	return b.ForEach(func(k, v []byte) error {
		fn(k, v)
		return nil
	})
}

// damaged reports a record that is left out.
func (r *reader) damaged(kind, bucket string, id acl.ID, err error) {
	if id == 0 {
		r.skip("a record of bucket %s: %v", bucket, err)
		return
	}
	r.skip("%s %s: %v", kind, id, err)
}

// indexed reports whether an index maps a text to an ID. Without the index, it
// returns true.
func (r *reader) indexed(index, text string, id acl.ID) bool {
	b := r.tx.Bucket([]byte(index))
	if b == nil {
		return true
	}
	found, err := recordID(b.Get([]byte(text)))
	return err == nil && found == id
}

func (r *reader) organizations() error {
	return r.each(bucketOrganizations, func(k, v []byte) {
		o, err := decodeOrganization(k, v)
		if err != nil {
			r.damaged("organization", bucketOrganizations, o.ID, err)
			return
		}
		if !r.indexed(indexOrganizations, strings.TrimSpace(o.Name), o.ID) {
			r.skip("organization %s: imported as %s, which is not its name in InfluxDB's index", o.ID, quote(o.Name))
		}
		r.out.Organizations = append(r.out.Organizations, o)
	})
}

func (r *reader) users() error {
	r.userIndex = make(map[acl.ID]int)
	return r.each(bucketUsers, func(k, v []byte) {
		u, err := decodeUser(k, v)
		if err != nil {
			r.damaged("user", bucketUsers, u.ID, err)
			return
		}
		if !r.indexed(indexUsers, u.Name, u.ID) {
			r.skip("user %s: imported as %s, which is not its name in InfluxDB's index", u.ID, quote(u.Name))
		}
		r.userIndex[u.ID] = len(r.out.Users)
		r.out.Users = append(r.out.Users, u)
	})
}

// user returns a user that was read before, or nil.
func (r *reader) user(id acl.ID) *User {
	if i, ok := r.userIndex[id]; ok {
		return &r.out.Users[i]
	}
	return nil
}

func (r *reader) passwords() error {
	return r.each(bucketPasswords, func(k, v []byte) {
		id, hash, err := decodePassword(k, v)
		u := r.user(id)
		switch {
		case u == nil: // a password without a user is useless
		case err != nil:
			r.skip("user %s: imported without a password: %v", id, err)
		default:
			u.Password = hash
		}
	})
}

func (r *reader) members() error {
	others := map[string]int{}
	err := r.each(bucketMembers, func(k, v []byte) {
		m, err := decodeMapping(k, v)
		switch {
		case err != nil && m.User != 0:
			r.skip("membership of user %s in %s: %v", m.User, m.Resource, err)
		case err != nil:
			r.damaged("", bucketMembers, 0, err)
		case m.Type == string(acl.Orgs):
			r.out.Members = append(r.out.Members, Member{m.Resource, m.User, m.Owner})
		case m.Type == string(acl.Instance) && m.Owner:
			if u := r.user(m.User); u != nil {
				u.Owner = true
				return
			}
			r.skip("user %s, who owns the instance, does not exist", m.User)
		default:
			others[m.Type]++
		}
	})
	for _, resource := range slices.Sorted(maps.Keys(others)) {
		r.skip("%s in resources of type %s, which Fluxkeep does not have", count(others[resource], "membership"), quote(resource))
	}
	return err
}

func (r *reader) tokens() error {
	return r.each(bucketTokens, func(k, v []byte) {
		t, unknown, err := decodeToken(k, v)
		if err == nil {
			// InfluxDB looks tokens up in its index only.
			index, text := indexTokens, t.Value
			if t.Value == "" {
				index, text = indexHashes, t.Hash
			}
			if !r.indexed(index, text, t.ID) {
				err = errIndex
			}
		}
		if err != nil {
			r.damaged("token", bucketTokens, t.ID, err)
			return
		}
		if len(unknown) > 0 {
			r.skip("token %s: imported without %s: %s", t.ID, count(len(unknown), "permission"), strings.Join(unique(unknown), ", "))
		}
		r.out.Tokens = append(r.out.Tokens, t)
	})
}

func (r *reader) secrets() error {
	r.out.Secrets = make(map[acl.ID]map[string]string)
	return r.each(bucketSecrets, func(k, v []byte) {
		org, name, value, err := decodeSecret(k, v)
		switch {
		case err != nil && org != 0:
			r.skip("secret %s of organization %s: %v", quote(name), org, err)
			return
		case err != nil:
			r.damaged("", bucketSecrets, 0, err)
			return
		}
		if r.out.Secrets[org] == nil {
			r.out.Secrets[org] = make(map[string]string)
		}
		r.out.Secrets[org][name] = value
	})
}

func (r *reader) legacy() error {
	n := 0
	err := r.each(legacyTokens, func(_, _ []byte) { n++ })
	if n > 0 {
		r.skip("%s for the InfluxDB 1.x API, which Fluxkeep does not have", count(n, "token"))
	}
	return err
}

// influxOnly are the buckets of objects that only InfluxDB has.
var influxOnly = []struct{ bucket, what string }{
	{"bucketsv1", "bucket"},
	{"dbrpv1", "database mapping"},
	{"tasksv1", "task"},
	{"dashboardsv2", "dashboard"},
	{"variablesv1", "variable"},
	{"labelsv1", "label"},
	{"checksv1", "check"},
	{"notificationRulev1", "notification rule"},
	{"notificationEndpointv1", "notification endpoint"},
	{"telegrafv1", "Telegraf configuration"},
	{"scraperv2", "scraper"},
	{"v1_pkger_stacks", "stack"},
	{"remotesv2", "remote"},
	{"replicationsv2", "replication"},
}

// others counts the objects that are not imported. Unreadable buckets have
// been reported already and are not counted.
func (r *reader) others() error {
	for _, e := range influxOnly {
		if r.unread[e.bucket] {
			continue
		}
		n := 0
		if err := r.each(e.bucket, func(_, _ []byte) { n++ }); err != nil {
			return err
		}
		if n > 0 {
			r.out.Others = append(r.out.Others, count(n, e.what))
		}
	}
	return nil
}

// maxQuoted limits how much of a name is quoted in a line.
const maxQuoted = 100

// quote makes any name safe to print in a line of text.
func quote(name string) string {
	if len(name) > maxQuoted {
		return fmt.Sprintf("%q…", name[:maxQuoted])
	}
	return fmt.Sprintf("%q", name)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func unique(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}
