package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/control"
	"nanoclaw/internal/grant"
)

// The exit codes. A command that exec ran has its own, 128 and the signal's
// number if one ended it.
const (
	exitOK            = 0
	exitFailed        = 1
	exitUsage         = 2
	exitRefused       = 3   // the policy said no
	exitBoundary      = 125 // the boundary could not be built
	exitNotExecutable = 126
	exitNoCommand     = 127
	exitSignal        = 128 // plus the number of the signal
)

// exitError ends the command with a code. Without an error nothing is printed:
// everything was said.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// usageError marks a command line that cannot be right.
func usageError(err error, cmd *cobra.Command) error {
	return &control.Error{Code: control.CodeUsage, Message: err.Error(), Hint: cmd.CommandPath() + " --help"}
}

// fail tells a person what failed and what to do, and gives the exit code.
func (a *app) fail(err error) int {
	var quiet *exitError
	if errors.As(err, &quiet) && quiet.err == nil {
		return quiet.code
	}
	text, hint := words(err)
	fmt.Fprintln(a.err, "nanoclaw: "+channel.SafeText(text))
	if hint != "" {
		fmt.Fprintln(a.err, "hint: "+channel.SafeText(hint))
	}
	if quiet != nil {
		return quiet.code
	}
	return exitCode(err)
}

// exitCode is the code that goes with an error.
func exitCode(err error) int {
	var no *grant.Refusal
	if errors.As(err, &no) {
		return exitRefused
	}
	var e *control.Error
	if !errors.As(err, &e) {
		return exitFailed
	}
	switch e.Code {
	case control.CodeUsage:
		return exitUsage
	case control.CodeRefused:
		return exitRefused
	case control.CodeBoundary:
		return exitBoundary
	case control.CodeNotExecutable:
		return exitNotExecutable
	case control.CodeNoCommand:
		return exitNoCommand
	}
	return exitFailed
}

// words parts an error into what failed and what to do. Packages below say the
// latter as a hint of their own or as a last line that begins with "fix:".
func words(err error) (text, hint string) {
	var e *control.Error
	var no *grant.Refusal
	switch {
	case errors.As(err, &e):
		text, hint = e.Message, e.Hint
	case errors.As(err, &no):
		text, hint = no.Text, no.Hint
	case errors.Is(err, control.ErrNotRunning):
		return control.ErrNotRunning.Error(), "start it with: nanoclaw run"
	default:
		text = err.Error()
	}
	if before, fix, ok := strings.Cut(text, "\nfix: "); ok && hint == "" {
		text, hint = before, fix
	}
	return text, hint
}
