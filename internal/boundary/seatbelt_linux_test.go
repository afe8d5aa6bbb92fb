package boundary

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"nanoclaw/internal/egress"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/sbpl"
	"nanoclaw/internal/seatbelt"
	"nanoclaw/internal/seatbelt/seatbelttest"
	"nanoclaw/internal/wire"
)

// mac is a session as it would be on a Mac, for questions.
type mac struct {
	local   *seatbelt.Local
	profile *sbpl.Profile
	env     []string
	gate    *egress.Gateway
	ports   map[string]int
}

func newMac(t *testing.T, g grant.Grant) *mac {
	t.Helper()
	p := seatbelt.Params{
		Init: "/Users/owner/Library/nanoclaw/nanoclaw-init", Tmp: "/private/var/folders/x/nanoclaw/s1",
		Ports: map[string]int{"proxy": 50001, "tools": 50002, "model": 50003},
	}
	text, err := seatbelt.Profile(g, p)
	if err != nil {
		t.Fatal(err)
	}
	m := &mac{local: seatbelt.Localize(g, p, "secret"), ports: p.Ports}
	if m.profile, err = sbpl.Parse(text, nil); err != nil {
		t.Fatal(err)
	}
	var env []string
	for _, v := range g.Env {
		env = append(env, v.Name+"="+v.Value)
	}
	m.env = m.local.Exec(wire.Exec{Env: env}).Env
	m.gate = egress.New(egress.Options{Group: g.Group, Hosts: g.Egress, Record: func(egress.Event) error { return nil }, Resolver: nobody{}})
	t.Cleanup(m.gate.Close)
	return m
}

// may answers as a process in the session would find it.
func (m *mac) may(g grant.Grant, q grant.Question, as string) bool {
	switch q.Kind {
	case grant.AboutPath:
		name := q.Name
		if as != "" {
			name = as
		}
		return seatbelttest.Path(m.profile, q.Op, seatbelt.Real(m.local.Path(filepath.Clean(name))))
	case grant.AboutVar:
		return slices.ContainsFunc(m.env, func(v string) bool { return strings.HasPrefix(v, q.Name+"=") })
	case grant.AboutHost:
		return m.reach(g, q)
	}
	allowed, _ := seatbelttest.Call(m.profile, q.Name)
	return allowed
}

// reach dials the loopback itself, at the port that the endpoint has here; any
// other host through the proxy, if the profile lets it be reached and the host
// itself not.
func (m *mac) reach(g grant.Grant, q grant.Question) bool {
	dial := func(addr string) bool { return m.profile.Allows(sbpl.Query{Op: "network-outbound", Addr: addr}) }
	port := q.Port
	if port == "" {
		port = "443"
	}
	if sbpl.Loopback(strings.TrimSuffix(strings.ToLower(q.Name), ".")) {
		for _, e := range g.Endpoints {
			if port == strconv.Itoa(e.Port) {
				port = strconv.Itoa(m.ports[e.Name])
			}
		}
		return dial(strings.Trim(q.Name, "[]") + ":" + port)
	}
	if dial(q.Name + ":" + port) {
		return true
	}
	if !dial("127.0.0.1:" + strconv.Itoa(m.ports["proxy"])) {
		return false
	}
	inside, host := net.Pipe()
	defer inside.Close()
	go seatbelt.Door("secret", func(k wire.Kind, c net.Conn) { m.gate.Serve(k, c); c.Close() })(wire.Proxy, host)
	go fmt.Fprintf(inside, "CONNECT %s:%s HTTP/1.1\r\nHost: %s:%s\r\nProxy-Authorization: Basic bmFub2NsYXc6c2VjcmV0\r\n\r\n", q.Name, port, q.Name, port)
	line, err := bufio.NewReader(inside).ReadString('\n')
	return err == nil && strings.HasPrefix(line, "HTTP/1.1 "+strconv.Itoa(http.StatusBadGateway)+" ")
}

// What the grant says is what the profile for a Mac says, and the variables, and
// the gateway behind its lock; but for what is listed.
func TestExplainAgreesWithTheProfile(t *testing.T) {
	for _, name := range []string{"SSH_AUTH_SOCK", "ANTHROPIC_API_KEY", "XDG_RUNTIME_DIR"} {
		t.Setenv(name, "of the host")
	}
	g, machine, dir := asked(t)
	m := newMac(t, g)
	list := Differences(SeatbeltEngine)
	used := make([]bool, len(list))
	total, allowed, differ := 0, 0, 0
	for _, text := range slices.Concat(pathQuestions(dir), hostQuestions(), varQuestions(g), callQuestions()) {
		q, err := grant.ParseQuestion(text)
		if err != nil {
			t.Fatal(err)
		}
		total++
		said := explain(g, machine, q)
		met := m.may(g, q, said.As)
		if met {
			allowed++
		}
		if said.Allowed == met {
			continue
		}
		differ++
		i := slices.IndexFunc(list, func(d Difference) bool { return d.More == met && d.Covers(q) })
		if i < 0 {
			t.Errorf("%s: the grant says %t (%s%s), the profile %t, and no difference covers it", q, said.Allowed, said.Line, said.Why, met)
			continue
		}
		used[i] = true
	}
	for i, d := range list {
		if !used[i] {
			t.Errorf("nothing differs any more in this: %s", d.Why)
		}
	}
	t.Logf("%d questions, %d allowed, %d differ", total, allowed, differ)
	if allowed < 60 {
		t.Errorf("only %d were allowed: the profile permits nothing", allowed)
	}
}

// A view has everything of the outer folder but what lies in it from elsewhere,
// and holds nothing itself.
func TestView(t *testing.T) {
	dir := t.TempDir()
	outer, inner := filepath.Join(dir, "outer"), filepath.Join(dir, "inner")
	for _, d := range []string{outer, inner, filepath.Join(outer, "projects"), filepath.Join(outer, "skills")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{filepath.Join(outer, "settings.json"), filepath.Join(outer, "projects", "of nobody"), filepath.Join(inner, "own")} {
		if err := os.WriteFile(f, []byte(f), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	g := grant.Grant{Mounts: []grant.Mount{
		{Target: "/opt/config", Source: outer}, {Target: "/opt/config/projects", Source: inner, Write: true}, {Target: "/opt", Source: "/opt"},
	}}
	// The test's folder is below /tmp, which is a link on a Mac alone.
	views, err := seatbelt.Views(g)
	if err != nil || len(views) != 1 || views[0].Links["projects"] != seatbelt.Real(inner) {
		t.Fatalf("%+v, %v", views, err)
	}
	at := filepath.Join(dir, "view")
	if err := fill(at, seatbelt.View{Source: outer, Links: map[string]string{"projects": inner}}); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(at)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Type() != os.ModeSymlink {
			t.Errorf("%s is no link", e.Name())
		}
	}
	if b, err := os.ReadFile(filepath.Join(at, "projects", "own")); err != nil || string(b) != filepath.Join(inner, "own") {
		t.Errorf("%s, %v", b, err)
	}
	if _, err := os.Stat(filepath.Join(at, "settings.json")); err != nil || len(entries) != 3 {
		t.Errorf("%d entries, %v", len(entries), err)
	}
}
