package daemon

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"nanoclaw/internal/agent/agenttest"
	"nanoclaw/internal/boundary"
	"nanoclaw/internal/boundary/dockertest"
	"nanoclaw/internal/boundary/podmantest"
	"nanoclaw/internal/control"
)

// equalInstall is an installation with real Claude Code, a scripted model, and an
// image made of a folder, so that family can run in both modes.
func equalInstall(t *testing.T, e engine) (*install, func() [][]byte) {
	t.Helper()
	i, m := claudeInstall(t)
	container := e.image(t, i)
	text, err := os.ReadFile(i.paths.Config)
	must(t, err)
	lent := filepath.Join(filepath.Dir(i.home), "lent")
	must(t, os.Mkdir(lent, 0o755))
	must(t, os.WriteFile(filepath.Join(lent, "page"), []byte("lent to both\n"), 0o644))
	must(t, os.Chmod(filepath.Dir(i.home), 0o755))
	i.configure(strings.NewReplacer(
		`"hostMode":`, container+` "hostMode":`,
		`"family": {"mode": "host", `, fmt.Sprintf(`"family": {"mode": "host", "confirm": "never", "mounts": [{"path": %q}], `, lent),
	).Replace(string(text)))
	return i, func() (out [][]byte) {
		for _, r := range m.Requests() {
			out = append(out, r.Body)
		}
		return out
	}
}

// engine is one of the test's own.
type engine struct {
	name string
	with boundary.ContainerOptions
}

func ofPodman(t testing.TB) engine {
	p := podmantest.New(t)
	return engine{boundary.PodmanEngine, boundary.ContainerOptions{Program: p.Program, Env: p.Env}}
}

// claudeImage is an image in podman; see engine.image.
func claudeImage(t testing.TB, i *install) string {
	t.Helper()
	return ofPodman(t).image(t, i)
}

// image makes an image in which Claude Code can run, of a folder, and gives the lines of
// a configuration that name it and the engine.
func (e engine) image(t testing.TB, i *install) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "root")
	podmantest.Root(t, root, "curl", "unshare")
	podmantest.Libraries(t, root, agenttest.Claude(t))
	images, err := boundary.NewImages(e.name, e.with)
	must(t, err)
	must(t, images.Import(t.Context(), "localhost/equal:latest", root))
	for _, v := range e.with.Env {
		name, value, _ := strings.Cut(v, "=")
		if name == "XDG_RUNTIME_DIR" || name == "DOCKER_HOST" {
			i.env[name] = value
		}
	}
	return fmt.Sprintf(`"container": {"engine": %q, "program": %q, "ociRuntime": %q, "image": "localhost/equal:latest"},`, e.name, e.with.Program, e.with.Runtime)
}

// answersIn asks all questions in a mode, in one boundary of an engine, and gives what
// each printed, with its status.
func answersIn(t *testing.T, d *Daemon, mode, engine string) []string {
	t.Helper()
	const mark = "== next question"
	script := ""
	for _, q := range questions {
		script += "( " + q.script + "\n)\necho exit $?\necho '" + mark + "'\n"
	}
	p, err := d.Exec(t.Context(), control.ExecRequest{Group: "family", Mode: mode, Boundary: engine, Argv: []string{"bash", "-c", script}})
	if err != nil {
		t.Fatalf("%s mode: %v", mode, err)
	}
	defer p.Close()
	p.Stdin().Close()
	var said []byte
	var readers sync.WaitGroup
	readers.Go(func() { io.Copy(io.Discard, p.Stderr()) })
	said, _ = io.ReadAll(p.Stdout())
	readers.Wait()
	if _, err := p.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	out := strings.Split(string(said), mark+"\n")
	if len(out) != len(questions)+1 {
		t.Fatalf("%d answers in %s mode to %d questions:\n%s", len(out)-1, mode, len(questions), said)
	}
	return out
}

// questions are asked in both modes, and have the same answers in both. What differs
// is listed in docs/modes.md: programs and libraries, /dev/mqueue, bubblewrap's /dev/core, and what the
// kernel shows of the engine.
var questions = []struct{ name, script string }{
	{"identity", "id -u; id -g; id -un; hostname; uname -s"},
	{"environment", "env | grep -v '^_=' | sort"},
	{"the working directory", "pwd; readlink /proc/self/cwd; ls -a . | sort"},
	{"relative paths", "ls -d ./CLAUDE.md ../global ../global/CLAUDE.md; cat ../global/CLAUDE.md ./CLAUDE.md"},
	{"there is nothing else beside the workspace", "ls .. ; ls ../CLAUDE.md; ls /workspace/logs"},
	{"files", "mkdir -p made && echo a > ./made/x && mv made/x made/y && cat made/y && stat -c '%u %g %a %F' made/y . $HOME; rm -r made"},
	{"links", "ln -sf /etc/shadow l && cat l; rm l; ln -sf ../global/CLAUDE.md m && cat m; rm m"},
	{"what may be written", "for p in . $HOME /tmp /dev/shm ../global /workspace /usr /etc / /opt/claude /workspace/extra/lent; do if touch $p/x; then echo w $p; rm $p/x; else echo r $p; fi; done"},
	{"lent folders", "ls /workspace/extra; cat /workspace/extra/lent/page; echo x > /workspace/extra/lent/page"},
	{"devices", "ls /dev | grep -vxE 'mqueue|core' | sort"},
	{"privileges", "grep -E '^(Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp):' /proc/self/status"},
	{"limits", "ulimit -n; ulimit -f; ulimit -c; ulimit -u >/dev/null; echo $?"},
	{"the network", "cat /proc/net/dev | sed 's/:.*//' | grep -v '|' | tr -d ' '"},
	{"no way out", "(exec 3<>/dev/tcp/192.0.2.1/80) 2>/dev/null; echo $?; bash -c 'exec 3<>/dev/tcp/192.0.2.1/80'; echo $?"},
	{"the proxy refuses", `bash -c 'exec 3<>/dev/tcp/127.0.0.1/3128; printf "CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n" >&3; head -n 1 <&3'`},
	{"processes", "ls /proc | grep -c '^[0-9]' >/dev/null; readlink /proc/1/exe; cat /proc/1/comm"},
	{"git", "cd $HOME && rm -rf r && git init -q r && cd r && echo a > f && git add f && git -c user.name=a -c user.email=a@b commit -qm first && git log --format=%s && cd .. && rm -rf r"},
	{"the secrets of the host", "ls /root /home/owner /var/lib/nanoclaw; ls /home"},
}

// The same grant is the same place in both modes, for a command and for the agent: a
// group that changes its mode in mid conversation finds and remembers everything.
func TestModesAreEqual(t *testing.T) {
	i, requests := equalInstall(t, ofPodman(t))
	d, stop := i.run()
	if a := ask(t, d, "family", "our word is heron"); a.State != control.Succeeded {
		t.Fatalf("in host mode: %+v\n%s", a.Answer, a.text())
	}
	ask(t, d, "family", `tool: Bash {"command":"mkdir -p conversations && echo from-host > ./conversations/note"}`)
	host := answersIn(t, d, "host", boundary.NativeEngine)
	for name, other := range map[string][]string{"bubblewrap": answersIn(t, d, "host", boundary.BubblewrapEngine), "container": answersIn(t, d, "container", "")} {
		for n, q := range questions {
			if host[n] != other[n] {
				t.Errorf("%s:\n--- host\n%s\n--- %s\n%s", q.name, host[n], name, other[n])
			}
		}
	}
	stop()

	hosted, err := os.ReadFile(i.paths.Config)
	must(t, err)
	i.configure(strings.Replace(string(hosted), `"family": {"mode": "host"`, `"family": {"mode": "container"`, 1))
	d, stop = i.run()
	a := ask(t, d, "family", `tool: Bash {"command":"cat ./conversations/note ../global/CLAUDE.md && echo from-container >> ./conversations/note"}`)
	if a.State != control.Succeeded || !strings.Contains(a.text(), "from-host") {
		t.Fatalf("in container mode: %+v\n%s", a.Answer, a.text())
	}
	if text := logText(t, d, a.Run); !strings.Contains(text, "mode:        container (groups.family.mode)\n") || !strings.Contains(text, "\ncontainer:   ") {
		t.Errorf("its file:\n%s", text)
	}
	toldInMode(t, requests(), "container", "our word is heron", "from-host")
	if a = ask(t, d, "family", `tool: mcp__nanoclaw__send_message {"text":"by a tool"}`); a.State != control.Succeeded || !strings.Contains(a.text(), "by a tool") {
		t.Errorf("a tool of the host's in container mode: %+v\n%s", a.Answer, a.text())
	}
	stop()

	i.configure(string(hosted))
	d, _ = i.run()
	a = ask(t, d, "family", `tool: Bash {"command":"cat ./conversations/note"}`)
	if a.State != control.Succeeded || !strings.Contains(a.text(), "from-container") {
		t.Fatalf("in host mode again: %+v\n%s", a.Answer, a.text())
	}
	toldInMode(t, requests(), "host", "our word is heron", "from-container", "by a tool")
	state, err := d.store.Remembered(t.Context(), "family", "")
	must(t, err)
	if state.AgentSession == "" {
		t.Error("the group has no conversation")
	}
}

// A group in containers of docker answers as one in podman's does.
func TestDockerAnswers(t *testing.T) {
	if os.Getuid() != 0 {
		return // the docker of the tests is root's
	}
	docker := dockertest.New(t)
	answersInContainers(t, engine{boundary.DockerEngine, boundary.ContainerOptions{Program: docker.Program, Env: docker.Env}}, docker.Containers, nil)
}

// And so does one in containers of podman with gVisor's runsc, where that is installed,
// but for what its kernel says otherwise.
func TestGVisorAnswers(t *testing.T) {
	runsc := podmantest.Runsc()
	if runsc == "" || os.Getuid() != 0 { // where cgroups are of version 1, an ordinary user's is refused
		return
	}
	p := podmantest.New(t)
	answersInContainers(t, engine{boundary.PodmanEngine, boundary.ContainerOptions{Program: p.Program, Env: p.Env, Runtime: runsc}}, p.Containers,
		map[string]bool{"devices": true}) // /dev/fuse and /dev/net/tun of that kernel
}

// answersInContainers holds a group in containers of an engine to what one in host mode
// does: with Claude Code, warm, with the host's tools, stopped in the middle; and what it
// is asked has the answers of host mode, but for what docs/containers.md lists.
func answersInContainers(t *testing.T, e engine, left func() []string, other map[string]bool) {
	t.Helper()
	i, _ := equalInstall(t, e)
	text, err := os.ReadFile(i.paths.Config)
	must(t, err)
	i.configure(strings.Replace(string(text), `"family": {"mode": "host"`, `"family": {"mode": "container"`, 1))
	d, _ := i.run()
	first := ask(t, d, "family", `tool: Bash {"command":"echo kept > note && cat note ../global/CLAUDE.md"}`)
	if first.State != control.Succeeded || !strings.Contains(first.text(), "kept") {
		t.Fatalf("cold: %+v\n%s", first.Answer, first.text())
	}
	if text := logText(t, d, first.Run); !strings.Contains(text, "mode:        container") || !strings.Contains(text, "engine:      "+e.name) {
		t.Errorf("its file:\n%s", text)
	}
	warm := ask(t, d, "family", `tool: mcp__nanoclaw__send_message {"text":"by a tool"}`)
	if warm.State != control.Succeeded || !strings.Contains(warm.text(), "by a tool") {
		t.Errorf("warm: %+v\n%s", warm.Answer, warm.text())
	}
	if text := logText(t, d, warm.Run); !strings.Contains(text, "warm") {
		t.Errorf("the second message began a container of its own:\n%s", text)
	}
	host, contained := answersIn(t, d, "host", boundary.NativeEngine), answersIn(t, d, "container", "")
	for n, q := range questions {
		if (host[n] != contained[n]) != other[q.name] {
			t.Errorf("%s (known to differ: %t):\n--- host\n%s\n--- %s\n%s", q.name, other[q.name], host[n], e.name, contained[n])
		}
	}

	report, err := d.Doctor(t.Context(), control.DoctorQuery{})
	must(t, err)
	if told := slices.ContainsFunc(report.Checks, func(c control.Check) bool { return c.Name == "gVisor differs" }); told != (e.with.Runtime != "") {
		t.Errorf("doctor tells what differs on gVisor: %t", told)
	}

	begun := say(t, d, "family", "bash: touch begun; exec sleep 50")
	eventually(t, "the command in the container begins", func() bool {
		_, err := os.Stat(filepath.Join(i.paths.DataDir, "groups/family/workspace/begun"))
		return err == nil
	})
	if stopped, err := d.Stop(t.Context(), control.StopRequest{Group: "family"}); err != nil || len(stopped.Runs) != 1 {
		t.Errorf("stop: %+v, %v", stopped, err)
	}
	if a, err := d.Wait(t.Context(), "family", begun); err != nil || a.State != "cancelled" {
		t.Errorf("what was stopped: %+v, %v", a, err)
	}
	eventually(t, "the engine removes the container", func() bool { return len(left()) == 0 })
	if a := ask(t, d, "family", `tool: Bash {"command":"cat note"}`); a.State != control.Succeeded || !strings.Contains(a.text(), "kept") {
		t.Errorf("after a stop: %+v\n%s", a.Answer, a.text())
	}
}

// toldInMode looks at what the model was asked last: the whole conversation, and the
// mode that the agent is told.
func toldInMode(t *testing.T, all [][]byte, mode string, words ...string) {
	t.Helper()
	var last []byte
	for _, body := range all {
		if bytes.Contains(body, []byte("You are the assistant of the chat group")) {
			last = body
		}
	}
	for _, w := range append(words, "You run in "+mode+" mode") {
		if !bytes.Contains(last, []byte(w)) {
			t.Errorf("in %s mode the model is not told %q", mode, w)
		}
	}
}
