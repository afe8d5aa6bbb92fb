package seatbelt_test

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/grant"
	"nanoclaw/internal/seatbelt"
	"nanoclaw/internal/wire"
)

func TestLocal(t *testing.T) {
	g := family()
	l := seatbelt.Localize(g, params(), "S3CRET")
	for inside, want := range map[string]string{
		grant.Workspace:                    ws,
		grant.Workspace + "/a/b":           ws + "/a/b",
		grant.Workspace + "x":              grant.Workspace + "x",
		grant.Extra + "/vendor/x":          rw + "/vendor/pinned/x",
		grant.ClaudeDir + "/claude":        "/Users/owner/nanoclaw/claude",
		grant.ClaudeConfig + "/projects/x": "/Users/owner/nanoclaw/groups/family/claude/projects/x",
		grant.ClaudeConfig + "/settings":   "/private/var/folders/zz/T/nanoclaw-view/settings",
		"/tmp/x":                           "/private/var/folders/zz/T/nanoclaw-s1/x",
		"/tmpx":                            "/tmpx",
		"/etc/ssl/certs":                   "/private/etc/ssl/certs",
		"/usr/bin/env":                     "/usr/bin/env",
		"/elsewhere":                       "/elsewhere",
	} {
		if got := l.Path(inside); got != want {
			t.Errorf("%s: %s, want %s", inside, got, want)
		}
	}
	var env []string
	for _, v := range g.Env {
		env = append(env, v.Name+"="+v.Value)
	}
	order := wire.Exec{Argv: []string{grant.ClaudeDir + "/claude", grant.Workspace}, Dir: grant.Workspace, Env: append(env, seatbelt.SecretVar+"=forged")}
	got := l.Exec(order)
	home := "/Users/owner/nanoclaw/groups/family/home"
	want := wire.Exec{
		Argv: []string{"/Users/owner/nanoclaw/claude", grant.Workspace}, Dir: ws,
		Env: []string{
			"HOME=" + home, "PATH=/opt/tools:/usr/bin:" + ws + "/bin", "TMPDIR=/private/var/folders/zz/T/nanoclaw-s1",
			"HTTPS_PROXY=http://nanoclaw:S3CRET@127.0.0.1:50001", "ANTHROPIC_BASE_URL=http://127.0.0.1:50003", "ANTHROPIC_API_KEY=S3CRET",
			"CLAUDE_CONFIG_DIR=/private/var/folders/zz/T/nanoclaw-view", "LANG=C.UTF-8", seatbelt.SecretVar + "=S3CRET",
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if order.Argv[0] != grant.ClaudeDir+"/claude" || g.Env[0].Value != grant.Home {
		t.Error("what was given was changed")
	}
	seen := l.Seen(g)
	for _, m := range seen.Mounts {
		if m.Target != seatbelt.Real(m.Source) && m.Target != params().Views[grant.ClaudeConfig] {
			t.Errorf("the agent is told of %s, which is %s", m.Target, m.Source)
		}
	}
	for _, v := range seen.Env {
		if strings.Contains(v.Value, "S3CRET") || strings.HasPrefix(v.Value, "/workspace") {
			t.Errorf("%s is told as %s", v.Name, v.Value)
		}
	}
	if seen.Endpoints[0].Port != 50001 || g.Endpoints[0].Port != grant.ProxyPort {
		t.Errorf("ports %d, %d", seen.Endpoints[0].Port, g.Endpoints[0].Port)
	}
}

// The probe tells on standard output what is in its environment: no secret is.
func TestProbeGetsNoSecret(t *testing.T) {
	e := seatbelt.Localize(family(), params(), "S3CRET").Exec(wire.Exec{Dir: "/", Env: []string{"A=b"}, Probe: &wire.Probe{}})
	if strings.Contains(strings.Join(e.Env, " "), "S3CRET") {
		t.Error(e.Env)
	}
}

// Only who shows the secret is served, and then with every byte it sent.
func TestDoor(t *testing.T) {
	const secret = "S3CRET"
	basic := func(pair string) string { return "Proxy-Authorization: Basic " + pair + "\r\n" }
	for _, c := range []struct {
		name, fields string
		kind         wire.Kind
		want         string // the status; "" is served
	}{
		{"proxy", basic("bmFub2NsYXc6UzNDUkVU"), wire.Proxy, ""},
		{"proxy, other user", basic("eDpTM0NSRVQ="), wire.Proxy, ""},
		{"proxy, lower case", "proxy-authorization: basic bmFub2NsYXc6UzNDUkVU\r\n", wire.Proxy, ""},
		{"model, key", "x-api-key: S3CRET\r\n", wire.Model, ""},
		{"model, token", "Authorization: Bearer S3CRET\r\n", wire.Model, ""},
		{"tools", "authorization: bearer S3CRET\r\n", wire.Tools, ""},
		{"nothing", "", wire.Proxy, "407"},
		{"nothing for the model", "", wire.Model, "401"},
		{"another secret", "X-Api-Key: S3CREt\r\n", wire.Model, "401"},
		{"half of it", "X-Api-Key: S3C\r\n", wire.Model, "401"},
		{"empty", "X-Api-Key: \r\n", wire.Model, "401"},
		{"as user", basic("UzNDUkVUOng="), wire.Proxy, "407"},
		{"not base64", basic("S3CRET"), wire.Proxy, "407"},
		{"in another field", "X-Secret: S3CRET\r\n", wire.Model, "401"},
		{"in the target", "", wire.Tools, "401"},
	} {
		t.Run(c.name, func(t *testing.T) {
			request := "POST http://127.0.0.1/S3CRET HTTP/1.1\r\nHost: x\r\n" + c.fields + "\r\nbody"
			inside, host := net.Pipe()
			served := make(chan string, 1)
			go func() {
				defer host.Close()
				seatbelt.Door(secret, func(kind wire.Kind, conn net.Conn) {
					got := make([]byte, len(request))
					io.ReadFull(conn, got)
					served <- string(kind) + " " + string(got)
				})(c.kind, host)
			}()
			go io.WriteString(inside, request)
			line, _ := bufio.NewReader(inside).ReadString('\n')
			if c.want != "" {
				if !strings.HasPrefix(line, "HTTP/1.1 "+c.want+" ") || len(served) != 0 {
					t.Errorf("answered %q, served %d", line, len(served))
				}
				return
			}
			if got := <-served; got != string(c.kind)+" "+request {
				t.Errorf("served %q", got)
			}
		})
	}
}

// A head that does not end is not waited for without end, nor kept.
func TestDoorBoundsTheHead(t *testing.T) {
	inside, host := net.Pipe()
	go func() {
		defer host.Close()
		seatbelt.Door("s", func(wire.Kind, net.Conn) { t.Error("served") })(wire.Proxy, host)
	}()
	n, err := io.Copy(inside, io.LimitReader(endless{}, 1<<20))
	if err == nil || n > 128<<10 {
		t.Errorf("%d bytes were taken, %v", n, err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}
