package web

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/authority"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/control/controltest"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/schedule"
	"nanoclaw/internal/task"
)

// hostile is what an agent, or a stranger, would like a browser to run.
const hostile = `<script>fetch("/logout",{method:"POST"})</script><img src=x onerror=alert(1)>` + "\x1b]0;x\x07"

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// fullHost is a host in which something of everything is there, with hostile words
// wherever somebody else's words can be.
func fullHost() *controltest.Host {
	run := control.RunInfo{ID: "r1abc", Group: "family", State: "running", Mode: "host", Agent: "claude", Created: noon, Started: noon, Error: hostile, Tools: 3}
	ended := run
	ended.ID, ended.State, ended.Ended = "r0abc", "failed", noon.Add(3*time.Second)
	g := grant.Grant{
		Group: "family", Mode: grant.HostMode,
		Mounts: []grant.Mount{
			{Target: "/workspace/group", Source: "/srv/family", Write: true, Reason: "the group's workspace"},
			{Target: "/usr", Source: "/usr", Exec: true, Optional: true, Reason: "system"},
			{Target: "/workspace/global", Source: "/srv/global", Reason: "memory of all groups"},
		},
		Egress: []grant.Host{{Pattern: "api.example", Port: 443, Reason: "groups.family.egress[0]"}},
		Limits: grant.Limits{RunTime: 30 * time.Minute, Memory: 2 << 30, Processes: 512, OpenFiles: 1024, Disk: 10 << 30, FileSize: 2 << 30, TmpSize: 1 << 30},
		Tools:  []grant.Tool{{Name: "send_message", Reason: "every group"}},
	}
	text, err := json.Marshal(g)
	if err != nil {
		panic(err)
	}
	return &controltest.Host{
		OnStatus: func(context.Context) (control.Status, error) {
			return control.Status{
				Version: "1", HostMode: "on", HostModeReason: hostile, Started: noon, Live: []control.RunInfo{run},
				Paused:   []control.PausedGroup{{Group: "work", At: noon, Reason: hostile}},
				Channels: []control.ChannelInfo{{Channel: "slack", State: "waiting", Since: noon, Cause: hostile}},
				Modes:    []control.GroupMode{{Group: "family", Mode: "host", Engine: "native", Layers: []string{"landlock ABI 7"}, Other: "container", Loses: []string{hostile}}},
			}, nil
		},
		OnNodes: func(context.Context) ([]control.Node, error) {
			return []control.Node{
				{Name: "attic", Version: "1", Started: noon, Heard: noon, Lives: true, Here: true, Duties: []control.Duty{{Name: "scheduler", Since: noon}}, Groups: []chat.Group{"family"}},
				{Name: "cellar" + hostile, Version: "1", Started: noon, Heard: noon},
			}, nil
		},
		OnGroups: func(context.Context) ([]control.GroupInfo, error) {
			return []control.GroupInfo{{Name: "main", Mode: "host", Agent: "claude"}, {Name: "family", Mode: "host", Agent: "claude", Chats: []string{hostile}, Refusal: hostile}}, nil
		},
		OnRuns: func(context.Context, control.RunsQuery) ([]control.RunInfo, error) {
			return []control.RunInfo{run, ended}, nil
		},
		OnCost: func(context.Context, control.CostQuery) (control.Cost, error) {
			return control.Cost{
				Lines:   []control.CostLine{{Model: "claude" + hostile, Runs: 4, Input: 1200, Output: 300, Micros: 12_000}},
				Budgets: []control.CostBudget{{Account: "group family" + hostile, Runs: 4, Micros: 12_000, MaxMicros: 5_000_000}},
			}, nil
		},
		OnTalk: func(_ context.Context, q control.TalkQuery) ([]control.Exchange, error) {
			talk := []control.Exchange{
				{Run: ended, Said: []control.Words{
					{Name: "Ann" + hostile, Chat: "slack:T1/C1", At: noon, Text: hostile, Files: []string{hostile}},
					{Owner: true, Name: "owner", Chat: "console:family", At: noon, Text: "make it shorter"},
				}, Replies: []control.Words{
					{Chat: "slack:T1/C1", Text: "an answer " + hostile, State: "sent"}, {Host: true, Chat: "slack:T1/C1", Text: "it failed", State: "given_up"},
					{Chat: "console:family", Text: "comes by the stream", State: "pending"},
				}},
				{Run: run, Said: []control.Words{{Task: "t1", Chat: "slack:T1/C1", At: noon, Text: "each day"}}},
			}
			if q.Run != "" {
				return talk[:1], nil
			}
			if q.Before == "" {
				for len(talk) < talked {
					talk = append([]control.Exchange{{Run: control.RunInfo{ID: "r9old", State: "failed", Error: hostile}}}, talk...)
				}
			}
			return talk, nil
		},
		OnRun: func(context.Context, chat.RunID) (control.RunInfo, error) { return ended, nil },
		OnWhy: func(context.Context, control.WhyQuery) (control.Why, error) {
			return control.Why{Text: "asked: " + hostile}, nil
		},
		OnList: func(_ context.Context, q control.AuditQuery) ([]control.AuditEntry, error) {
			if q.Run != "" {
				return recorded, nil
			}
			data, err := json.Marshal(map[string]string{"text": hostile})
			return []control.AuditEntry{{ID: 7, At: noon, Kind: "run.started", Group: "family", Run: "r0abc", Index: 6, Data: data}}, err
		},
		OnPolicy: func(context.Context, control.PolicyQuery) (control.Policy, error) {
			return control.Policy{Grant: text, Text: hostile}, nil
		},
		OnApprovals: func(context.Context) ([]control.Approval, error) {
			return []control.Approval{{Code: "ABCD", Group: "family", Run: "r1abc", Title: hostile, Text: hostile, Hash: "h1", Until: noon.Add(time.Hour)}}, nil
		},
		OnPeople: func(context.Context) ([]control.Person, error) {
			return []control.Person{{Sender: "slack:T1/U1", Name: hostile, Group: "family", State: control.PersonAsked, Origin: "decision"}}, nil
		},
		OnTasks: func(context.Context, chat.Group) ([]task.Task, error) {
			return []task.Task{{ID: "t1", Group: "family", Prompt: hostile, State: task.Active, Next: noon.Add(time.Hour), Spec: schedule.Spec{Kind: schedule.Cron, Value: "0 9 * * *", Zone: "Asia/Tokyo"}}}, nil
		},
		OnChannelLogin: func(context.Context, control.ChannelRequest) (control.ChannelInfo, error) {
			return control.ChannelInfo{Channel: "whatsapp", State: "waiting", Since: noon, Cause: hostile,
				Step: &control.ChannelStep{Text: hostile, Copy: hostile, QR: hostile}, Chats: []control.ChannelChat{{Address: "whatsapp:1", Name: hostile}}}, nil
		},
		OnVerify: func(context.Context, control.VerifyQuery) (control.AuditReport, error) {
			return control.AuditReport{Bad: hostile}, nil
		},
		OnDoctor: func(context.Context, control.DoctorQuery) (control.DoctorReport, error) {
			return control.DoctorReport{Checks: []control.Check{{Name: "probe", State: "warn", Detail: hostile, Fix: hostile}}}, nil
		},
	}
}

// opened is a dashboard that listens, with a link to it.
func opened(t *testing.T, h control.Host) (*Server, control.DashboardLink) {
	t.Helper()
	s := New(Options{Host: h, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(s.Close)
	l, err := s.Link(0)
	if err != nil {
		t.Fatal(err)
	}
	return s, l
}

// browser has a jar, follows nothing, and says where it comes from as browsers do.
func browser(t testing.TB) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func signIn(t testing.TB, c *http.Client, l control.DashboardLink) (base string, status int) {
	t.Helper()
	u, err := url.Parse(l.Plain)
	if err != nil {
		t.Fatal(err)
	}
	base = "http://" + u.Host
	r, err := c.PostForm(base+"/login", url.Values{"code": {u.Fragment}})
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	return base, r.StatusCode
}

func fetch(t testing.TB, c *http.Client, method, address string, form url.Values, header ...string) (int, string) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if method == "POST" {
		q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			q.Host = header[i+1]
			continue
		}
		q.Header.Set(header[i], header[i+1])
	}
	r, err := c.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(body)
}

// TestALinkSignsInOnce: a link is good for one browser, and for a while.
func TestALinkSignsInOnce(t *testing.T) {
	s, l := opened(t, fullHost())
	mine, other := browser(t), browser(t)
	base, status := signIn(t, mine, l)
	if status != http.StatusSeeOther {
		t.Fatalf("signing in gave %d", status)
	}
	if status, body := fetch(t, mine, "GET", base+"/", nil); status != http.StatusOK || !strings.Contains(body, "Runs that go on") {
		t.Errorf("the first page: %d %s", status, body)
	}
	if _, status := signIn(t, other, l); status != http.StatusForbidden {
		t.Errorf("the link signs in twice: %d", status)
	}
	clock := noon
	s.doors.now = func() time.Time { return clock }
	late, err := s.Link(0)
	if err != nil {
		t.Fatal(err)
	}
	clock = clock.Add(linkTime)
	if _, status := signIn(t, other, late); status != http.StatusForbidden {
		t.Errorf("an old link signs in: %d", status)
	}
}

// TestTheCookieIsOurNamesAlone: a server that is called 127.0.0.1 or localhost, whatever
// its port, is sent no session that was begun at our name, and no script reads it.
func TestTheCookieIsOurNamesAlone(t *testing.T) {
	_, l := opened(t, fullHost())
	ours, err := url.Parse(l.URL)
	if err != nil || ours.Hostname() != Name {
		t.Fatalf("the link is %q, %v", l.URL, err)
	}
	plain, _ := url.Parse(l.Plain)
	c := browser(t)
	q, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+plain.Host+"/login", strings.NewReader(url.Values{"code": {ours.Fragment}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	q.Host = ours.Host
	r, err := c.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	got := r.Cookies()
	if r.StatusCode != http.StatusSeeOther || len(got) != 1 {
		t.Fatalf("signing in gave %d, %v", r.StatusCode, got)
	}
	if k := got[0]; k.Domain != "" || !k.HttpOnly || k.SameSite != http.SameSiteStrictMode {
		t.Errorf("the cookie is %q", r.Header.Get("Set-Cookie"))
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	jar.SetCookies(&url.URL{Scheme: "http", Host: ours.Host}, got)
	for _, other := range []string{"127.0.0.1:" + ours.Port(), "127.0.0.1:1", "localhost:1", "evil." + Name + ":1"} {
		if sent := jar.Cookies(&url.URL{Scheme: "http", Host: other}); len(sent) > 0 {
			t.Errorf("%s is sent %v", other, sent)
		}
	}
}

// TestNothingWithoutASession: being on this machine is worth nothing.
func TestNothingWithoutASession(t *testing.T) {
	s, l := opened(t, nothingHost{})
	u, _ := url.Parse(l.Plain)
	pages := s.all()
	if len(pages) < 20 {
		t.Fatalf("%d pages", len(pages))
	}
	for _, p := range pages {
		method, path, _ := strings.Cut(p.pattern, " ")
		path = strings.NewReplacer("{$}", "", "{group}", "family", "{run}", "r1", "{code}", "ABCD", "{task}", "t1", "{channel}", "slack").Replace(path)
		for _, cookies := range []string{"", cookie + "=", cookie + "=guess"} {
			status, body := fetch(t, browser(t), method, "http://"+u.Host+path, nil, "Cookie", cookies)
			if status != http.StatusSeeOther && status != http.StatusUnauthorized {
				t.Errorf("%s with %q: %d %s", p.pattern, cookies, status, body)
			}
		}
		if v := authority.Decide(p.act, owner()); !v.Allowed() {
			t.Errorf("%s is of no use: %s", p.pattern, v.Reason)
		}
	}
}

// nothingHost is a host whose every act panics.
type nothingHost struct{ control.Host }

// TestOtherSites: what another site makes the owner's browser send is not obeyed, and
// neither is a site whose name leads here.
func TestOtherSites(t *testing.T) {
	h := fullHost()
	stopped := 0
	h.OnStop = func(context.Context, control.StopRequest) (control.Stopped, error) {
		stopped++
		return control.Stopped{}, nil
	}
	_, l := opened(t, h)
	c := browser(t)
	base, _ := signIn(t, c, l)
	port := base[strings.LastIndex(base, ":"):]
	attacks := []struct {
		name   string
		header []string
		want   int
	}{
		{"another site's form", []string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
		{"another port's form", []string{"Sec-Fetch-Site", "same-site"}, http.StatusForbidden},
		{"an old browser, from another site", []string{"Origin", "http://evil.example"}, http.StatusForbidden},
		{"an old browser, from another port", []string{"Origin", "http://127.0.0.1:1"}, http.StatusForbidden},
		{"a name that was made to lead here", []string{"Host", "evil.example" + port, "Sec-Fetch-Site", "same-origin"}, http.StatusMisdirectedRequest},
		{"our name at another port", []string{"Host", Name + ":1", "Sec-Fetch-Site", "same-origin"}, http.StatusMisdirectedRequest},
	}
	for _, tt := range attacks {
		if status, body := fetch(t, c, "POST", base+"/runs/r1/stop", nil, tt.header...); status != tt.want || stopped != 0 {
			t.Errorf("%s: %d, stopped %d: %s", tt.name, status, stopped, body)
		}
	}
	if status, body := fetch(t, c, "POST", base+"/runs/r1/stop", nil, "Sec-Fetch-Site", "same-origin"); status != http.StatusSeeOther || stopped != 1 {
		t.Errorf("our own form: %d, stopped %d: %s", status, stopped, body)
	}
}

// TestWordsOfOthersAreText: on every page, whatever an agent or a stranger wrote.
func TestWordsOfOthersAreText(t *testing.T) {
	_, l := opened(t, fullHost())
	c := browser(t)
	base, _ := signIn(t, c, l)
	for _, path := range []string{"/", "/groups", "/groups/family", "/groups/family/chat", "/approvals", "/tasks", "/runs", "/runs/r0abc", "/audit?verify=1", "/channels", "/channels/slack", "/channels/whatsapp?login=1", "/people", "/nodes", "/doctor?probe=1"} {
		status, body := fetch(t, c, "GET", base+path, nil)
		if status != http.StatusOK || !strings.Contains(body, "&lt;script&gt;") {
			t.Errorf("%s: %d, without the words: %s", path, status, body)
		}
		if strings.Contains(body, "<script>") || strings.Contains(body, "<img") || strings.Contains(body, "\x1b") {
			t.Errorf("%s shows them raw: %s", path, body)
		}
	}
	r, err := c.Get(base + "/")
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if policy := r.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("the policy is %q", policy)
	}
}

// TestAnswerToAnotherQuestion: the answer is to what was shown, or to nothing.
func TestAnswerToAnotherQuestion(t *testing.T) {
	h := fullHost()
	var got []control.ApproveRequest
	h.OnApprove = func(_ context.Context, r control.ApproveRequest) (control.Approved, error) {
		got = append(got, r)
		return control.Approved{}, nil
	}
	_, l := opened(t, h)
	c := browser(t)
	base, _ := signIn(t, c, l)
	for _, form := range []url.Values{
		{"answer": {"approve"}, "hash": {"of another"}},
		{"answer": {"approve"}},
		{"answer": {"perhaps"}, "hash": {"h1"}},
	} {
		if status, body := fetch(t, c, "POST", base+"/approvals/ABCD", form); status != http.StatusBadRequest || len(got) != 0 {
			t.Errorf("%v: %d %s; answered %v", form, status, body, got)
		}
	}
	if status, _ := fetch(t, c, "POST", base+"/approvals/WXYZ", url.Values{"answer": {"approve"}, "hash": {"h1"}}); status != http.StatusNotFound {
		t.Errorf("a question that is not there: %d", status)
	}
	fetch(t, c, "POST", base+"/approvals/ABCD", url.Values{"answer": {"deny"}, "hash": {"h1"}})
	if len(got) != 1 || got[0] != (control.ApproveRequest{Code: "ABCD"}) {
		t.Errorf("answered %+v", got)
	}
}

// TestBrowserKeepsTheProgramsFilesAlone: the style of this version is kept, under a name of
// its own; pages, and files under any other name, are kept nowhere.
func TestBrowserKeepsTheProgramsFilesAlone(t *testing.T) {
	_, l := opened(t, fullHost())
	c := browser(t)
	base, _ := signIn(t, c, l)
	if _, page := fetch(t, c, "GET", base+"/", nil); !strings.Contains(page, `href="`+asset("style.css")+`"`) {
		t.Errorf("the page does not ask for %s:\n%s", asset("style.css"), page)
	}
	for path, kept := range map[string]bool{
		asset("style.css"): true, asset("app.js"): true, asset("nothing.js"): false, "/static/style.css": false, "/static/style.css?v=0123456789abcdef": false, "/": false, "/?v=" + assets(): false,
	} {
		r, err := c.Get(base + path)
		must(t, err)
		must(t, r.Body.Close())
		if got := strings.Contains(r.Header.Get("Cache-Control"), "immutable"); got != kept {
			t.Errorf("%s: %q", path, r.Header.Get("Cache-Control"))
		}
	}
}

// TestClosedWhenNobodyIsLeft: signing out ends the session, and with the last one the
// port.
func TestClosedWhenNobodyIsLeft(t *testing.T) {
	s, l := opened(t, fullHost())
	c := browser(t)
	base, _ := signIn(t, c, l)
	s.leave()
	if status, _ := fetch(t, c, "GET", base+"/", nil); status != http.StatusOK {
		t.Fatalf("it closed under who is signed in: %d", status)
	}
	fetch(t, c, "POST", base+"/logout", nil)
	if status, _ := fetch(t, c, "GET", base+"/", nil); status != http.StatusSeeOther {
		t.Errorf("signed out, the first page gives %d", status)
	}
	s.leave()
	u, _ := url.Parse(base)
	if conn, err := net.Dial("tcp", u.Host); err == nil {
		conn.Close()
		t.Error("the port is still open")
	}
	if again, err := s.Link(0); err != nil || again.URL == l.URL {
		t.Errorf("it opens again: %+v, %v", again, err)
	}
}

func TestLinkErrors(t *testing.T) {
	s, l := opened(t, fullHost())
	u, _ := url.Parse(l.Plain)
	used, _ := strconv.Atoi(u.Port())
	if _, err := s.Link(used); err != nil {
		t.Errorf("the port that is open: %v", err)
	}
	if _, err := s.Link(used + 1); err == nil || !strings.Contains(err.Error(), u.Port()) {
		t.Errorf("another port: %v", err)
	}
	if _, err := New(Options{Host: fullHost(), Log: slog.New(slog.DiscardHandler)}).Link(used); err == nil {
		t.Error("a port that is taken was opened")
	}
	s.Close()
	if _, err := s.Link(0); err == nil {
		t.Error("a host that stops gave a link")
	}
}

func TestDoorsAreBounded(t *testing.T) {
	d := newDoors(time.Now)
	first, _ := d.link()
	for range maxLinks {
		d.link()
	}
	if d.enter(first) != "" || len(d.links) != maxLinks {
		t.Errorf("%d links, and the oldest is good", len(d.links))
	}
}

func TestAgo(t *testing.T) {
	tests := []struct {
		t    time.Time
		want string
	}{
		{time.Time{}, "never"},
		{noon.Add(-7 * time.Second), "7s ago"},
		{noon.Add(-90 * time.Minute), "1h30m ago"},
		{noon.Add(100 * time.Hour), "in 100h"},
	}
	for _, tt := range tests {
		if got := ago(noon, tt.t); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.t, got, tt.want)
		}
	}
}

// What was said before stands above the terminal, and what the terminal will be given
// does not stand there twice.
func TestWhatWasSaid(t *testing.T) {
	_, l := opened(t, fullHost())
	c := browser(t)
	base, _ := signIn(t, c, l)
	_, newest := fetch(t, c, "GET", base+"/groups/family/chat", nil)
	for _, want := range []string{"make it shorter", "slack:T1/C1", "an answer", `datetime="2026-11-23T12:00:03Z"`, "could not be delivered", `href="/groups/family/chat?before=r9old"`, `id="say"`, "Stop what goes on", "each day"} {
		if !strings.Contains(newest, want) {
			t.Errorf("the chat lacks %q", want)
		}
	}
	if strings.Contains(newest, "comes by the stream") {
		t.Error("an answer that is still to come stands there already")
	}
	_, older := fetch(t, c, "GET", base+"/groups/family/chat?before=r9old", nil)
	if strings.Contains(older, `id="say"`) || strings.Contains(older, "before=r9old") || !strings.Contains(older, `href="/groups/family/chat"`) {
		t.Errorf("an older page:\n%s", older)
	}
}
