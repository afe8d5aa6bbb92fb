package boundary

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nanoclaw/internal/config"
	"nanoclaw/internal/confine"
	"nanoclaw/internal/egress"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// differences says why the kernel may say otherwise than the grant, if it may.
func differences(engine string, q grant.Question, more bool) (why string, listed bool) {
	for _, d := range Differences(engine) {
		if d.Covers(q) && d.More == more {
			return d.Why, true
		}
	}
	return "", false
}

// masksHere are the masked files that this kernel has.
func masksHere() []string {
	return slices.DeleteFunc([]string{"/proc/kcore", "/proc/keys", "/proc/kallsyms", "/proc/timer_list", "/proc/config.gz"}, func(p string) bool {
		_, err := os.Lstat(p)
		return err != nil
	})
}

// asked is a grant with something of everything, as Decide makes it, for
// folders that exist.
func asked(t *testing.T) (g grant.Grant, m grant.Machine, dir string) {
	t.Helper()
	dir = openDir(t)
	program, err := os.ReadFile("/usr/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"groups/family/workspace", "groups/family/home", "global", "extra/ro", "extra/rw", "extra/rw/.git", "extra/rw/.git/hooks", "tools"} {
		at := filepath.Join(dir, name)
		for _, folder := range []string{at, filepath.Join(at, "sub")} {
			if err := os.MkdirAll(folder, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for file, data := range map[string][]byte{"file": []byte("x"), "prog": program} {
			if err := os.WriteFile(filepath.Join(at, file), data, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	c := config.Default()
	c.Agent.Kind, c.Tools = grant.Shell, []string{filepath.Join(dir, "tools")}
	c.HostMode = config.HostMode{Enabled: true, RunsPerHour: 10}
	c.Groups = map[string]config.Group{"family": {
		Mode: "host", HostModeAllowed: true,
		Mounts: []config.Mount{{Path: filepath.Join(dir, "extra/ro")}, {Path: filepath.Join(dir, "extra/rw"), Write: true}},
		Egress: []string{"example.com", "example.com:8443", "*.wild.example.net", "plain.example.org:80"},
	}}
	m = grant.Machine{
		OwnerHome: "/home/owner", Private: []string{"/home/owner/.config/nanoclaw"},
		GroupsDir: filepath.Join(dir, "groups"), GlobalDir: filepath.Join(dir, "global"),
	}
	g, err = grant.Decide(grant.Request{Config: &c, Group: "family", Trigger: grant.Trigger{Kind: "message"}, Machine: m})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "extra/rw/.git/config"), program, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, m := range g.Lent() {
		g = holdIn(t, g, m)
	}
	return g, m, dir
}

func pathQuestions(dir string) []string {
	var out []string
	ask := func(ops string, paths ...string) {
		for _, p := range paths {
			for op := range strings.FieldsSeq(ops) {
				out = append(out, op+":"+p)
			}
		}
	}
	folders := []string{grant.Workspace, grant.Home, grant.Global, grant.Extra + "/ro", grant.Extra + "/rw", filepath.Join(dir, "tools")}
	for _, f := range append(folders, "/tmp", "/dev/shm") {
		ask("read list", f)
		ask("read write", f+"/file")
		ask("exec", f+"/prog")
		ask("create remove rename link", f+"/fresh")
	}
	for _, f := range folders {
		ask("list", f+"/sub")
		ask("create remove rename link", f+"/sub/fresh")
	}
	git := grant.Extra + "/rw/.git"
	ask("list read remove rename", git, git+"/hooks")
	ask("read write exec remove rename link create", git+"/config", git+"/hooks/prog")
	ask("create remove rename link", git+"/fresh", git+"/sub/fresh", git+"/hooks/fresh", git+"/hooks/sub/fresh")
	ask("write", git+"/file", git+"/hooks/sub")
	for _, f := range []string{"/", "/workspace", "/workspace/extra", "/home", "/usr", "/usr/bin", "/bin", "/lib", "/etc", "/dev", "/dev/pts", "/proc", "/proc/self", "/run"} {
		ask("list read", f)
		ask("create remove rename link", filepath.Join(f, "fresh"))
	}
	if _, err := os.Stat("/etc/alternatives"); err == nil {
		ask("list read create", "/etc/alternatives")
	}
	ask("read write exec remove rename link create", "/usr/bin/env", "/bin/sh")
	ask("read write exec remove create", grant.GeneratedFiles()...)
	ask("read write exec remove", "/dev/null", "/dev/zero", "/dev/urandom")
	ask("read write exec", "/proc/self/status", "/proc/sys/kernel/hostname", "/proc/1/environ", "/proc/1/mem")
	ask("read write exec remove", masksHere()...)
	ask("write exec remove", "/proc/self/mem", "/proc/sysrq-trigger", "/proc/self/exe")
	ask("read write list create", "/etc/shadow", "/etc/ssh", "/etc/sudoers", "/root", "/var", "/var/log", "/sys", "/sys/kernel", "/boot",
		"/home/owner", "/home/other", "/srv", "/mnt", "/media", "/run/docker.sock", "/run/user", "/dev/mem", "/dev/kmsg", "/dev/sda", "/dev/fuse", landlockCanary)
	// By their paths on the host, which the agent has at others.
	ask("read write exec", filepath.Join(dir, "extra/ro/prog"), filepath.Join(dir, "extra/rw/prog"), filepath.Join(dir, "groups/family/workspace/prog"))
	ask("remove rename", folders...)
	ask("remove rename", "/tmp", "/dev/shm", "/usr", "/workspace", "/proc", "/etc")
	return out
}

func hostQuestions() []string {
	var out []string
	for _, h := range []string{
		"example.com", "EXAMPLE.com.", "www.example.com", "example.com.evil.org", "evilexample.com", "plain.example.org",
		"wild.example.net", "a.wild.example.net", "a.b.wild.example.net", "awild.example.net", "other.org",
		"127.0.0.1", "localhost", "10.0.0.1", "169.254.169.254", "0x7f.1", "2130706433.", "[2001:db8::1]", "[::1]", "exa_mple..com",
	} {
		for _, port := range []string{"443", "80", "8443", "22", "3128", "8481", "0", "65536", "0443"} {
			out = append(out, h+":"+port)
		}
	}
	return out
}

func varQuestions(g grant.Grant) []string {
	out := []string{"$SSH_AUTH_SOCK", "$ANTHROPIC_API_KEY", "$XDG_RUNTIME_DIR", "$LD_PRELOAD", "$NANOCLAW_HOME", "$DBUS_SESSION_BUS_ADDRESS", "$home"}
	for _, v := range g.Env {
		out = append(out, "$"+v.Name)
	}
	return out
}

// callQuestions asks about every call that the filter always refuses, and with
// arguments about those that it looks into.
func callQuestions() []string {
	var out []string
	for _, r := range confine.SeccompRules() {
		if len(r.When) == 0 && r.Action != confine.Allow && r.Call != "socket" && r.Call != "socketpair" {
			out = append(out, "call:"+r.Call)
		}
	}
	for family := range 46 {
		for _, kind := range []string{"1,0", "2,0", "3,0", "1,262", "2,17", "5,0"} {
			out = append(out, fmt.Sprintf("call:socket(%d,%s)", family, kind))
		}
	}
	return append(out,
		"call:socket(0x100000001,1,0)", "call:socketpair(1,1,0,1)", "call:socketpair(1,2,0,1)", "call:socketpair(1,5,0,1)", "call:socketpair(2,1,0,1)",
		"call:unshare(0)", "call:unshare(0x200)", "call:unshare(0x10000000)", "call:unshare(0x20000)", "call:unshare(0x2000000000)",
		"call:ioctl(0xffffffffffffffff,0x5412)", "call:ioctl(0xffffffffffffffff,0x541c)", "call:ioctl(0xffffffffffffffff,0x5401)",
		"call:ioctl(0xffffffffffffffff,0x100005412)", "call:personality(0xffffffff)", "call:personality(0x40000)", "call:clone(0x10000000)",
		"call:fchmod(0xffffffffffffffff,0x800)", "call:fchmod(0xffffffffffffffff,0x1ff)", "call:openat(0xffffffffffffffff,1,0x41,0x400)",
		"call:openat(0xffffffffffffffff,1,0x41,0x1ff)", "call:openat(0xffffffffffffffff,1,0,0x400)", "call:seccomp(1,8,1)", "call:seccomp(1,0,1)")
}

// liveForm adds what the asker needs to make a system call.
func liveForm(t *testing.T, q grant.Question) live {
	t.Helper()
	l := live{Question: q}
	if q.Kind != grant.AboutCall {
		return l
	}
	parts := callForm.FindStringSubmatch(q.Name)
	rules := confine.SeccompRules()
	i := slices.IndexFunc(rules, func(r confine.Rule) bool { return r.Call == parts[1] })
	if i < 0 {
		t.Fatalf("%s: not in the table", q)
	}
	l.Number = rules[i].Number
	const none = ^uint64(0) // no descriptor, no address, no flag that there is
	l.Args = [6]uint64{none, 1, none, 1, none, none}
	if strings.Contains(q.Name, "(") {
		args, err := callArgs(parts[2])
		if err != nil {
			t.Fatal(err)
		}
		l.Args = args
	}
	return l
}

// explain asks the evaluator.
func explain(g grant.Grant, m grant.Machine, q grant.Question) grant.Answer {
	if q.Kind == grant.AboutCall {
		return ExplainCall(q)
	}
	return grant.Explain(g, m, q)
}

// nobody is a name service that knows no name.
type nobody struct{}

func (nobody) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return nil, fmt.Errorf("no such host")
}

// What the grant says when it is asked is what a session meets.
func TestExplainAgreesWithTheBoundary(t *testing.T) {
	for _, name := range []string{"SSH_AUTH_SOCK", "ANTHROPIC_API_KEY", "XDG_RUNTIME_DIR"} {
		t.Setenv(name, "of the host")
	}
	g, m, dir := asked(t)
	var questions []grant.Question
	for _, text := range slices.Concat(pathQuestions(dir), hostQuestions(), varQuestions(g), callQuestions()) {
		q, err := grant.ParseQuestion(text)
		if err != nil {
			t.Fatal(err)
		}
		questions = append(questions, q)
	}
	if len(questions) < 500 {
		t.Errorf("only %d questions", len(questions))
	}
	forms := make([]live, len(questions))
	for i, q := range questions {
		forms[i] = liveForm(t, q)
		if as := explain(g, m, q).As; as != "" {
			forms[i].Name = as
		}
	}
	met := askInside(t, g, forms)
	allowed := 0
	for i, q := range questions {
		said := explain(g, m, q)
		why, listed := differences(underTest(), q, !said.Allowed)
		switch agree := said.Allowed == met[i].Allowed; {
		case !agree && !listed:
			t.Errorf("%s: the grant says %t (%s%s), the session %t (%s)", q, said.Allowed, said.Line, said.Why, met[i].Allowed, met[i].Error)
		case agree && listed:
			t.Errorf("%s: no difference any more, though this is listed: %s", q, why)
		}
		if met[i].Allowed {
			allowed++
		}
	}
	t.Logf("%d questions, %d allowed", len(questions), allowed)
	if allowed < 100 {
		t.Errorf("only %d were allowed: the asker does not work", allowed)
	}
}

// askInside lets the asker try the questions in a session with the grant.
func askInside(t *testing.T, g grant.Grant, questions []live) []lived {
	t.Helper()
	self := filepath.Join(openDir(t), "asker")
	copyFile(t, "/proc/self/exe", self)
	g.Mounts = append(slices.Clone(g.Mounts), grant.Mount{Target: "/opt/asker", Source: self, Exec: true, File: true})
	gate := egress.New(egress.Options{
		Group: g.Group, Hosts: g.Egress, Record: func(egress.Event) error { return nil }, Resolver: nobody{},
	})
	t.Cleanup(gate.Close)
	b := start(t, func(s *Spec) { s.Grant, s.Serve = g, gate.Serve })
	b.env = []string{roleVar + "=asker"}
	for _, v := range g.Env {
		b.env = append(b.env, v.Name+"="+v.Value)
	}
	input, err := json.Marshal(questions)
	if err != nil {
		t.Fatal(err)
	}
	r := b.run(string(input), "/opt/asker")
	var out []lived
	if err := json.Unmarshal([]byte(r.out), &out); err != nil || r.Code != 0 || len(out) != len(questions) {
		t.Fatalf("the asker ended with %d, %d answers, %v\n%s", r.Code, len(out), err, r.err)
	}
	return out
}

// What Render shows is what Start builds, without what is secret.
func TestRenderShowsWhatStartBuilds(t *testing.T) {
	g, _, dir := asked(t)
	n := newNative(t, Options{})
	spec := Spec{Grant: g, LandlockFloor: 1}
	if os.Geteuid() == 0 {
		spec.UID = groupUID
	}
	shown, err := n.Render(spec)
	if err != nil {
		t.Fatal(err)
	}
	r := shown.(NativeRendering)
	id, err := n.identify(spec.UID)
	if err != nil {
		t.Fatal(err)
	}
	p, err := n.plan(spec, id)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if err := n.giveAll(p); err != nil {
		t.Fatal(err)
	}
	if got, want := len(r.Mounts), len(p.spec.Mounts); got != want {
		t.Fatalf("%d mounts are shown, %d are made", got, want)
	}
	for i, m := range p.spec.Mounts {
		if got := r.Mounts[i]; got.Target != m.Target || got.Write != m.Write || got.Exec != m.Exec || got.File != m.File || got.Unmade {
			t.Errorf("shown %+v, made %+v", got, m)
		}
	}
	again := wire.Spec{
		Version: wire.Version, Token: p.spec.Token, Hostname: r.Hostname, Mounts: p.spec.Mounts, Links: r.Links, Files: p.spec.Files, TmpBytes: r.TmpBytes,
		Endpoints: r.Endpoints, Rlimits: p.spec.Rlimits, LandlockFloor: r.LandlockFloor, Landlock: r.Landlock,
	}
	if a, b := fmt.Sprintf("%+v", again), fmt.Sprintf("%+v", p.spec); a != b {
		t.Errorf("shown\n%s\nmade\n%s", a, b)
	}
	text := r.String()
	for _, want := range []string{
		"mount rwx " + grant.Workspace + " = " + filepath.Join(dir, "groups/family/workspace") + "\n", "file /etc/passwd \"root:x:0:0",
		"rlimit nofile ", "endpoint 127.0.0.1:3128 proxy\n", "landlock --- list /\n", "call mount always: EPERM  # ", "call clone if argument 0 has any bit of 0x",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if strings.Contains(text, p.spec.Token) {
		t.Error("the text holds a token")
	}
}

// A group that never ran has no folders yet; showing what it would get makes none.
func TestRenderMakesNothing(t *testing.T) {
	g, _, dir := asked(t)
	own := filepath.Join(dir, "groups")
	if err := os.RemoveAll(own); err != nil {
		t.Fatal(err)
	}
	r, err := newEngine(t, Options{}).Render(Spec{Grant: g})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(r.String(), grant.Home+" = "+filepath.Join(own, "family/home")+" (made at the first start)\n") {
		t.Error(r.String())
	}
	if _, err := os.Lstat(own); !os.IsNotExist(err) {
		t.Errorf("the folder is there: %v", err)
	}
	g.Mounts = append(g.Mounts, grant.Mount{Target: grant.Extra + "/gone", Source: filepath.Join(dir, "gone"), Foreign: true})
	if _, err := newEngine(t, Options{}).Render(Spec{Grant: g}); err == nil {
		t.Error("a folder of the owner that is not there is shown as if it were")
	}
}
