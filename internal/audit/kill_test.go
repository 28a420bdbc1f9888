package audit

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// childLog names the log that TestKill's child process writes.
const childLog = "AUDIT_TEST_CHILD_LOG"

func TestMain(m *testing.M) {
	if path := os.Getenv(childLog); path != "" {
		if err := writeUntilKilled(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	goleak.VerifyTestMain(m) // no goroutine survives Close
}

// writeUntilKilled appends from several goroutines and prints each record's ID
// before and after appending it.
func writeUntilKilled(path string) error {
	l, err := Open(path, &Options{MaxBytes: 50_000})
	if err != nil {
		return err
	}
	w := newWriter()
	failed := make(chan error)
	for range 8 {
		go func() {
			for {
				id, body := w.body()
				fmt.Println("begin", id)
				if err := l.Append(body); err != nil {
					failed <- err
					return
				}
				fmt.Println("took", id)
			}
		}()
	}
	for {
		select {
		case err := <-failed:
			return err
		case <-time.After(time.Millisecond):
		}
		if _, err := l.Sync(); err != nil {
			return err
		}
	}
}

// TestKill checks that killing the process loses no record that Append
// accepted.
func TestKill(t *testing.T) {
	path := logPath(t)
	var took []ID
	begun := make(map[ID]bool)
	for round := range 5 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childLog+"="+path)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kill := 500 + 777*round // number of lines of output
		n := 0
		for scanner := bufio.NewScanner(out); scanner.Scan(); n++ {
			if n == kill {
				cmd.Process.Kill()
			}
			var word, text string
			if k, _ := fmt.Sscan(scanner.Text(), &word, &text); k < 2 {
				continue // truncated by the kill
			}
			var id ID
			if err := id.UnmarshalText([]byte(text)); err != nil {
				continue
			}
			if word == "took" {
				took = append(took, id)
				delete(begun, id)
			} else {
				begun[id] = true
			}
		}
		if err := cmd.Wait(); err == nil || n < kill {
			t.Fatalf("the process ended by itself: %v", err)
		}
		l := mustOpen(t, path, nil)
		since := mustSync(t, l)
		mustClose(t, l)
		checkLog(t, path, &since, took, slices.Collect(maps.Keys(begun))...)
	}
}
