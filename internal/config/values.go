package config

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// Flag value types that pflag lacks.
var (
	_ pflag.Value = (*choice)(nil)
	_ pflag.Value = (*size)(nil)
	_ pflag.Value = (*level)(nil)
	_ pflag.Value = (*prefixes)(nil)
)

// choice is a setting with a fixed set of values.
type choice struct {
	p  *string
	of []string
}

func newChoice(p *string, value string, of ...string) *choice {
	*p = value
	return &choice{p, of}
}

func (c *choice) Type() string   { return "string" }
func (c *choice) String() string { return *c.p }

func (c *choice) Set(s string) error {
	if !slices.Contains(c.of, s) {
		return fmt.Errorf("must be %s", strings.Join(c.of, " or "))
	}
	*c.p = s
	return nil
}

// size is a number of bytes, with an optional binary unit.
type size int64

func newSize(p *int64, value int64) *size {
	*p = value
	return (*size)(p)
}

var sizeUnits = []struct {
	suffix string
	bytes  int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}, {"", 1}}

func (s *size) Type() string { return "size" }

func (s *size) String() string {
	for _, u := range sizeUnits {
		if n := int64(*s); n != 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.suffix
		}
	}
	return "0"
}

func (s *size) Set(text string) error {
	for _, u := range sizeUnits {
		digits, ok := strings.CutSuffix(text, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/u.bytes {
			break
		}
		*s = size(n * u.bytes)
		return nil
	}
	return errors.New("must be a number of bytes such as 65536, 512KiB, 64MiB or 1GiB")
}

// level is a log level.
type level slog.Level

func newLevel(p *slog.Level, value slog.Level) *level {
	*p = value
	return (*level)(p)
}

var levels = map[string]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
}

func (l *level) Type() string   { return "level" }
func (l *level) String() string { return strings.ToLower(slog.Level(*l).String()) }

func (l *level) Set(s string) error {
	v, ok := levels[strings.ToLower(s)]
	if !ok {
		return errors.New("must be debug, info, warn or error")
	}
	*l = level(v)
	return nil
}

// prefixes is a list of networks or single addresses.
type prefixes []netip.Prefix

func (p *prefixes) Type() string { return "networks" }

func (p *prefixes) String() string {
	texts := make([]string, len(*p))
	for i, n := range *p {
		texts[i] = n.String()
	}
	return strings.Join(texts, ",")
}

func (p *prefixes) Set(s string) error {
	var read prefixes
	for text := range strings.SplitSeq(s, ",") {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		n, err := netip.ParsePrefix(text)
		if addr, aerr := netip.ParseAddr(text); err != nil && aerr == nil {
			n, err = addr.WithZone("").Prefix(addr.BitLen())
		}
		if err != nil {
			return errors.New("must be addresses or networks such as 10.0.0.0/8, separated by commas")
		}
		read = append(read, n.Masked())
	}
	*p = read
	return nil
}
