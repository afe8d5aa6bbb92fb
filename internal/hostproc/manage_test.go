package hostproc

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

// acts are all of them.
var acts = []Act{
	Reload, UserReload, Enable, UserEnable, Disable, UserDisable, Start, UserStart, Stop, UserStop, Restart, UserRestart,
	Forget, UserForget, Show, UserShow, Logs, UserLogs, Follow, UserFollow, AddUser, RemoveUser, Linger, NoLinger, ShowLinger,
	MacLoad, MacUnload, MacStart, MacStop, MacShow,
}

// Each act concerns our service or our user, and whose it is can be seen in it.
func TestActs(t *testing.T) {
	seen := map[string]Act{}
	for _, a := range acts {
		name, args, err := a.Command()
		if err != nil {
			t.Fatalf("%s: %v", a, err)
		}
		line := name + " " + strings.Join(args, " ")
		if other, twice := seen[line]; twice {
			t.Errorf("%s and %s are both %s", a, other, line)
		}
		seen[line] = a
		forUser := slices.Contains(args, "--user") || strings.Contains(line, "--user-unit=")
		if want := strings.HasPrefix(string(a), "user-"); forUser != want {
			t.Errorf("%s is %s", a, line)
		}
		about := strings.Contains(line, "nanoclaw") || strings.HasSuffix(string(a), "reload") || name == "loginctl"
		if !about {
			t.Errorf("%s names neither our service nor our user: %s", a, line)
		}
	}
	for _, a := range []Act{"", "user-", "user-add-user", "user-mac-load", "poweroff", "user-user-start"} {
		if name, args, err := a.Command(); err == nil {
			t.Errorf("%q is %s %q", a, name, args)
		}
	}
}

func TestActIsStartedWithNothingOfOurs(t *testing.T) {
	t.Setenv("ANTHROPIC_API_KEY", "planted-secret")
	dir := t.TempDir()
	path := program(t, dir, "systemctl", `echo "$*"; env; echo oops >&2; [ "$1" != stop ]`)
	got, err := act(t.Context(), path, "systemctl", []string{"start", serviceUnit}, nil)
	if err != nil || !strings.HasPrefix(got, "start nanoclaw.service\n") || strings.Contains(got, "planted") || strings.Contains(got, "oops") {
		t.Errorf("%q, %v", got, err)
	}
	if !strings.Contains(got, "XDG_RUNTIME_DIR=/run/user/") {
		t.Errorf("it cannot find its manager:\n%s", got)
	}
	if _, err := act(t.Context(), path, "systemctl", []string{"stop", serviceUnit}, nil); err == nil || !strings.Contains(err.Error(), "systemctl stop nanoclaw.service: exit status 1: oops") {
		t.Errorf("a failure says %v", err)
	}
	if _, err := manage(t.Context(), Start, nil, []string{dir}); err == nil || !strings.Contains(err.Error(), "is not started") {
		t.Errorf("a program that others can change: %v", err)
	}
	if _, err := manage(t.Context(), Start, nil, []string{t.TempDir()}); !errors.Is(err, ErrNoProgram) {
		t.Errorf("a program that is not there: %v", err)
	}
}

// What is followed comes while it is said, and ends when nobody wants more.
func TestFollow(t *testing.T) {
	path := program(t, t.TempDir(), "journalctl", "echo said; exec sleep 600")
	ctx, cancel := context.WithCancel(t.Context())
	heard := &listener{cancel: cancel}
	if _, err := act(ctx, path, "journalctl", []string{"--follow"}, heard); err != nil || heard.heard.String() != "said\n" {
		t.Errorf("%q, %v", heard.heard.String(), err)
	}
}

// listener has heard enough after the first words.
type listener struct {
	heard  bytes.Buffer // not embedded: its ReadFrom would wait for the end
	cancel func()
}

func (l *listener) Write(p []byte) (int, error) {
	defer l.cancel()
	return l.heard.Write(p)
}
