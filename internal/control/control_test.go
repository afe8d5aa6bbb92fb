package control_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/control/controltest"
)

var quiet = slog.New(slog.DiscardHandler)

// serve runs a server for host on listeners and gives it.
func serve(t *testing.T, host control.Host, listeners ...net.Listener) *control.Server {
	t.Helper()
	s := control.NewServer(host, quiet)
	done := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { done <- s.Serve(l) }()
	}
	t.Cleanup(func() {
		s.Close()
		for range listeners {
			if err := <-done; err != nil && !errors.Is(err, net.ErrClosed) {
				t.Errorf("Serve: %v", err)
			}
		}
	})
	return s
}

// inProcess gives a client of host that needs no socket.
func inProcess(t *testing.T, host control.Host) (*control.Client, *control.Server) {
	t.Helper()
	m := control.NewMemory()
	s := serve(t, host, m)
	c := control.NewClient(m.Dial)
	t.Cleanup(c.Close)
	return c, s
}

// onSocket gives a client of host over a real socket, and its path.
func onSocket(t *testing.T, host control.Host) (*control.Client, string) {
	t.Helper()
	path := filepath.Join(shortDir(t), control.SocketName)
	l, err := control.Listen(path, quiet)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, host, l)
	c, err := control.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, path
}

// shortDir is a folder whose path fits into a socket's address.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "nc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "run")
}

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestActs(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	host := &controltest.Host{
		OnStatus: func(context.Context) (control.Status, error) {
			return control.Status{Version: "v1", PID: 7, Started: at, HostMode: "on"}, nil
		},
		OnGroups: func(context.Context) ([]control.GroupInfo, error) {
			return []control.GroupInfo{{Name: "main", Mode: "host"}}, nil
		},
		OnTalk: func(_ context.Context, q control.TalkQuery) ([]control.Exchange, error) {
			return []control.Exchange{{Run: control.RunInfo{ID: q.Before, Group: q.Group, State: "succeeded", Created: at}, Said: []control.Words{{Name: "ann", Chat: "slack:c", Text: "hi"}}}}, nil
		},
		OnRuns: func(_ context.Context, q control.RunsQuery) ([]control.RunInfo, error) {
			return []control.RunInfo{{ID: "r1", Group: q.Group, State: "running", Created: at}}, nil
		},
		OnRun: func(_ context.Context, id chat.RunID) (control.RunInfo, error) {
			return control.RunInfo{ID: id, State: "failed"}, nil
		},
		OnLogs: func(_ context.Context, q control.LogsQuery) ([]control.RunLog, error) {
			return []control.RunLog{{Run: q.Run, Text: "run: r9\n"}}, nil
		},
		OnPolicy: func(_ context.Context, q control.PolicyQuery) (control.Policy, error) {
			return control.Policy{Text: "grant of " + string(q.Group), Grant: []byte(`{"group":"main"}`)}, nil
		},
		OnTrust: func(_ context.Context, r control.TrustRequest) (control.Trust, error) {
			return control.Trust{Group: r.Group, Hash: r.Hash, Done: true}, nil
		},
		OnPin: func(_ context.Context, r control.PinRequest) (control.Pin, error) {
			return control.Pin{Server: r.Name, Hash: r.Hash}, nil
		},
		OnServers: func(_ context.Context, q control.ServersQuery) ([]control.ServerInfo, error) {
			return []control.ServerInfo{{Name: q.Name, State: fmt.Sprint(q.Test)}}, nil
		},
		OnDoctor: func(_ context.Context, q control.DoctorQuery) (control.DoctorReport, error) {
			return control.DoctorReport{Checks: []control.Check{{Name: "probe", State: fmt.Sprint(q.Probe)}}}, nil
		},
		OnKept: func(_ context.Context, q control.QuarantineQuery) ([]control.Quarantined, error) {
			return []control.Quarantined{{ID: q.ID, At: at, Inside: []control.QuarantinedFile{{Path: "x"}}}}, nil
		},
		OnKeptAct: func(_ context.Context, r control.QuarantineAct) ([]control.Quarantined, error) {
			return []control.Quarantined{{ID: r.ID, At: at, Error: r.Act}}, nil
		},
		OnDead: func(context.Context) ([]control.DeadLetter, error) {
			return []control.DeadLetter{{ID: 7, State: control.WaitsState, At: at, Text: "hi"}}, nil
		},
		OnDeadAct: func(_ context.Context, r control.DeadAct) (control.DeadLetter, error) {
			return control.DeadLetter{ID: r.ID, Why: r.Act, At: at}, nil
		},
		OnErase: func(_ context.Context, r control.EraseRequest) (control.Erased, error) {
			return control.Erased{Messages: len(r.Sender), Left: []string{string(r.Group)}}, nil
		},
		OnRetain: func(_ context.Context, r control.RetainRequest) ([]control.Retained, error) {
			return []control.Retained{{Kind: "runs", Keep: fmt.Sprint(r.Try), Before: at, Gone: 3}}, nil
		},
		OnStop: func(_ context.Context, r control.StopRequest) (control.Stopped, error) {
			return control.Stopped{Runs: []chat.RunID{r.Run}}, nil
		},
		OnConfigPlan: func(context.Context) (control.ConfigPlan, error) {
			return control.ConfigPlan{None: true, Text: "nothing", Plan: []byte(`{}`)}, nil
		},
		OnChannelLogin: func(_ context.Context, r control.ChannelRequest) (control.ChannelInfo, error) {
			return control.ChannelInfo{Channel: r.Channel, Step: &control.ChannelStep{QR: "a code"}}, nil
		},
		OnConfigReload: func(context.Context) (control.ConfigPlan, error) {
			return control.ConfigPlan{Security: true, Plan: []byte(`{}`)}, nil
		},
		OnLogin: func(context.Context) (map[string]string, error) { return map[string]string{"work": "there"}, nil },
		OnSay: func(_ context.Context, r control.SayRequest) (chat.MessageID, error) {
			return chat.MessageID("id of " + r.Text), nil
		},
		OnList: func(_ context.Context, q control.AuditQuery) ([]control.AuditEntry, error) {
			return []control.AuditEntry{{ID: 1, Kind: q.Kind, At: at}}, nil
		},
		OnHealth: func(context.Context) (control.Health, error) {
			return control.HealthOf(at, []control.Check{{Name: "store", State: "ok"}}), nil
		},
		OnVerify: func(context.Context, control.VerifyQuery) (control.AuditReport, error) {
			return control.AuditReport{Bad: "entry 3"}, nil
		},
		OnExport: func(_ context.Context, _ control.ExportQuery, w io.Writer) error {
			_, err := io.WriteString(w, "line 1\nline 2\n")
			return err
		},
	}
	c, _ := onSocket(t, host)
	ctx := deadline(t)
	for _, tt := range []struct {
		name string
		do   func() (any, error)
		want any
	}{
		{"status", func() (any, error) { return c.Status(ctx) }, control.Status{Version: "v1", PID: 7, Started: at, HostMode: "on"}},
		{"groups", func() (any, error) { return c.Groups(ctx) }, []control.GroupInfo{{Name: "main", Mode: "host"}}},
		{"talk", func() (any, error) { return c.Talk(ctx, control.TalkQuery{Group: "g", Before: "r9"}) },
			[]control.Exchange{{Run: control.RunInfo{ID: "r9", Group: "g", State: "succeeded", Created: at}, Said: []control.Words{{Name: "ann", Chat: "slack:c", Text: "hi"}}}}},
		{"runs", func() (any, error) { return c.Runs(ctx, control.RunsQuery{Group: "g"}) }, []control.RunInfo{{ID: "r1", Group: "g", State: "running", Created: at}}},
		{"run", func() (any, error) { return c.RunByID(ctx, "r9") }, control.RunInfo{ID: "r9", State: "failed"}},
		{"logs", func() (any, error) { return c.Logs(ctx, control.LogsQuery{Run: "r9"}) }, []control.RunLog{{Run: "r9", Text: "run: r9\n"}}},
		{"policy", func() (any, error) { return c.Policy(ctx, control.PolicyQuery{Group: "g"}) }, control.Policy{Text: "grant of g", Grant: []byte(`{"group":"main"}`)}},
		{"mcp/pin", func() (any, error) { return c.PinServer(ctx, control.PinRequest{Name: "s", Hash: "h"}) }, control.Pin{Server: "s", Hash: "h"}},
		{"trust", func() (any, error) { return c.Trust(ctx, control.TrustRequest{Group: "g", Hash: "h"}) }, control.Trust{Group: "g", Hash: "h", Done: true}},
		{"mcp", func() (any, error) { return c.Servers(ctx, control.ServersQuery{Name: "s", Test: true}) }, []control.ServerInfo{{Name: "s", State: "true"}}},
		{"doctor", func() (any, error) { return c.Doctor(ctx, control.DoctorQuery{Probe: true}) }, control.DoctorReport{Checks: []control.Check{{Name: "probe", State: "true"}}}},
		{"health", func() (any, error) { return c.Health(ctx) }, control.Health{Ready: true, At: at, Checks: []control.Check{{Name: "store", State: "ok"}}}},
		{"stop", func() (any, error) { return c.Stop(ctx, control.StopRequest{Run: "r1"}) }, control.Stopped{Runs: []chat.RunID{"r1"}}},
		{"send", func() (any, error) { return c.Send(ctx, control.SayRequest{Group: "g", Text: "x"}) }, chat.MessageID("id of x")},
		{"wait", func() (any, error) { return c.Wait(ctx, "g", "m") }, control.Answer{Message: "m", State: "succeeded"}},
		{"interrupt", func() (any, error) { return nil, c.Interrupt(ctx, "g") }, nil},
		{"credentials", func() (any, error) { return c.Credentials(ctx) }, map[string]string{"work": "there"}},
		{"config plan", func() (any, error) { return c.ConfigPlan(ctx) }, control.ConfigPlan{None: true, Text: "nothing", Plan: []byte(`{}`)}},
		{"channel login", func() (any, error) { return c.ChannelLogin(ctx, control.ChannelRequest{Channel: "whatsapp"}) },
			control.ChannelInfo{Channel: "whatsapp", Step: &control.ChannelStep{QR: "a code"}}},
		{"config reload", func() (any, error) { return c.ConfigReload(ctx) }, control.ConfigPlan{Security: true, Plan: []byte(`{}`)}},
		{"shutdown", func() (any, error) { return nil, c.Shutdown(ctx) }, nil},
		{"audit list", func() (any, error) { return c.AuditList(ctx, control.AuditQuery{Kind: "k"}) }, []control.AuditEntry{{ID: 1, Kind: "k", At: at}}},
		{"audit verify", func() (any, error) { return c.AuditVerify(ctx, control.VerifyQuery{}) }, control.AuditReport{Bad: "entry 3"}},
		{"quarantine", func() (any, error) { return c.Quarantine(ctx, control.QuarantineQuery{ID: "s1"}) }, []control.Quarantined{{ID: "s1", At: at, Inside: []control.QuarantinedFile{{Path: "x"}}}}},
		{"quarantine act", func() (any, error) {
			return c.QuarantineAct(ctx, control.QuarantineAct{ID: "s1", Act: control.Remove})
		}, []control.Quarantined{{ID: "s1", At: at, Error: "remove"}}},
		{"dead", func() (any, error) { return c.Dead(ctx) }, []control.DeadLetter{{ID: 7, State: control.WaitsState, At: at, Text: "hi"}}},
		{"dead act", func() (any, error) { return c.DeadAct(ctx, control.DeadAct{ID: 7, Act: control.DropDead}) }, control.DeadLetter{ID: 7, Why: "drop", At: at}},
		{"erase", func() (any, error) { return c.Erase(ctx, control.EraseRequest{Sender: "net:ann", Group: "g"}) }, control.Erased{Messages: 7, Left: []string{"g"}}},
		{"retention", func() (any, error) { return c.Retain(ctx, control.RetainRequest{Try: true}) }, []control.Retained{{Kind: "runs", Keep: "true", Before: at, Gone: 3}}},
		{"audit export", func() (any, error) {
			var b bytes.Buffer
			err := c.AuditExport(ctx, control.ExportQuery{}, &b)
			return b.String(), err
		}, "line 1\nline 2\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.do()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestErrorsArriveWhole(t *testing.T) {
	want := &control.Error{Code: control.CodeRefused, Message: "no", Hint: "ask nicely"}
	c, _ := inProcess(t, &controltest.Host{
		OnStatus:   func(context.Context) (control.Status, error) { return control.Status{}, fmt.Errorf("status: %w", want) },
		OnShutdown: func(context.Context) error { return errors.New("the disk is full") },
		OnExport:   func(context.Context, control.ExportQuery, io.Writer) error { return want },
	})
	_, err := c.Status(deadline(t))
	var got *control.Error
	if !errors.As(err, &got) || *got != *want {
		t.Errorf("got %#v, want %#v", err, want)
	}
	err = c.Shutdown(deadline(t))
	if !errors.As(err, &got) || got.Code != control.CodeFailed || got.Message != "the disk is full" {
		t.Errorf("got %#v", err)
	}
	if err = c.AuditExport(deadline(t), control.ExportQuery{}, io.Discard); !errors.As(err, &got) || *got != *want {
		t.Errorf("got %#v, want %#v", err, want)
	}
}

func TestExportCutShortIsAnError(t *testing.T) {
	c, _ := inProcess(t, &controltest.Host{OnExport: func(_ context.Context, _ control.ExportQuery, w io.Writer) error {
		io.WriteString(w, strings.Repeat("line\n", 10_000))
		return errors.New("the disk went away")
	}})
	if err := c.AuditExport(deadline(t), control.ExportQuery{}, io.Discard); err == nil {
		t.Error("an export that ended early counts as complete")
	}
}

func TestBadRequestsAreRefused(t *testing.T) {
	var called bool
	_, path := onSocket(t, &controltest.Host{OnStop: func(context.Context, control.StopRequest) (control.Stopped, error) {
		called = true
		return control.Stopped{}, nil
	}})
	raw := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}}
	defer raw.CloseIdleConnections()
	for _, tt := range []struct {
		name, method, path, body string
		want                     int
	}{
		{"unknown field", "POST", "/v1/stop", `{"all":true,"force":true}`, 400},
		{"wrong type", "POST", "/v1/stop", `{"all":"yes"}`, 400},
		{"not JSON", "POST", "/v1/stop", `all`, 400},
		{"two values", "POST", "/v1/stop", `{"all":true}{"all":true}`, 400},
		{"too large", "POST", "/v1/stop", `{"run":"` + strings.Repeat("a", 2<<20) + `"}`, 400},
		{"nothing to stop", "POST", "/v1/stop", `{}`, 400},
		{"two things to stop", "POST", "/v1/stop", `{"all":true,"group":"main"}`, 400},
		{"unknown act", "POST", "/v1/nonsense", `{}`, 404},
		{"another version", "POST", "/v2/stop", `{"all":true}`, 404},
		{"a browser's method", "GET", "/v1/stop", ``, 404},
		{"a chat without upgrade", "POST", "/v1/chat", ``, 426},
		{"a command without upgrade", "POST", "/v1/exec", ``, 426},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(deadline(t), tt.method, "http://nanoclaw"+tt.path, strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			answer, err := raw.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			body, _ := io.ReadAll(answer.Body)
			if answer.StatusCode != tt.want || !bytes.Contains(body, []byte(`"error"`)) {
				t.Errorf("status %d with %s, want %d with an error in words", answer.StatusCode, body, tt.want)
			}
		})
	}
	if called {
		t.Error("a bad request reached the host")
	}
}

func TestListen(t *testing.T) {
	t.Run("makes a private folder and socket", func(t *testing.T) {
		path := filepath.Join(shortDir(t), "s")
		l, err := control.Listen(path, quiet)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		for name, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
			info, err := os.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			if got := info.Mode().Perm(); got != want {
				t.Errorf("%s has mode %04o, want %04o", name, got, want)
			}
		}
	})
	t.Run("replaces a dead socket", func(t *testing.T) {
		path := filepath.Join(shortDir(t), "s")
		os.MkdirAll(filepath.Dir(path), 0o700)
		dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
		if err != nil {
			t.Fatal(err)
		}
		dead.SetUnlinkOnClose(false)
		dead.Close()
		if _, err := control.Dial(t.Context(), path); !errors.Is(err, control.ErrNotRunning) {
			t.Errorf("Dial of a dead socket gave %v, want ErrNotRunning", err)
		}
		l, err := control.Listen(path, quiet)
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
	})
	t.Run("says that another one runs", func(t *testing.T) {
		_, path := onSocket(t, &controltest.Host{})
		if _, err := control.Listen(path, quiet); !errors.Is(err, control.ErrRunning) {
			t.Errorf("got %v, want ErrRunning", err)
		}
	})
	t.Run("nobody there", func(t *testing.T) {
		if _, err := control.Dial(t.Context(), filepath.Join(shortDir(t), "s")); !errors.Is(err, control.ErrNotRunning) {
			t.Errorf("got %v, want ErrNotRunning", err)
		}
	})
	for _, tt := range []struct {
		name    string
		prepare func(t *testing.T, dir string) string
		want    string
	}{
		{"a folder that others can enter", func(t *testing.T, dir string) string {
			os.MkdirAll(dir, 0o700)
			os.Chmod(dir, 0o750)
			return filepath.Join(dir, "s")
		}, "chmod 700"},
		{"a folder that is a link", func(t *testing.T, dir string) string {
			os.MkdirAll(dir+"-real", 0o700)
			os.Symlink(dir+"-real", dir)
			return filepath.Join(dir, "s")
		}, "is not a folder"},
		{"a file in the way", func(t *testing.T, dir string) string {
			os.MkdirAll(dir, 0o700)
			os.WriteFile(filepath.Join(dir, "s"), []byte("precious"), 0o600)
			return filepath.Join(dir, "s")
		}, "is not a socket"},
		{"a path that is too long", func(t *testing.T, dir string) string {
			return filepath.Join(dir, strings.Repeat("x", 120))
		}, "XDG_RUNTIME_DIR"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := tt.prepare(t, shortDir(t))
			l, err := control.Listen(path, quiet)
			if err == nil {
				l.Close()
				t.Fatal("it was accepted")
			}
			words := err.Error()
			if e := (*control.Error)(nil); errors.As(err, &e) {
				words += "\n" + e.Hint
			}
			if !strings.Contains(words, tt.want) {
				t.Errorf("the error says %q, want %q in it", words, tt.want)
			}
		})
	}
}

// The command that asks a daemon to end is answered, however fast the end is.
func TestTheLastAnswerArrives(t *testing.T) {
	var s *control.Server
	closed := make(chan error, 1)
	host := &controltest.Host{OnShutdown: func(ctx context.Context) error {
		go func() { closed <- s.Close() }()
		<-ctx.Done() // the end has begun
		time.Sleep(20 * time.Millisecond)
		return nil
	}}
	c, server := inProcess(t, host)
	s = server
	if err := c.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}
