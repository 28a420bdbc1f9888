package seal_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/seal"
)

// TestNothingSecretIsShown prints everything that holds a key with fmt,
// log/slog and encoding/json, also inside another struct. No result may
// contain any part of the key in any format.
func TestNothingSecretIsShown(t *testing.T) {
	const passphrase = "correct horse battery staple"
	path := filepath.Join(t.TempDir(), "key")
	keyFile, err := seal.CreateKeyFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	master, err := seal.ParseKeyFile(text)
	if err != nil {
		t.Fatal(err)
	}
	keys := newKeys(t)
	dataKeys, err := keys.DataKeys()
	if err != nil {
		t.Fatal(err)
	}
	lookupKey, err := keys.LookupKey()
	if err != nil {
		t.Fatal(err)
	}
	keys.Lookup("use", []byte("it")) // puts a state into the pool
	keysValues := []any{
		keys, *keys, struct{ k *seal.Keys }{keys}, struct{ k seal.Keys }{*keys}, struct{ K *seal.Keys }{keys},
	}
	credential := seal.CredentialValue([]byte(passphrase))
	phrase := newPassphrase(t, passphrase)
	transit := newTransitFake(t)
	transitProvider := transit.provider(t, "fluxkeep")
	config := seal.Config{Kind: seal.KindTransit, Passphrase: credential, Transit: transit.config("fluxkeep")}

	for name, c := range map[string]struct {
		secret []byte
		values []any
	}{
		"Keys, data":   {dataKeys[len(dataKeys)-30:][:16], keysValues},
		"Keys, lookup": {lookupKey[len(lookupKey)-30:][:16], keysValues},
		"KeyFile":      {master, []any{keyFile, *keyFile, struct{ p seal.Provider }{keyFile}, struct{ p seal.KeyFile }{*keyFile}, struct{ P seal.Provider }{keyFile}}},
		"Passphrase":   {[]byte(passphrase), []any{phrase, *phrase, struct{ p seal.Provider }{phrase}, struct{ p seal.Passphrase }{*phrase}, struct{ P seal.Provider }{phrase}}},
		"Transit":      {[]byte(transitToken), []any{transitProvider, *transitProvider, struct{ p seal.Transit }{*transitProvider}, struct{ P seal.Provider }{transitProvider}}},
		"Credential":   {[]byte(passphrase), []any{credential, struct{ c seal.Credential }{credential}, struct{ C seal.Credential }{credential}}},
		"Config":       {[]byte(passphrase), []any{config, &config, struct{ c seal.Config }{config}, struct{ C seal.Config }{config}}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, v := range c.values {
				for how, shown := range allForms(t, v) {
					for _, form := range formsOf(c.secret) {
						if strings.Contains(strings.ToLower(shown), strings.ToLower(form)) {
							t.Errorf("%s of %T contains the key: %s", how, v, shown)
						}
					}
				}
			}
		})
	}
}

func allForms(t *testing.T, v any) map[string]string {
	t.Helper()
	forms := make(map[string]string)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%c", "%U", "%t"} {
		forms[verb] = fmt.Sprintf(verb, v)
	}
	if b, err := json.Marshal(v); err == nil {
		forms["json"] = string(b)
	}
	var text, object bytes.Buffer
	slog.New(slog.NewTextHandler(&text, nil)).Info("m", "v", v)
	slog.New(slog.NewJSONHandler(&object, nil)).Info("m", "v", v)
	forms["slog text"], forms["slog JSON"] = text.String(), object.String()
	return forms
}

// formsOf returns the ways in which the first bytes of a secret can be
// printed.
func formsOf(secret []byte) []string {
	part := secret[:12]
	return []string{
		string(part),
		hex.EncodeToString(part),
		fmt.Sprintf("% x", part),
		base64.StdEncoding.EncodeToString(part),
		strings.Trim(fmt.Sprint(part), "[]"),
		strings.Trim(fmt.Sprintf("%#v", part), "[]byte{}"),
		strings.Trim(fmt.Sprintf("%o", part), "[]"),
		strings.Trim(fmt.Sprintf("%b", part), "[]"),
		strings.Trim(fmt.Sprintf("%U", part), "[]"),
	}
}

func TestShownTextIsUseful(t *testing.T) {
	keys, keyFile := newKeys(t), newKeyFile(t)
	for _, c := range []struct{ got, want string }{
		{fmt.Sprintf("%v", keys), fmt.Sprintf("keyset with primary data key %08x of 1", keys.PrimaryKeyID())},
		{fmt.Sprintf("%#v", keys), fmt.Sprintf("keyset with primary data key %08x of 1", keys.PrimaryKeyID())},
		{fmt.Sprint(keyFile)[:len("key-file key ")], "key-file key "},
		{fmt.Sprint(newAWSFake(t).provider(t, awsKey)), "aws-kms key " + awsKey},
		{fmt.Sprint(newPassphrase(t, "correct horse")), "passphrase"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
	b, err := json.Marshal(map[string]any{"keys": keys})
	if want := fmt.Sprintf(`{"keys":"%v"}`, keys); err != nil || string(b) != want {
		t.Errorf("JSON: got %s, %v, want %s", b, err, want)
	}
}
