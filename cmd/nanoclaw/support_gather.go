package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/config"
	"nanoclaw/internal/control"
	"nanoclaw/internal/credential"
	"nanoclaw/internal/hostlog"
	"nanoclaw/internal/support"
)

// How much a bundle holds of what there may be more of.
const (
	supportLines    = 5000 // of the daemon's log
	supportRuns     = 50   // that failed
	supportStories  = 10   // of them with their entries of the audit log
	supportMessages = 2000 // that are looked for, to be hidden
)

// gathering is a bundle that is being made.
type gathering struct {
	*app
	paths    config.Paths
	clean    *support.Cleaner
	bundle   support.Bundle
	problems []string
}

// gather makes the bundle. What cannot be had is named in it, and the rest is there.
func (a *app) gather(ctx context.Context) (*support.Bundle, error) {
	paths, err := a.paths()
	if err != nil {
		return nil, err
	}
	g := &gathering{app: a, paths: paths, clean: support.NewCleaner(a.getenv("HOME"))}
	cfg, configErr := a.loadConfig(paths)
	g.hideSecrets(cfg)
	var health control.Health
	err = a.with(ctx, existing, func(s *session) (err error) {
		health, err = s.Health(ctx)
		return err
	})
	if err != nil {
		g.problem("health", err)
		health.Checks = []control.Check{{Name: "daemon", State: "fail", Detail: err.Error()}}
	}
	err = a.with(ctx, reading, func(s *session) error {
		g.hidePeople(ctx, s)
		g.platform()
		g.bundle.AddJSON("health.json", "whether the daemon can do its work now", g.clean.Value(health))
		g.host(ctx, s)
		return nil
	})
	if err != nil { // no store, or one that cannot be read
		g.problem("the daemon and its store", err)
		g.platform()
		g.bundle.AddJSON("health.json", "whether the daemon can do its work now", g.clean.Value(health))
	}
	g.configuration(cfg, configErr)
	g.log()
	g.environment()
	if g.problems != nil {
		g.bundle.Add("problems.txt", "what could not be had", strings.Join(g.problems, "\n")+"\n")
	}
	return &g.bundle, nil
}

func (g *gathering) problem(what string, err error) {
	g.problems = append(g.problems, what+": "+g.clean.Words(err.Error()))
}

// privateName is the name of a variable whose value is nobody's business.
var privateName = regexp.MustCompile(`(?i)key|token|secret|passw|credential|auth|cookie|dsn|database_url`)

// hideSecrets has every credential that this machine knows hidden, and every text of
// the configuration that is not shown in its place.
func (g *gathering) hideSecrets(cfg *config.Config) {
	for _, kv := range os.Environ() {
		if name, value, _ := strings.Cut(kv, "="); privateName.MatchString(name) {
			g.clean.Hide(value)
		}
	}
	store := credential.New(g.paths, g.getenv)
	names, err := store.Names()
	if err != nil {
		g.problem("stored credentials", err)
	}
	for _, name := range names {
		if c, err := store.Load(name); err == nil && c != nil {
			g.clean.Hide(c.Value, c.Refresh)
		}
	}
	networks := []string{"slack", "discord", "telegram", "webhook"}
	if cfg != nil {
		for name := range cfg.Channels.External {
			networks = append(networks, name)
		}
		g.clean.Hide(cfg.Secrets()...)
		if raw, err := config.Encode(*cfg); err == nil {
			g.clean.Hide(g.clean.Private(raw)...)
		}
	}
	if raw, err := os.ReadFile(g.paths.Config); cfg == nil && err == nil {
		g.clean.Hide(g.clean.Unread(raw)...)
	}
	for _, network := range networks {
		tokens, _ := store.LoadTokens(network) // what cannot be read is not in a log either
		for _, t := range tokens {
			g.clean.Hide(t)
		}
	}
}

// hidePeople has hidden who people are and what they wrote lately.
func (g *gathering) hidePeople(ctx context.Context, s *session) {
	people, err := s.People(ctx)
	if err != nil {
		g.problem("people", err)
	}
	var texts []string
	for _, p := range people {
		_, id, _ := strings.Cut(p.Sender, ":")
		texts = append(texts, id, p.Name)
	}
	if groups, err := s.Groups(ctx); err == nil {
		for _, info := range groups {
			for _, c := range info.Chats {
				if network, id, _ := strings.Cut(c, ":"); network != "console" {
					texts = append(texts, id)
				}
			}
		}
	}
	if tasks, err := s.Tasks(ctx, ""); err == nil {
		for _, t := range tasks {
			texts = append(texts, t.Prompt, t.Script, string(t.To.Chat))
		}
	}
	for _, kind := range []string{"inbound", "run.ended"} {
		entries, err := s.AuditList(ctx, control.AuditQuery{Kind: kind, Limit: supportMessages})
		if err != nil {
			g.problem("the audit log", err)
		}
		for _, e := range entries {
			var d struct {
				Text, Raw string
				ID        string
				Sender    struct{ ID, Name string }
				From      struct{ Chat string }
			}
			if json.Unmarshal(e.Data, &d) == nil {
				texts = append(texts, d.Text, d.Raw, d.Sender.ID, d.Sender.Name, d.ID, d.From.Chat)
			}
		}
	}
	// The names of terminals are those of groups, and words of ours.
	texts = slices.DeleteFunc(texts, func(t string) bool { return t == "console" || t == "terminal" || t == "owner" })
	g.clean.Hide(texts...)
}

// host adds what the daemon says, or the store where none runs.
func (g *gathering) host(ctx context.Context, s *session) {
	if st, err := s.Status(ctx); err != nil {
		g.problem("status", err)
	} else {
		for i := range st.Channels {
			c := &st.Channels[i]
			c.Self, c.Step, c.Chats = "", nil, nil
		}
		g.bundle.AddJSON("status.json", "what runs and what waits", g.clean.Value(st))
	}
	if r, err := s.Doctor(ctx, control.DoctorQuery{}); err != nil {
		g.problem("doctor", err)
	} else {
		var text strings.Builder
		if err := printChecks(&text, append(r.Checks, g.serviceCheck(ctx)...)); err == nil {
			g.bundle.Add("doctor.txt", "what this machine can enforce", g.clean.Text(text.String()))
		}
	}
	if r, err := s.AuditVerify(ctx, control.VerifyQuery{}); err != nil {
		g.problem("audit verify", err)
	} else {
		g.bundle.AddJSON("audit.json", "whether the audit log verifies, and its head", g.clean.Value(r))
	}
	g.failures(ctx, s)
}

// A run that failed, and the entries that it has in the audit log.
type failedRun struct {
	Run   any              `json:"run"`
	Story []map[string]any `json:"story,omitempty"`
}

// told are the fields of an entry that are numbers or words of closed lists.
var told = []string{
	"mode", "agent", "state", "class", "ms", "engine", "layers", "missing", "prepared", "verdict", "phase", "gate", "status",
	"up", "down", "took", "count", "toolCalls", "tries", "bytes", "exit", "signal", "kind", "wake",
}

func (g *gathering) failures(ctx context.Context, s *session) {
	runs, err := s.Runs(ctx, control.RunsQuery{Limit: 500})
	if err != nil {
		g.problem("runs", err)
		return
	}
	out := []failedRun{}
	for _, r := range runs {
		if r.State == control.Succeeded || len(out) == supportRuns || r.Ended.IsZero() {
			continue
		}
		f := failedRun{Run: g.clean.Value(r)}
		if len(out) < supportStories {
			entries, err := s.AuditList(ctx, control.AuditQuery{Run: r.ID})
			if err != nil {
				g.problem("run "+string(r.ID), err)
			}
			for _, e := range entries {
				var d map[string]any
				_ = json.Unmarshal(e.Data, &d) // one whose words were erased has none
				line := g.clean.Only(d, told...)
				line["at"], line["entry"], line["id"] = e.At, e.Kind, e.ID
				f.Story = append(f.Story, line)
			}
		}
		out = append(out, f)
	}
	g.bundle.AddJSON("failures.json", "runs that did not succeed, with the steps of the newest", out)
}

func (g *gathering) configuration(cfg *config.Config, err error) {
	if err != nil {
		g.bundle.Add("config.txt", "why the configuration cannot be read", g.clean.Words(err.Error())+"\n")
		return
	}
	raw, err := config.Encode(*cfg)
	if err != nil {
		g.problem("configuration", err)
		return
	}
	g.bundle.AddJSON("config.json", "the configuration without its texts", g.clean.Config(raw))
}

// Of a line of the log these values are shown as they are, and those of wrong without
// what is quoted in them. All others are hidden.
var (
	logged = []string{
		"run", "group", "session", "engine", "state", "mode", "agent", "ms", "took", "kind", "class", "channel", "attempts", "cached", "version", "pid",
		"phase", "verdict", "id", "row", "rule", "node", "lease", "every", "port", "states", "uid", "until", "bytes of the program released",
	}
	wrong = []string{"err", "why", "cause", "reason", "fix", "because", "limit", "trouble", "panic", "stack"}
)

// log adds the last lines of the daemon's log.
func (g *gathering) log() {
	lines, err := hostlog.Last(hostlog.Folder(g.paths.DataDir), hostlog.Filter{}, supportLines)
	if err != nil {
		g.problem("log", err)
	}
	var out strings.Builder
	for _, l := range lines {
		values := map[string]string{"time": l.Time.Format("2006-01-02T15:04:05.000Z07:00"), "level": l.Level.String(), "msg": g.clean.Words(l.Message)}
		for _, v := range l.Attrs {
			switch {
			case slices.Contains(logged, v.Key):
				values[v.Key] = g.clean.Text(v.Value)
			case slices.Contains(wrong, v.Key):
				values[v.Key] = g.clean.Words(v.Value)
			default:
				values[g.clean.Text(v.Key)] = support.Hidden
			}
		}
		if b, err := json.Marshal(values); err == nil {
			out.Write(append(b, '\n'))
		}
	}
	g.bundle.Add("log.jsonl", "the last lines of the daemon's log", out.String())
}

// platform adds what machine this is, and not which one.
func (g *gathering) platform() {
	var u unix.Utsname
	_ = unix.Uname(&u) // what it does not say is empty
	facts := map[string]any{
		"version": versionName(), "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH, "cpus": runtime.NumCPU(),
		"kernel": unix.ByteSliceToString(u.Release[:]), "root": os.Geteuid() == 0,
	}
	for name, file := range map[string]string{"release": "/etc/os-release", "memory": "/proc/meminfo", "cgroup2": "/sys/fs/cgroup/cgroup.controllers"} {
		if b, err := os.ReadFile(file); err == nil {
			facts[name] = lineOf(string(b), map[string]string{"release": "PRETTY_NAME=", "memory": "MemTotal:"}[name])
		}
	}
	g.bundle.AddJSON("platform.json", "version, system, kernel", facts)
}

// lineOf is the rest of the line that begins so.
func lineOf(text, begin string) string {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, begin); ok {
			return strings.Trim(strings.TrimSpace(rest), `"`)
		}
	}
	return ""
}

// environment adds names of variables that nanoclaw and its agents look at.
func (g *gathering) environment() {
	var out []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if named := regexp.MustCompile(`^(NANOCLAW|ANTHROPIC|CLAUDE|AWS|GOOGLE|CLOUD_ML|VERTEX|XDG|DBUS|INVOCATION_ID|NOTIFY_SOCKET|TZ|LANG|PATH|(?i:https?_proxy|no_proxy))`); named.MatchString(name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	g.bundle.Add("environment.txt", "names of variables of this command, without values", fmt.Sprintln(strings.Join(out, "\n")))
}
