package profile

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// DefaultHost is the server's URL if nothing else gives one.
const DefaultHost = "http://localhost:8086"

// invalidURL replaces a URL that can't be shown: part of it may be a password.
const invalidURL = "an invalid URL"

// Flags are the command line's flags for the connection. They have the same
// names as influx's.
type Flags struct {
	Host         string
	Token        string
	Org          string
	OrgID        string
	ActiveConfig string
	ConfigsPath  string
	SkipVerify   bool

	given *pflag.FlagSet // to know which flags were set
}

// Add adds the flags.
func (f *Flags) Add(fs *pflag.FlagSet) {
	f.AddServer(fs)
	fs.StringVarP(&f.Token, "token", "t", "", "`token` to use [$INFLUX_TOKEN]")
	fs.StringVarP(&f.Org, "org", "o", "", "`name` of the organization [$INFLUX_ORG]")
	fs.StringVar(&f.OrgID, "org-id", "", "`ID` of the organization [$INFLUX_ORG_ID]")
}

// AddServer adds only the flags for the server, without token and organization.
func (f *Flags) AddServer(fs *pflag.FlagSet) {
	fs.StringVar(&f.Host, "host", "", "`URL` of the server (default "+DefaultHost+") [$INFLUX_HOST]")
	fs.BoolVar(&f.SkipVerify, "skip-verify", false, "trust any TLS certificate: whoever answers gets the token [$INFLUX_SKIP_VERIFY]")
	fs.StringVarP(&f.ActiveConfig, "active-config", "c", "", "`name` of the profile to use [$INFLUX_ACTIVE_CONFIG]")
	f.AddConfigs(fs)
}

// AddConfigs adds only the flag for the configs file.
func (f *Flags) AddConfigs(fs *pflag.FlagSet) {
	fs.StringVar(&f.ConfigsPath, "configs-path", "", "`file` with the influx CLI's profiles (default ~/.influxdbv2/configs) [$INFLUX_CONFIGS_PATH]")
	f.given = fs
}

// Settings identify the server and the credentials to use.
type Settings struct {
	Host  string
	Token string
	// User and Password are set instead of a Token by a profile that signs in.
	User, Password string
	// Org is the organization's name, OrgID its ID; at most one of them is
	// set.
	Org, OrgID string
	SkipVerify bool

	// Profile is the name of the profile that settings come from, "" for none.
	Profile string
	// TokenFrom says where the token comes from, if not from the profile.
	TokenFrom string
	// Withheld is the profile's server if it isn't Host: the profile's token or
	// password isn't for Host, and isn't among the settings.
	Withheld string
}

// String names the server and the profile, for messages.
func (s Settings) String() string {
	text := s.Host
	if s.Profile != "" {
		text += fmt.Sprintf(", profile %q", s.Profile)
	}
	if s.TokenFrom != "" {
		text += ", token of " + s.TokenFrom
	}
	return text
}

// Path returns the configs file given by the flags or the environment.
func (f *Flags) Path(getenv func(string) string) (string, error) {
	if path := cmp.Or(f.ConfigsPath, getenv("INFLUX_CONFIGS_PATH")); path != "" {
		return path, nil
	}
	return DefaultPath()
}

// Resolve takes each setting from the first source that has it: a flag, the
// environment, the profile, or the default.
func Resolve(f *Flags, getenv func(string) string) (Settings, error) {
	if err := f.checkEmpty(); err != nil {
		return Settings{}, err
	}
	if f.Org != "" && f.OrgID != "" {
		return Settings{}, errors.New("both --org and --org-id are given: one is enough")
	}
	p, err := f.profile(getenv)
	if err != nil {
		return Settings{}, err
	}
	own := cmp.Or(p.URL, DefaultHost)
	s := Settings{Host: cmp.Or(f.Host, getenv("INFLUX_HOST"), own), Profile: p.Name}
	if s.SkipVerify, err = f.skip(getenv); err != nil {
		return Settings{}, err
	}
	s.setOrg(f.Org, f.OrgID)
	s.setOrg(getenv("INFLUX_ORG"), getenv("INFLUX_ORG_ID"))
	s.setOrg(p.Org, "")
	switch {
	case f.Token != "":
		s.Token, s.TokenFrom = f.Token, "--token"
	case getenv("INFLUX_TOKEN") != "":
		s.Token, s.TokenFrom = getenv("INFLUX_TOKEN"), "INFLUX_TOKEN"
	case p.Token == "" && p.Cookie == "":
	case !SameServer(s.Host, own):
		s.Withheld = cmp.Or(server(own), invalidURL)
	case p.Token != "":
		s.Token = p.Token
	default:
		if s.User, s.Password, err = credentials(p.Cookie); err != nil {
			return Settings{}, fmt.Errorf("profile %q: %w", p.Name, err)
		}
	}
	return s, nil
}

// SameServer reports whether two URLs identify the same server. One that identifies none
// is only the same as itself.
func SameServer(a, b string) bool { return a == b || server(a) != "" && server(a) == server(b) }

// server returns the part of a URL that identifies a server, in a normal form and
// without user and password. It is "" for a URL that can't be one of a server.
func server(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" {
		return ""
	}
	host, zone, zoned := strings.Cut(u.Hostname(), "%")
	if host = strings.Map(lower, host); zoned {
		host += "%" + zone // which is case-sensitive
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + net.JoinHostPort(host, port) + strings.TrimRight(u.EscapedPath(), "/")
}

// Redacted returns a URL to show to people, without its password.
func Redacted(address string) string {
	if !strings.Contains(address, "@") {
		return address
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return invalidURL
	}
	return u.Redacted()
}

// lower is for ASCII only: for İ, unicode.ToLower returns i, which is another host.
func lower(r rune) rune {
	if 'A' <= r && r <= 'Z' {
		return r - 'A' + 'a'
	}
	return r
}

// ResolveServer finds only the server. It uses a profile only if one is named:
// for a new server, the active profile is that of another one.
func ResolveServer(f *Flags, getenv func(string) string) (Settings, error) {
	if err := f.checkEmpty(); err != nil {
		return Settings{}, err
	}
	var p Profile
	if f.named(getenv) != "" {
		var err error
		if p, err = f.profile(getenv); err != nil {
			return Settings{}, err
		}
	}
	s := Settings{Host: cmp.Or(f.Host, getenv("INFLUX_HOST"), p.URL, DefaultHost), Profile: p.Name}
	var err error
	s.SkipVerify, err = f.skip(getenv)
	return s, err
}

// setOrg sets the organization from one source, unless an earlier source had
// one. The ID overrides the name.
func (s *Settings) setOrg(name, id string) {
	switch {
	case s.Org != "" || s.OrgID != "":
	case id != "":
		s.OrgID = id
	default:
		s.Org = name
	}
}

// named returns the name of the requested profile, or "".
func (f *Flags) named(getenv func(string) string) string {
	return cmp.Or(f.ActiveConfig, getenv("INFLUX_ACTIVE_CONFIG"))
}

// profile returns the profile to use, or an empty one. It doesn't read the file
// if no setting could come from it.
func (f *Flags) profile(getenv func(string) string) (Profile, error) {
	name := f.named(getenv)
	has := func(flag string, variables ...string) bool {
		for _, v := range variables {
			flag = cmp.Or(flag, getenv(v))
		}
		return flag != ""
	}
	complete := has(f.Host, "INFLUX_HOST") && has(f.Token, "INFLUX_TOKEN")
	if name == "" && complete && has(f.Org+f.OrgID, "INFLUX_ORG", "INFLUX_ORG_ID") {
		return Profile{}, nil
	}
	path, err := f.Path(getenv)
	if err != nil {
		return Profile{}, err
	}
	file, err := Load(path)
	if err != nil {
		return Profile{}, err
	}
	if name != "" {
		p, ok := file.Profiles[name]
		if !ok {
			return Profile{}, &UnknownError{path, name, file.Names()}
		}
		return p, nil
	}
	p, _, err := file.Active()
	if err != nil && complete {
		return Profile{}, nil // an organization is all that the profile could give
	}
	return p, err
}

func (f *Flags) isGiven(name string) bool { return f.given != nil && f.given.Changed(name) }

// checkEmpty refuses a flag with an empty value, as --token "$UNSET" has. The
// command would use the profile's token, organization or server instead.
func (f *Flags) checkEmpty() error {
	for _, name := range []string{"host", "token", "org", "org-id", "active-config", "configs-path"} {
		if f.isGiven(name) && f.given.Lookup(name).Value.String() == "" {
			return &EmptyError{name}
		}
	}
	return nil
}

// EmptyError reports a flag with an empty value.
type EmptyError struct{ Flag string }

func (e *EmptyError) Error() string { return "--" + e.Flag + " is empty" }

func (f *Flags) skip(getenv func(string) string) (bool, error) {
	v := getenv("INFLUX_SKIP_VERIFY")
	if f.SkipVerify || v == "" || f.isGiven("skip-verify") {
		return f.SkipVerify, nil
	}
	skip, err := strconv.ParseBool(v)
	if err != nil {
		return false, errors.New("INFLUX_SKIP_VERIFY must be true or false")
	}
	return skip, nil
}

// credentials decodes influx's cookie into user and password.
func credentials(cookie string) (user, password string, err error) {
	plain, err := base64.StdEncoding.DecodeString(cookie)
	if err != nil {
		return "", "", errors.New("its cookie is not in base64")
	}
	user, password, ok := strings.Cut(string(plain), ":")
	if !ok {
		return "", "", errors.New("its cookie has no password: influx config has to be given NAME:PASSWORD")
	}
	return user, password, nil
}
