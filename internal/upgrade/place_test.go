package upgrade

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// What the test's own program does instead, when it is started again.
const (
	killAt   = "NANOCLAW_TEST_KILL_UPGRADE"
	fullDisk = "NANOCLAW_TEST_FULL_DISK"
)

// placed is a folder with a former program, and an offer of a new one.
func placed(t *testing.T) (at string, o *Offer) {
	t.Helper()
	at = filepath.Join(t.TempDir(), "nanoclaw")
	must(t, os.WriteFile(at, []byte("#!/bin/sh\necho former\n"), 0o755))
	return at, &Offer{program: []byte("#!/bin/sh\necho new\n")}
}

// says runs what stands at a place.
func says(t *testing.T, at string) string {
	t.Helper()
	out, err := exec.Command(at).CombinedOutput()
	if err != nil {
		t.Errorf("%s does not run: %v %s", at, err, out)
	}
	return strings.TrimSpace(string(out))
}

func names(t *testing.T, at string) string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(at))
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func TestSwitchAndBack(t *testing.T) {
	at, o := placed(t)
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(at, link))
	must(t, os.Chmod(at, 0o750|os.ModeSetuid))
	for range 2 { // the second finds what the first left
		p, err := Hold(link)
		must(t, err)
		if _, err := Hold(at); !errors.Is(err, ErrBusy) {
			t.Errorf("a second upgrade gets %v", err)
		}
		staged, err := p.Stage(o)
		must(t, err)
		if says(t, staged) != "new" || says(t, at) != "former" {
			t.Error("what is staged is not beside what is there")
		}
		must(t, p.Switch())
		if says(t, at) != "new" || says(t, p.Old()) != "former" {
			t.Error("it was not switched")
		}
		if info, err := os.Stat(at); err != nil || info.Mode() != 0o750 {
			t.Errorf("the new program has mode %v, %v", info.Mode(), err)
		}
		must(t, p.Back())
		if says(t, at) != "former" {
			t.Error("it did not come back")
		}
		must(t, p.Close())
	}
	if got := names(t, at); got != "nanoclaw nanoclaw.old" {
		t.Errorf("left are %s", got)
	}
	if target, err := os.Readlink(link); err != nil || target != at {
		t.Errorf("the link is gone: %v", err)
	}
}

// Whoever swaps the file, or what a name stands for, after it was checked changes
// nothing of what is written.
func TestWhatWasCheckedIsWhatIsWritten(t *testing.T) {
	dir, key, _ := release(t)
	file := filepath.Join(dir, "link")
	real := filepath.Join(dir, "nanoclaw_v1.2.0"+platform+".tar.gz")
	must(t, os.Symlink(real, file))
	o, err := Open(file, key)
	must(t, err)
	evil := filepath.Join(dir, "evil")
	must(t, os.WriteFile(evil, []byte("#!/bin/sh\necho evil\n"), 0o755))
	must(t, os.Remove(file))
	must(t, os.Symlink(evil, file))
	must(t, os.WriteFile(real, []byte("evil"), 0o644))

	at, _ := placed(t)
	p, err := Hold(at)
	must(t, err)
	defer p.Close()
	victim := filepath.Join(dir, "victim")
	must(t, os.WriteFile(victim, []byte("mine"), 0o600))
	must(t, os.Symlink(victim, p.staged()))
	if _, err := p.Stage(o); !errors.Is(err, os.ErrExist) {
		t.Errorf("it was written through a link that somebody laid: %v", err)
	}
	must(t, os.Remove(p.staged()))
	_, err = p.Stage(o)
	must(t, err)
	must(t, p.Switch())
	if got, err := os.ReadFile(at); err != nil || !bytes.Equal(got, program(t)) {
		t.Errorf("what was written is not what was signed (%v)", err)
	}
	if got, _ := os.ReadFile(victim); string(got) != "mine" {
		t.Error("the victim was written to")
	}
}

// steps are what a child of the next test can be killed at, and which program is there
// then.
var killSteps = []struct{ step, want string }{
	{"stage", "former"}, {"staged content", "former"}, {"link", "former"}, {"linked", "former"}, {"named", "former"},
	{"switch", "former"}, {"switched", "new"}, {"back", "new"}, {"link:2", "new"}, {"linked:2", "new"}, {"named:2", "former"},
}

// An upgrade that goes there and back is killed before each of its steps, with the
// signal that nobody can catch. The program is whole and runs, and the next upgrade
// finds nothing in its way.
func TestKilledAtEachStep(t *testing.T) {
	for _, tt := range killSteps {
		t.Run(tt.step, func(t *testing.T) {
			at, o := placed(t)
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), killAt+"="+tt.step, "AT="+at)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("the child was not killed: %v %s", err, out)
			}
			if got := says(t, at); got != tt.want {
				t.Errorf("there is the %s program, want the %s one", got, tt.want)
			}
			p, err := Hold(at)
			must(t, err)
			defer p.Close()
			_, err = p.Stage(o)
			must(t, err)
			must(t, p.Switch())
			if says(t, at) != "new" || says(t, p.Old()) != tt.want {
				t.Error("the next upgrade did not go through")
			}
			if got := names(t, at); got != "nanoclaw nanoclaw.old" {
				t.Errorf("left are %s", got)
			}
		})
	}
}

// killedUpgrade is the child: it kills itself before a step.
func killedUpgrade(step string) int {
	at, n := os.Getenv("AT"), 0
	p, err := Hold(at)
	if err != nil {
		return fail(err)
	}
	name, second := strings.CutSuffix(step, ":2")
	p.reached = func(reached string) {
		if reached != name {
			return
		}
		if n++; n == 1 && !second || n == 2 {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	if _, err = p.Stage(&Offer{program: []byte("#!/bin/sh\necho new\n")}); err == nil {
		err = p.Switch()
	}
	if err == nil {
		err = p.Back()
	}
	return fail(err)
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "the child:", err)
	return 1
}

func TestHoldRefuses(t *testing.T) {
	dir := t.TempDir()
	if _, err := Hold(dir); err == nil || !strings.Contains(err.Error(), "is not a file") {
		t.Errorf("a folder: %v", err)
	}
	if _, err := Hold(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nothing: %v", err)
	}
}
