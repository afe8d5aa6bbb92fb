package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"nanoclaw/internal/hostproc"
)

// State is how the service stands.
type State struct {
	Installed bool    `json:"installed"`
	Manager   Manager `json:"manager,omitempty"`
	File      string  `json:"file,omitempty"`
	Running   bool    `json:"running"`
	// Enabled says that it begins when the machine does.
	Enabled bool `json:"enabled"`
	// State and Status are the manager's and the service's own words.
	State  string `json:"state,omitempty"`
	Status string `json:"status,omitempty"`
	PID    string `json:"pid,omitempty"`
	Since  string `json:"since,omitempty"`
	// Restarts is how often it was started again after a failure.
	Restarts string `json:"restarts,omitempty"`
	// Why says why it does not run, Fix what to do.
	Why string `json:"why,omitempty"`
	Fix string `json:"fix,omitempty"`
}

// Status asks the manager.
func (h Host) Status(ctx context.Context) (State, error) {
	text, mine, err := h.Installed()
	if err != nil {
		return State{}, err
	}
	s := State{File: h.File(), Installed: text != "" && mine}
	switch {
	case text == "":
		s.Why, s.Fix = "it is not installed", "nanoclaw service install"
		return s, nil
	case !mine:
		s.Why = s.File + " was not written by nanoclaw"
		return s, nil
	case h.System == "darwin":
		return h.macStatus(ctx, s)
	}
	s.Manager = Systemd
	p, err := h.show(ctx)
	if err != nil {
		return s, err
	}
	return s.with(p), nil
}

// show gives the properties of the service by name.
func (h Host) show(ctx context.Context) (map[string]string, error) {
	out, err := h.act(ctx, hostproc.Show)
	if err != nil {
		return nil, err
	}
	p := map[string]string{}
	for line := range strings.Lines(out) {
		if name, value, ok := strings.Cut(strings.TrimRight(line, "\n"), "="); ok {
			p[name] = value
		}
	}
	return p, nil
}

// with reads systemd's properties of a service (org.freedesktop.systemd1(5)).
func (s State) with(p map[string]string) State {
	s.State, s.Status, s.Restarts = p["ActiveState"]+" ("+p["SubState"]+")", p["StatusText"], p["NRestarts"]
	s.Enabled, s.Running = p["UnitFileState"] == "enabled", p["ActiveState"] == "active"
	if s.Running {
		s.PID, s.Since = p["MainPID"], p["ActiveEnterTimestamp"]
		return s
	}
	s.Since = p["InactiveEnterTimestamp"]
	s.Fix = "nanoclaw service logs, then nanoclaw service start"
	switch p["Result"] {
	case "start-limit-hit":
		s.Why = "it failed five times within ten minutes, so it is not started again by itself"
	case "watchdog":
		s.Why = fmt.Sprintf("it gave no sign of life for %v and was ended", Watchdog)
	case "oom-kill":
		s.Why = "the machine was out of memory and ended it"
	case "timeout":
		s.Why = "it was not ready in time, or did not end in time"
	case "exit-code":
		s.Why = "it ended with exit code " + p["ExecMainStatus"]
	case "signal", "core-dump":
		s.Why = "it was ended by signal " + p["ExecMainStatus"]
	case "success", "":
		s.Why, s.Fix = "it was stopped, or not started yet", "nanoclaw service start"
	default:
		s.Why = "systemd says " + p["Result"]
	}
	if p["ActiveState"] == "activating" {
		s.Why, s.Fix = strings.TrimPrefix("it is starting; before: "+s.Why, "it is starting; before: it was stopped, or not started yet"), "nanoclaw service logs"
		if s.Why == "" {
			s.Why = "it is starting"
		}
	}
	return s
}

// macStatus reads what launchctl print says, whose form Apple does not promise:
// what is not found in it stays unsaid.
func (h Host) macStatus(ctx context.Context, s State) (State, error) {
	s.Manager, s.Enabled = Launchd, true
	out, err := h.Do(ctx, hostproc.MacShow, nil)
	if err != nil {
		s.Why, s.Fix = "it is not loaded", "nanoclaw service start"
		return s, nil
	}
	for line := range strings.Lines(out) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " = ")
		switch {
		case !ok:
		case name == "state":
			s.State, s.Running = value, value == "running"
		case name == "pid":
			s.PID = value
		case name == "last exit code" && !s.Running:
			s.Why, s.Fix = "it ended with exit code "+value+"; launchd starts it again a minute later", "nanoclaw service logs"
		}
	}
	return s, nil
}

// errNotInstalled says what to do first.
var errNotInstalled = errors.New("the service is not installed\nfix: nanoclaw service install")

func (h Host) installed() error {
	_, mine, err := h.Installed()
	if err == nil && !mine {
		err = errNotInstalled
	}
	return err
}

// Start starts the service and returns once it is ready. One that was given up
// after failures begins anew.
func (h Host) Start(ctx context.Context) error {
	if err := h.installed(); err != nil {
		return err
	}
	if h.System == "darwin" {
		_, loading := h.Do(ctx, hostproc.MacLoad, nil)
		if _, err := h.Do(ctx, hostproc.MacStart, nil); err != nil {
			return errors.Join(loading, err)
		}
		return nil // loading fails where it is loaded
	}
	h.act(ctx, hostproc.Forget) // fails where there is nothing to forget
	_, err := h.act(ctx, hostproc.Start)
	return err
}

// Stop ends the service. It stays ended until it is started, or the machine is.
func (h Host) Stop(ctx context.Context) error {
	if err := h.installed(); err != nil {
		return err
	}
	if h.System == "darwin" {
		if _, err := h.Do(ctx, hostproc.MacShow, nil); err != nil {
			return nil // not loaded
		}
		_, err := h.Do(ctx, hostproc.MacUnload, nil) // KeepAlive would start it again
		return err
	}
	_, err := h.act(ctx, hostproc.Stop)
	return err
}

// Restart ends the service and starts it again.
func (h Host) Restart(ctx context.Context) error {
	if h.System == "darwin" {
		return errors.Join(h.Stop(ctx), h.Start(ctx))
	}
	if err := h.installed(); err != nil {
		return err
	}
	h.act(ctx, hostproc.Forget)
	_, err := h.act(ctx, hostproc.Restart)
	return err
}

// Logs writes what the service said last; with follow also what it says from now
// on, until ctx ends.
func (h Host) Logs(ctx context.Context, w io.Writer, follow bool, log string) error {
	if h.System == "darwin" {
		return macLogs(w, follow, log)
	}
	if follow {
		a := hostproc.Follow
		if h.UID != 0 {
			a = hostproc.UserFollow
		}
		_, err := h.Do(ctx, a, w)
		return err
	}
	out, err := h.act(ctx, hostproc.Logs)
	if err == nil {
		_, err = io.WriteString(w, out)
	}
	return err
}

// macLogs shows the end of the file that launchd writes.
func macLogs(w io.Writer, follow bool, log string) error {
	if follow {
		return errors.New("launchd has no log to follow\nfix: tail -f " + log)
	}
	f, err := os.Open(log)
	if err != nil {
		return err
	}
	defer f.Close()
	const last = 64 << 10
	if info, err := f.Stat(); err == nil && info.Size() > last {
		if _, err := f.Seek(-last, io.SeekEnd); err != nil {
			return err
		}
	}
	_, err = io.Copy(w, f)
	return err
}
