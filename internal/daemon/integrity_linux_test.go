package daemon

import (
	"cmp"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"syscall"
	"testing"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
)

// spoil does one thing to one file, as anybody would who wants another policy. It
// says nothing and never fails: what came of it is looked at on the host.
const spoil = `exec 2>/dev/null
way=$1 f=$2 dir=${2%/*}
case $way in
append) echo evil >>"$f" ;;
cut) : >"$f" ;;
remove) rm -f "$f" ;;
replace) echo evil >"$f.new"; mv -f "$f.new" "$f" ;;
link) ln -sfn /etc/passwd "$f" ;;
second) ln "$f" "$dir/second" || ln "$f" ./second ;;
hard) echo evil >"$dir/evil"; ln -f "$dir/evil" "$f" ;;
mode) chmod 666 "$f" ;;
owner) chown 65534 "$f"; touch -d '2001-01-01' "$f" ;;
folder) mv "$dir" "$dir.away"; mkdir "$dir" ;;
folderlink) mv "$dir" "$dir.away"; ln -s /tmp "$dir" ;;
beside) echo evil >"$dir/beside" ;;
esac
exit 0`

func spoilWays() []string {
	return []string{"append", "cut", "remove", "replace", "link", "second", "hard", "mode", "owner", "folder", "folderlink", "beside"}
}

// stateOf is all that shows whether somebody touched files: every change of content,
// name or mode gives a file, or its folder, another ctime.
func stateOf(t *testing.T, files []string) string {
	t.Helper()
	var out []string
	for _, f := range files {
		for _, p := range []string{f, filepath.Dir(f)} {
			var st syscall.Stat_t
			if err := syscall.Lstat(p, &st); err != nil {
				out = append(out, fmt.Sprint(p, err))
				continue
			}
			line := fmt.Sprintf("%s %d:%d %o %d", p, st.Dev, st.Ino, st.Mode, st.Uid)
			if p == f {
				data, err := os.ReadFile(p)
				line += fmt.Sprintf(" %v %d %q %v", st.Ctim, st.Nlink, data, err)
			} else {
				for _, left := range []string{"second", "evil", "beside", filepath.Base(f) + ".new", "../" + filepath.Base(p) + ".away"} {
					if _, err := os.Lstat(filepath.Join(p, left)); err == nil {
						line += " " + left
					}
				}
			}
			out = append(out, line)
		}
	}
	sort.Strings(out)
	return strings.Join(out, "\n")
}

// No file of the policy can be touched from inside, in any engine that there is, by
// any of its names. The same script does every one of these things outside.
func TestPolicyCannotBeTouchedFromInside(t *testing.T) {
	for _, way := range spoilWays() {
		f := filepath.Join(t.TempDir(), "config", "policy")
		must(t, os.Mkdir(filepath.Dir(f), 0o700))
		must(t, os.WriteFile(f, []byte("policy"), 0o600))
		before := stateOf(t, []string{f})
		cmd := osexec.Command("sh", "-c", spoil, "sh", way, f)
		cmd.Dir = t.TempDir()
		must(t, cmd.Run())
		if stateOf(t, []string{f}) == before {
			t.Fatalf("%s does nothing outside, so that it fails inside would show nothing", way)
		}
	}
	modules, err := filepath.Abs(filepath.Join(cmp.Or(os.Getenv("NANOCLAW_TEST_SRT"), "../../tools/srt"), "node_modules"))
	must(t, err)
	arch := cmp.Or(map[string]string{"amd64": "x64"}[runtime.GOARCH], runtime.GOARCH)
	i, files := policyInstall(t, "")
	text, err := os.ReadFile(i.paths.Config)
	must(t, err)
	anchor := filepath.Join(t.TempDir(), "anchors")
	must(t, os.WriteFile(anchor, nil, 0o600))
	i.configure(strings.Replace(string(text), `"version": 1,`, fmt.Sprintf(`"version": 1, "audit": {"anchor": %q}, "boundary": {"srt": {"path": %q, "node": %q}},`, anchor,
		filepath.Join(modules, "@anthropic-ai", "sandbox-runtime"), filepath.Join(modules, "node-linux-"+arch, "bin", "node")), 1))
	d := i.open()
	t.Cleanup(func() { must(t, d.Close()) })
	files = append(files, anchor)
	before := stateOf(t, files)
	if len(d.engines) < 3 {
		t.Fatalf("only %d engines", len(d.engines))
	}
	for _, m := range d.engines {
		// One shell inside does all of it, in main, which has the most rights: each
		// thing, to each file, by each of its names.
		script := "spoil() (\n" + spoil + "\n)\nwhile read -r way f; do for p in \"$f\" \"/proc/1/root$f\"; do spoil \"$way\" \"$p\"; done; done; echo tried"
		out := spokenInside(t, d, control.ExecRequest{Group: chat.Main, Boundary: m.name, Argv: []string{"sh", "-c", script}}, tasks(files))
		if out != "tried\n" {
			t.Errorf("%s: the attempts ended with %q", m.name, out)
		}
		if after := stateOf(t, files); after != before {
			t.Errorf("%s: from inside the policy was touched:\n%s\nwas\n%s", m.name, after, before)
		}
		must(t, d.checkConfig(t.Context()))
	}
}

// spokenInside runs a command inside that reads in, and gives what it says.
func spokenInside(t *testing.T, d *Daemon, r control.ExecRequest, in string) string {
	t.Helper()
	p, err := d.Exec(t.Context(), r)
	if err != nil {
		t.Fatalf("%s: %v", r.Boundary, err)
	}
	defer p.Close()
	go func() {
		io.WriteString(p.Stdin(), in)
		p.Stdin().Close()
	}()
	go io.Copy(io.Discard, p.Stderr())
	out, err := io.ReadAll(p.Stdout())
	must(t, err)
	_, err = p.Wait(t.Context())
	must(t, err)
	return string(out)
}

// tasks are what the script inside reads: a way and a file on each line.
func tasks(files []string) string {
	var b strings.Builder
	for _, f := range files {
		for _, way := range spoilWays() {
			fmt.Fprintln(&b, way, f)
		}
	}
	return b.String()
}
