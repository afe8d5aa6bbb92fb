package hostproc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"time"
)

// Self is a nanoclaw in another version: the one that an upgrade puts in our place, or
// the one that it replaces, or our own program in a process of its own. It is started with our own rights and environment, as the
// owner would, and only after package upgrade found that a known key signed it.
type Self struct {
	// Path of the program.
	Path string
	// Env is its environment: ours.
	Env []string
}

// Bounds of what we ask of ourselves. Doctor starts a boundary.
const (
	selfTimeout   = 2 * time.Minute
	maxSelfOutput = 1 << 20
)

// About is what a program says of itself.
type About struct {
	Version string `json:"version"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

// Version asks the program what it is.
func (s Self) Version(ctx context.Context) (About, error) {
	var about About
	err := s.ask(ctx, &about, "version", "--json")
	return about, err
}

// Failures gives what the program's doctor finds wrong on this machine, by the name of
// the check, in words.
func (s Self) Failures(ctx context.Context) (map[string]string, error) {
	var report struct {
		Checks []struct{ Name, State, Detail string }
	}
	if err := s.ask(ctx, &report, "doctor", "--json"); err != nil {
		return nil, err
	}
	if len(report.Checks) == 0 {
		return nil, fmt.Errorf("%s doctor --json: it checked nothing", s.Path)
	}
	failures := map[string]string{}
	for _, c := range report.Checks {
		if c.State == "fail" {
			failures[c.Name] = c.Detail
		}
	}
	return failures, nil
}

// Live asks how many runs go on in the daemon of this installation. It fails if none runs.
func (s Self) Live(ctx context.Context) (int, error) {
	var status struct{ Live []struct{} }
	err := s.ask(ctx, &status, "status", "--json")
	return len(status.Live), err
}

// Backup has the program write a backup of its installation into a new file. There is
// no bound on how long that takes but ctx.
func (s Self) Backup(ctx context.Context, file string) error {
	cmd := s.command(ctx, "backup", "--", file)
	said := &bounded{limit: maxOutput}
	cmd.Stderr = said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s backup: %w: %s", s.Path, err, firstLine(said.kept))
	}
	return nil
}

// command is a start of the program.
func (s Self) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.Path, args...)
	cmd.Dir = "/"
	cmd.Env = s.Env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = killDelay
	return cmd
}

// ask starts the program and reads its answer, which may come with exit code 1.
func (s Self) ask(ctx context.Context, answer any, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, selfTimeout)
	defer cancel()
	cmd := s.command(ctx, args...)
	out, said := &bounded{limit: maxSelfOutput}, &bounded{limit: maxOutput}
	cmd.Stdout, cmd.Stderr = out, said
	err := cmd.Run()
	if ctx.Err() != nil {
		return fmt.Errorf("%s %s did not answer in time", s.Path, args[0])
	}
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1 || len(out.kept) == 0) {
		return fmt.Errorf("%s %s: %w: %s", s.Path, args[0], err, firstLine(said.kept))
	}
	if err := json.Unmarshal(out.kept, answer); err != nil {
		return fmt.Errorf("%s %s --json: %w", s.Path, args[0], err)
	}
	return nil
}
