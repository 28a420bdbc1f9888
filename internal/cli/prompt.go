package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// interactive reports whether there is a user to prompt.
func interactive(cmd *cobra.Command) bool { return isTerminal(cmd.InOrStdin()) }

// prompt shows a question: on standard error or, when that goes elsewhere, on
// the terminal itself.
func prompt(cmd *cobra.Command, text string) {
	w := cmd.ErrOrStderr()
	if !isTerminal(w) {
		if tty, err := os.OpenFile("/dev/tty", os.O_WRONLY, 0); err == nil {
			defer tty.Close()
			w = tty
		}
	}
	_, _ = io.WriteString(w, text)
}

var errNotConfirmed = errors.New("nothing was done")

// confirm asks whether to continue. Without a terminal, --yes is required.
func confirm(cmd *cobra.Command, yes bool, question string, args ...any) error {
	if yes {
		return nil
	}
	if !interactive(cmd) {
		return withHint(errors.New("nothing was done: there is no terminal to ask for confirmation"), "add --yes to go on without being asked")
	}
	answer, err := ask(cmd, fmt.Sprintf(question, args...)+" [y/N] ")
	if err != nil {
		return err
	}
	if !isYes(answer) {
		return errNotConfirmed
	}
	return nil
}

func isYes(answer string) bool {
	answer = strings.ToLower(answer)
	return answer == "y" || answer == "yes"
}

// yesToRemove describes --yes where only removing something needs it.
const yesToRemove = "don't ask for confirmation; required to remove secrets without a terminal"

func addYes(cmd *cobra.Command, yes *bool) {
	cmd.Flags().BoolVarP(yes, "yes", "y", false, "don't ask for confirmation; required without a terminal")
}

// awaited runs a read that can't be interrupted, and abandons it when ctx ends.
func awaited(ctx context.Context, read func() (string, error), restore func()) (string, error) {
	type result struct {
		text string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		text, err := read()
		done <- result{text, err}
	}()
	select {
	case r := <-done:
		return r.text, r.err
	case <-ctx.Done():
		if restore != nil {
			restore()
		}
		return "", ctx.Err()
	}
}

// askHidden prompts on the terminal without echo.
func askHidden(cmd *cobra.Command, question string) (string, error) {
	in, ok := cmd.InOrStdin().(*os.File)
	if !ok {
		return "", errors.New("there is no terminal to ask at")
	}
	fd := int(in.Fd())
	state, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("ask at the terminal: %w", err)
	}
	prompt(cmd, question)
	defer prompt(cmd, "\n")
	return awaited(cmd.Context(), func() (string, error) {
		text, err := readHidden(in)
		if errors.Is(err, io.EOF) {
			err = errNotConfirmed
		}
		return text, err
	}, func() { _ = term.Restore(fd, state) })
}

// askTwice prompts twice without echo, to catch typing errors.
func askTwice(cmd *cobra.Command, what string) (string, error) {
	first, err := askHidden(cmd, what+": ")
	if err != nil {
		return "", err
	}
	second, err := askHidden(cmd, what+" again: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", errors.New("the two are not the same")
	}
	return first, nil
}

// ask asks for a line.
func ask(cmd *cobra.Command, question string) (string, error) {
	prompt(cmd, question)
	line, err := awaited(cmd.Context(), func() (string, error) { return readLine(cmd.InOrStdin()) }, nil)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return strings.TrimSpace(line), nil
}

// readLine reads a line without buffering ahead: the answer to the next prompt
// may already have been typed.
func readLine(r io.Reader) (string, error) {
	var line []byte
	for b := make([]byte, 1); ; {
		n, err := r.Read(b)
		if n == 1 && b[0] == '\n' {
			return string(line), nil
		}
		line = append(line, b[:n]...)
		if err != nil {
			return string(line), err
		}
	}
}

// input holds the flags that give a value.
type input struct {
	value    string // --value, if given
	hasValue bool
	file     string // --file
}

// readCredential reads a password or a token, which is never empty. A line break at the
// end of a file isn't part of it.
func (in input) readCredential(cmd *cobra.Command, what string, twice bool) (string, error) {
	text, err := in.read(cmd, what, twice)
	if in.file != "" {
		text = trimLineEnd(text)
	}
	if err == nil && text == "" {
		err = withHint(fmt.Errorf("the %s is empty", strings.ToLower(what)), "give it by standard input or in a file")
	}
	return text, err
}

// read reads the value as the flags say, from a prompt or, without a terminal,
// from standard input.
func (in input) read(cmd *cobra.Command, what string, twice bool) (string, error) {
	switch {
	case in.hasValue:
		return in.value, nil
	case in.file == "-":
		return readAll(cmd.InOrStdin())
	case in.file != "":
		data, err := os.ReadFile(in.file)
		return string(data), err
	case isTerminal(cmd.InOrStdin()) && twice:
		return askTwice(cmd, what)
	case isTerminal(cmd.InOrStdin()):
		return askHidden(cmd, what+": ")
	}
	text, err := readAll(cmd.InOrStdin())
	return trimLineEnd(text), err
}

func readAll(r io.Reader) (string, error) {
	var b bytes.Buffer
	if _, err := b.ReadFrom(r); err != nil {
		return "", fmt.Errorf("read standard input: %w", err)
	}
	return b.String(), nil
}

// trimLineEnd removes the line break that echo and editors add.
func trimLineEnd(s string) string {
	if t, ok := strings.CutSuffix(s, "\n"); ok {
		return strings.TrimSuffix(t, "\r")
	}
	return s
}
