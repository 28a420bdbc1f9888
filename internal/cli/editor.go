package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/durable"
	"github.com/spf13/cobra"
)

// editor lets the user edit a text in a file that only its owner can read, in
// a folder of its own in memory. The folder also takes the swap and backup
// files that editors put beside a file. close removes it, after any signal but
// KILL too; then the next editor does.
type editor struct {
	cmd  *cobra.Command
	dir  string
	lock *os.File // on dir, shared with the editor's process; nil where folders can't be locked
	stop []func()
}

// newEditor makes the folder. Where there is no file system in memory, onDisk
// must be set.
func newEditor(cmd *cobra.Command, onDisk bool) (*editor, error) {
	e := &editor{cmd: cmd}
	if !interactive(cmd) && os.Getenv("VISUAL") == "" && os.Getenv("EDITOR") == "" {
		return nil, withHint(errors.New("there is no terminal for an editor"), "set $EDITOR to a program that needs none")
	}
	e.renewSignals() // before there is something to remove
	place, err := memoryDir()
	if err != nil && !onDisk {
		e.close()
		return nil, withHint(fmt.Errorf("there is no place in memory for the values: %w", err), "--on-disk edits them in a temporary file on disk, which is removed but may be recoverable")
	}
	if err != nil {
		place = os.TempDir()
	}
	removeLeftovers(place)
	if e.dir, e.lock, err = newEditDir(place); err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

// editPrefix starts the names of this user's folders.
func editPrefix() string { return fmt.Sprintf("fluxkeep-edit-%d-", os.Getuid()) }

// newEditDir makes a folder and locks it. Before the lock, another process may take it
// for a leftover.
func newEditDir(place string) (dir string, lock *os.File, err error) {
	for range 100 {
		if dir, err = os.MkdirTemp(place, editPrefix()); err != nil {
			return "", nil, err
		}
		if lock, err = lockDir(dir); err == nil {
			return dir, lock, nil
		}
		if errors.Is(err, errors.ErrUnsupported) {
			return dir, nil, nil
		}
		_ = os.Remove(dir) // if it is still there
	}
	return "", nil, err
}

// lockDir locks a folder, which must still be there then.
func lockDir(dir string) (*os.File, error) {
	if runtime.GOOS == "windows" {
		return nil, errors.ErrUnsupported // an open folder could not be removed
	}
	f, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_NONBLOCK, 0) // or another user's pipe with this name would block
	if err != nil {
		return nil, err
	}
	if err = durable.Lock(f); err == nil {
		_, err = os.Stat(dir)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// removeLeftovers removes the folders of commands that were killed and whose editors
// have ended.
func removeLeftovers(place string) {
	entries, _ := os.ReadDir(place)
	for _, entry := range entries {
		if !entry.IsDir() || !strings.HasPrefix(entry.Name(), editPrefix()) {
			continue
		}
		dir := filepath.Join(place, entry.Name())
		if lock, err := lockDir(dir); err == nil {
			_ = os.RemoveAll(dir) // the next editor tries again
			lock.Close()
		}
	}
}

// close removes the folder.
func (e *editor) close() error {
	var err error
	if e.dir != "" {
		err = os.RemoveAll(e.dir)
	}
	if e.lock != nil {
		e.lock.Close()
	}
	for _, stop := range e.stop {
		stop()
	}
	return err
}

// renewSignals gives the command a context that the next signal ends. Ctrl-C in
// the editor is for the editor, but has ended the context before. Earlier
// handlers stay until the end, so no signal ends the process by default.
func (e *editor) renewSignals() {
	ctx, stop := signal.NotifyContext(context.WithoutCancel(e.cmd.Context()),
		os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE)
	e.stop = append(e.stop, stop)
	e.cmd.SetContext(ctx)
}

// edit runs the editor on a text and returns the edited one.
func (e *editor) edit(name, text string) (string, error) {
	path := filepath.Join(e.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", err
	}
	if err := e.run(path); err != nil {
		return "", err
	}
	data, err := os.ReadFile(path)
	return string(data), err
}

// run runs the editor until it ends. An interrupt at the terminal is the
// editor's; other signals end the editor and the command.
func (e *editor) run(path string) error {
	program := editorCommand()
	child := exec.Command("sh", "-c", "exec "+program+` "$@"`, "sh", path)
	if runtime.GOOS == "windows" {
		words := strings.Fields(program)
		child = exec.Command(words[0], append(words[1:], path)...)
	}
	child.Stdin, child.Stdout, child.Stderr = e.cmd.InOrStdin(), e.cmd.OutOrStdout(), e.cmd.ErrOrStderr()
	if isTerminal(e.cmd.ErrOrStderr()) {
		child.Stdout = e.cmd.ErrOrStderr() // standard output is for the result
	}
	if e.lock != nil {
		child.ExtraFiles = []*os.File{e.lock}
	}
	ending := make(chan os.Signal, 4)
	signal.Notify(ending, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer signal.Stop(ending)
	if err := child.Start(); err != nil {
		return fmt.Errorf("run the editor %s: %w", program, err)
	}
	done := make(chan error, 1)
	go func() { done <- child.Wait() }()
	select {
	case err := <-done:
		e.renewSignals()
		if err != nil {
			return withHint(fmt.Errorf("the editor %s failed: %w; nothing was changed", program, err), "set $VISUAL or $EDITOR to another one")
		}
		return nil
	case sig := <-ending:
		_ = child.Process.Signal(syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			_ = child.Process.Kill()
			<-done
		}
		return fmt.Errorf("ended by a signal (%v); nothing was changed", sig)
	}
}

// editorCommand returns the user's editor. Vim, which is often installed as vi, would
// copy registers, undone text and backups to files in the home folder.
func editorCommand() string {
	program := "vi"
	for _, name := range []string{"EDITOR", "VISUAL"} {
		if v := strings.TrimSpace(os.Getenv(name)); v != "" {
			program = v
		}
	}
	words := strings.Fields(program)
	if isVim(words[0]) {
		program += ` -n -i NONE -c "set noundofile nobackup nowritebackup"`
	}
	return program
}

// isVim reports whether a program is Vim or Neovim, under whatever name.
func isVim(program string) bool {
	if path, err := exec.LookPath(program); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			program = path
		}
	}
	// Such as vim.basic.
	name, _, _ := strings.Cut(filepath.Base(program), ".")
	return slices.Contains([]string{"vim", "nvim", "gvim"}, name)
}

var errNotInMemory = errors.New("this system has no file system in memory")
