package cli

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/big"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

type secretGenerate struct {
	r           *remote
	length      int
	alphabet    string
	characters  string
	noLookAlike bool
	replace     bool
	show        bool
}

const (
	lower  = "abcdefghijklmnopqrstuvwxyz"
	upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits = "0123456789"
	// symbols leaves out quotes, backslash, backquote, $ and space, which shells
	// and configuration files treat specially.
	symbols = "!#%()*+,-./:;<=>?@[]^_{|}~"
	// lookAlikes are hard to tell apart in many fonts.
	lookAlikes = "0O1Il|"
)

var alphabets = map[string]string{
	"alphanumeric": lower + upper + digits,
	"symbols":      lower + upper + digits + symbols,
	"letters":      lower + upper,
	"lowercase":    lower + digits,
	"digits":       digits,
	"hex":          digits + "abcdef",
}

func newSecretGenerateCommand(r *remote) *cobra.Command {
	c := secretGenerate{r: r}
	names := slices.Sorted(maps.Keys(alphabets))
	cmd := &cobra.Command{
		Use:     "generate NAME…",
		Aliases: []string{"gen"},
		Short:   "Set secrets to random values",
		Long: `Set secrets to random values, in one version. The values are not printed without --show.

A secret that exists is not overwritten without --replace. Its previous value stays in
the history.

The alphabets are ` + strings.Join(names, ", ") + `; symbols includes letters and digits.`,
		Example: `  fluxkeep secret generate session_key
  fluxkeep secret generate db_password --length 24 --alphabet symbols --replace
  fluxkeep secret generate pin --length 6 --alphabet digits --show`,
		Annotations:       map[string]string{variables: ""},
		Args:              arguments(1, -1),
		ValidArgsFunction: r.completeSecrets,
		RunE:              c.run,
	}
	fs := cmd.Flags()
	fs.IntVarP(&c.length, "length", "l", 32, "`number` of characters")
	fs.StringVar(&c.alphabet, "alphabet", "alphanumeric", "`set` of characters")
	fs.StringVar(&c.characters, "characters", "", "`characters` to choose from, instead of an alphabet")
	fs.BoolVar(&c.noLookAlike, "no-look-alikes", false, "leave out "+lookAlikes)
	fs.BoolVar(&c.replace, "replace", false, "overwrite secrets that exist")
	fs.BoolVar(&c.show, "show", false, "print the values")
	cmd.MarkFlagsMutuallyExclusive("alphabet", "characters")
	completeValues(cmd, "alphabet", names...)
	return cmd
}

func (c *secretGenerate) run(cmd *cobra.Command, names []string) error {
	set, err := c.set()
	if err != nil {
		return usageError(cmd, err)
	}
	if c.r.format == formatEnv && !c.show {
		return usageError(cmd, errors.New("--output env prints values: add --show"))
	}
	if len(names) > 1 && c.show && !c.r.structured() {
		return withHint(errors.New("several values can't be printed as they are"), "add --json or another --output")
	}
	secrets := make(map[string]string, len(names))
	for _, name := range names {
		if secrets[name], err = randomText(set, c.length); err != nil {
			return err
		}
	}
	if c.r.format == formatEnv { // before anything is set
		if err := printEnv(io.Discard, secrets); err != nil {
			return err
		}
	}
	s, org, err := c.r.open(cmd)
	if err != nil {
		return err
	}
	w, err := s.update(cmd.Context(), org.ID, names, func(now map[string]string) (map[string]*string, error) {
		if err := refuseExisting(now, org, c.replace, names...); err != nil {
			return nil, err
		}
		return setAll(secrets), nil
	})
	if err != nil {
		return err
	}
	bits := float64(c.length) * math.Log2(float64(len(set)))
	if bits < 64 {
		warn(cmd, "%s of this alphabet are only %.0f bits: enough only if attempts are limited", count(c.length, "character"), bits)
	}
	switch {
	case c.show && c.r.structured():
		return c.r.printValue(cmd, secrets)
	case c.show:
		if err := printValue(cmd.OutOrStdout(), secrets[names[0]]); err != nil {
			return err
		}
	}
	length := count(c.length, "character")
	if len(names) > 1 {
		length += " each"
	}
	return c.r.written(cmd, org, w, fmt.Sprintf("Generated %s, %s (%.0f bits)", some(names, 10), length, bits), "They have these values already")
}

// set returns the characters to choose from, each once.
func (c *secretGenerate) set() ([]rune, error) {
	text, ok := alphabets[c.alphabet]
	if c.characters != "" {
		text = c.characters
	} else if !ok {
		return nil, fmt.Errorf("there is no alphabet %q", c.alphabet)
	}
	if c.length < 1 || c.length > 4096 {
		return nil, errors.New("--length must be between 1 and 4096")
	}
	var set []rune
	for _, r := range text {
		if !slices.Contains(set, r) && !(c.noLookAlike && strings.ContainsRune(lookAlikes, r)) {
			set = append(set, r)
		}
	}
	if len(set) < 2 {
		return nil, errors.New("there must be at least two characters to choose from")
	}
	return set, nil
}

// randomText chooses each character independently and with the same
// probability.
func randomText(set []rune, length int) (string, error) {
	out := make([]rune, length)
	for i := range out {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(set))))
		if err != nil {
			return "", err
		}
		out[i] = set[n.Int64()]
	}
	return string(out), nil
}
