package influxv2

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

func (c *call) setupAllowed() error {
	allowed, err := c.keep.SetupAllowed(c.ctx())
	if err != nil {
		return err
	}
	return c.respond(http.StatusOK, struct {
		Allowed bool `json:"allowed"`
	}{allowed})
}

type setupBody struct {
	User                   string `json:"username"`
	Password               string `json:"password"`
	Org                    string `json:"org"`
	Bucket                 string `json:"bucket"`
	RetentionPeriodSeconds int64  `json:"retentionPeriodSeconds"`
	// RetentionPeriodHrs is in nanoseconds, in InfluxDB too.
	RetentionPeriodHrs int64  `json:"retentionPeriodHrs"`
	Token              string `json:"token"`
}

func (b *setupBody) retention() time.Duration {
	if b.RetentionPeriodSeconds > 0 {
		return time.Duration(b.RetentionPeriodSeconds) * time.Second
	}
	return time.Duration(b.RetentionPeriodHrs)
}

// errOtherSite refuses a setup by a web page elsewhere, whose author would then know the
// operator token.
var errOtherSite = &keep.Error{Code: keep.CodeForbidden, Message: "setup was requested by a page of another site; run fluxkeep setup, or open the server's own page"}

// fromOtherSite reports whether a page of another site sent the request. Programs that
// aren't browsers send neither of the headers.
func (c *call) fromOtherSite() bool {
	if c.r.Header.Get("Origin") == "" && c.r.Header.Get("Sec-Fetch-Site") == "" {
		return false
	}
	return c.config.CrossOrigin.Check(c.r) != nil || !c.config.OwnHost(c.r)
}

// setup responds with the requested bucket, because InfluxDB's clients read
// it. The bucket isn't stored: there are none here.
func (c *call) setup() error {
	if c.fromOtherSite() {
		return errOtherSite
	}
	var body setupBody
	if err := c.decode(&body, badPlain); err != nil {
		return err
	}
	r, err := c.keep.Setup(c.ctx(), c.caller, keep.SetupRequest{
		User: body.User, Password: body.Password, Org: body.Org, Token: body.Token, Bucket: body.Bucket, Retention: body.retention(),
	})
	if err != nil {
		return err
	}
	return c.respond(http.StatusCreated, setupAnswer{
		User: userAnswerOf(r.User), Bucket: bucketAnswerOf(&r, &body), Org: organizationAnswerOf(r.Org),
		Auth: setupTokenAnswer{
			ID: r.Token.ID, Token: r.Token.Value, HashedToken: hashedToken(r.Token.Value),
			Status: statusWord(r.Token.Active), Description: r.Token.Description, OrgID: r.Token.Org, UserID: r.Token.User,
			Permissions: plainPermissions(r.Token.Permissions), CreatedAt: r.Token.Created.UTC(), UpdatedAt: r.Token.Updated.UTC(),
			Links: tokenLinks(&r.Token),
		},
	})
}

// hashedToken returns InfluxDB's hash of a token. It is part of the response
// and not stored: the domain has its own keyed hash.
func hashedToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return "$influxdb2-sha256$" + base64.URLEncoding.EncodeToString(sum[:])
}

type setupAnswer struct {
	User   userAnswer         `json:"user"`
	Bucket bucketAnswer       `json:"bucket"`
	Org    organizationAnswer `json:"org"`
	Auth   setupTokenAnswer   `json:"auth"`
}

// setupTokenAnswer is a token in the format that only setup uses.
type setupTokenAnswer struct {
	ID          keep.ID            `json:"id"`
	Token       string             `json:"token"`
	HashedToken string             `json:"hashedToken"`
	Status      status             `json:"status"`
	Description string             `json:"description"`
	OrgID       keep.ID            `json:"orgID"`
	UserID      keep.ID            `json:"userID"`
	Permissions []permissionAnswer `json:"permissions"`
	CreatedAt   time.Time          `json:"createdAt"`
	UpdatedAt   time.Time          `json:"updatedAt"`
	Links       map[string]string  `json:"links"`
}

type bucketAnswer struct {
	ID             keep.ID           `json:"id"`
	OrgID          keep.ID           `json:"orgID"`
	Type           string            `json:"type"`
	Name           string            `json:"name"`
	RetentionRules []retentionRule   `json:"retentionRules"`
	CreatedAt      time.Time         `json:"createdAt"`
	UpdatedAt      time.Time         `json:"updatedAt"`
	Links          map[string]string `json:"links"`
	Labels         []string          `json:"labels"`
}

type retentionRule struct {
	Type                      string `json:"type"`
	EverySeconds              int64  `json:"everySeconds"`
	ShardGroupDurationSeconds int64  `json:"shardGroupDurationSeconds"`
}

func bucketAnswerOf(r *keep.SetupResult, body *setupBody) bucketAnswer {
	id, org, every := acl.NewID(), r.Org.ID.String(), body.retention()
	path := "/api/v2/buckets/" + id.String()
	return bucketAnswer{
		ID: id, OrgID: r.Org.ID, Type: "user", Name: body.Bucket,
		RetentionRules: []retentionRule{{"expire", int64(every.Round(time.Second) / time.Second), int64(shardDuration(every) / time.Second)}},
		CreatedAt:      r.Org.Created.UTC(), UpdatedAt: r.Org.Created.UTC(),
		Links: map[string]string{
			"self": path, "org": "/api/v2/orgs/" + org, "members": path + "/members", "owners": path + "/owners",
			"labels": path + "/labels", "write": "/api/v2/write?org=" + org + "&bucket=" + id.String(),
		},
		Labels: []string{},
	}
}

// shardDuration returns how InfluxDB would partition a bucket's data.
func shardDuration(retention time.Duration) time.Duration {
	const day = 24 * time.Hour
	switch {
	case retention == 0 || retention >= 180*day:
		return 7 * day
	case retention >= 2*day:
		return day
	}
	return time.Hour
}
