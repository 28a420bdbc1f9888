// Command flux evaluates a Flux script whose secrets.get reads from a Fluxkeep
// server. It shows what a program that embeds Flux has to do for that, and is
// a module of its own because this Flux needs old versions of much.
//
// The script comes from standard input and its result, annotated CSV, goes to
// standard output. The server is that of INFLUX_HOST, INFLUX_TOKEN and
// INFLUX_ORG.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/influxdata/flux"
	"github.com/influxdata/flux/csv"
	"github.com/influxdata/flux/lang"
	"github.com/influxdata/flux/memory"

	// What scripts can use. Flux wants these registered before it begins.
	_ "github.com/influxdata/flux/stdlib/csv"
	_ "github.com/influxdata/flux/stdlib/date"
	_ "github.com/influxdata/flux/stdlib/influxdata/influxdb"
	_ "github.com/influxdata/flux/stdlib/influxdata/influxdb/secrets"
	_ "github.com/influxdata/flux/stdlib/math"
	_ "github.com/influxdata/flux/stdlib/regexp"
	_ "github.com/influxdata/flux/stdlib/strings"
	_ "github.com/influxdata/flux/stdlib/system"
	_ "github.com/influxdata/flux/stdlib/universe"
)

func main() {
	if err := run(context.Background(), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "flux:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, in io.Reader, out io.Writer) error {
	script, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	service, err := secretService(ctx)
	if err != nil {
		return err
	}
	deps := flux.NewDefaultDependencies()
	deps.Deps.SecretService = service
	flux.FinalizeBuiltIns()

	program, err := lang.Compile(string(script), time.Now())
	if err != nil {
		return fmt.Errorf("compile the script: %w", err)
	}
	query, err := program.Start(deps.Inject(ctx), new(memory.Allocator))
	if err != nil {
		return fmt.Errorf("run the script: %w", err)
	}
	results := flux.NewResultIteratorFromQuery(query)
	defer results.Release()
	if _, err := csv.NewMultiResultEncoder(csv.DefaultEncoderConfig()).Encode(out, results); err != nil {
		return fmt.Errorf("run the script: %w", err)
	}
	return results.Err()
}

// secretService makes what Flux asks for the values of secrets.
func secretService(ctx context.Context) (*client.SecretService, error) {
	c, err := client.New(client.Config{URL: os.Getenv("INFLUX_HOST"), Token: os.Getenv("INFLUX_TOKEN")})
	if err != nil {
		return nil, err
	}
	org, err := c.OrganizationByName(ctx, os.Getenv("INFLUX_ORG"))
	if err != nil {
		return nil, err
	}
	return c.SecretService(org.ID, nil), nil
}
