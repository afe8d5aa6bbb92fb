package web

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/control/controltest"
	"nanoclaw/internal/task"
)

// chromium is a real browser, headless, with what its console complained of.
func chromium(t testing.TB) (context.Context, func() []string) {
	t.Helper()
	program, err := exec.LookPath("chromium-headless-shell")
	if err != nil {
		t.Fatal("install chromium-headless-shell (sudo make deps): ", err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	var mu sync.Mutex
	var said []string
	err = chromedp.Listen(ctx, func(e any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := e.(type) {
		case *runtime.EventExceptionThrown:
			said = append(said, e.ExceptionDetails.Text)
		case *runtime.EventConsoleAPICalled:
			said = append(said, string(e.Type))
		case *log.EventEntryAdded:
			said = append(said, e.Entry.Text+" "+e.Entry.URL)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return ctx, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return said
	}
}

// run does what a person does, and fails with what they did.
func run(t testing.TB, ctx context.Context, what string, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// shot keeps a picture for whoever wants to look: NANOCLAW_SHOTS is a folder.
func shot(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	dir := os.Getenv("NANOCLAW_SHOTS")
	if dir == "" {
		return
	}
	picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o600); err != nil {
		t.Fatal(err)
	}
}

// terminal is what an attached browser is given to show.
type terminal struct {
	lines  chan chat.Outbound
	closed chan struct{}
	once   sync.Once
}

func (c *terminal) Next(ctx context.Context) (*chat.Outbound, *chat.Progress, error) {
	select {
	case m := <-c.lines:
		return &m, nil, nil
	case <-c.closed:
		return nil, nil, io.EOF
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
}

func (c *terminal) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

// TestInABrowser signs in with the link, sees a run begin without doing anything,
// answers a question, talks, and looks at every page on a wide and on a narrow screen,
// in light and dark. The console stays empty, and no hostile word does anything.
func TestInABrowser(t *testing.T) {
	h := fullHost()
	var mu sync.Mutex
	live, answered := []control.RunInfo{}, []control.ApproveRequest{}
	status := h.OnStatus
	h.OnStatus = func(ctx context.Context) (control.Status, error) {
		st, err := status(ctx)
		mu.Lock()
		defer mu.Unlock()
		st.Live = live
		return st, err
	}
	// A page looks every second, so it asks for nothing that decides about each group.
	runs := h.OnRuns
	h.OnRuns = func(ctx context.Context, q control.RunsQuery) ([]control.RunInfo, error) {
		if !q.Live {
			return runs(ctx, q)
		}
		mu.Lock()
		defer mu.Unlock()
		return live, nil
	}
	var made []control.TaskSpec
	h.OnTaskAdd = func(_ context.Context, spec control.TaskSpec) (task.Task, error) {
		mu.Lock()
		defer mu.Unlock()
		made = append(made, spec)
		return task.Task{ID: "t2"}, nil
	}
	h.OnApprove = func(_ context.Context, r control.ApproveRequest) (control.Approved, error) {
		mu.Lock()
		defer mu.Unlock()
		answered = append(answered, r)
		return control.Approved{}, nil
	}
	talk := &terminal{lines: make(chan chat.Outbound, 8), closed: make(chan struct{})}
	h.OnAttach = func(context.Context, chat.Group) (control.Terminal, error) { return talk, nil }
	h.OnSay = func(_ context.Context, r control.SayRequest) (chat.MessageID, error) {
		talk.lines <- chat.Outbound{Text: "you said " + r.Text + hostile}
		return "m1", nil
	}
	_, l := opened(t, h)
	ctx, console := chromium(t)
	base := strings.TrimSuffix(l.Plain[:strings.Index(l.Plain, "/login")], "/")

	looked(t, ctx, base, otherScreens, "/login")
	run(t, ctx, "leave it", chromedp.Navigate("about:blank")) // else the link is a place on the same page
	run(t, ctx, "sign in", chromedp.Navigate(l.Plain), chromedp.WaitReady(chromedp.CSS("#login button:focus")), chromedp.Click(chromedp.CSS("#login button")), chromedp.WaitVisible(chromedp.ID("live")))
	run(t, ctx, "nothing goes on", chromedp.WaitVisible(chromedp.CSS("#live + p")))
	mu.Lock()
	live = []control.RunInfo{{ID: "r9new", Group: "family", State: "running", Agent: "claude", Mode: "host", Created: noon}}
	mu.Unlock()
	run(t, ctx, "a run begins", chromedp.WaitVisible(chromedp.CSS(`#live + article a[href="/runs/r9new"]`)))
	run(t, ctx, "questions", chromedp.Navigate(base+"/approvals"))
	if r, err := chromedp.RunResponse(ctx, chromedp.Click(chromedp.CSS(`button[value="approve"]`))); err != nil || r.Status != 200 {
		t.Errorf("answer: %+v, %v", r, err)
	}
	mu.Lock()
	if len(answered) != 1 || !answered[0].Yes {
		t.Errorf("answered %+v", answered)
	}
	mu.Unlock()
	run(t, ctx, "talk", chromedp.Navigate(base+"/groups/family/chat"), chromedp.SendKeys(chromedp.ID("text"), "hello\r"),
		chromedp.WaitVisible(chromedp.CSS("#talk .mine")), chromedp.WaitVisible(chromedp.CSS("#talk .answer")))
	if heard, err := chromedp.Run(ctx, chromedp.Text(chromedp.CSS("#talk .answer"))); err != nil || !strings.Contains(heard, "you said hello<script>") {
		t.Errorf("heard %q, %v", heard, err)
	}
	shot(t, ctx, "chat")
	run(t, ctx, "make a task", chromedp.Navigate(base+"/tasks"), chromedp.SendKeys(chromedp.CSS(`[name="prompt"]`), "water the plants"), chromedp.SendKeys(chromedp.CSS(`[name="value"]`), "0 9 * * 1-5"))
	if r, err := chromedp.RunResponse(ctx, chromedp.Click(chromedp.CSS("#new + form button"))); err != nil || r.Status != 200 {
		t.Errorf("make a task: %+v, %v", r, err)
	}
	mu.Lock()
	if len(made) != 1 || made[0].Group != "main" || *made[0].Prompt != "water the plants" || *made[0].Kind != "cron" || *made[0].Value != "0 9 * * 1-5" || *made[0].HostMode {
		t.Errorf("made %+v", made)
	}
	mu.Unlock()
	run(t, ctx, "a run explained", chromedp.Navigate(base+"/runs/r0abc"), chromedp.WaitVisible(chromedp.CSS(".story .bad")),
		chromedp.Click(chromedp.CSS("#e12 summary")), chromedp.WaitVisible(chromedp.CSS("#e12 pre")))
	if says, err := chromedp.Run(ctx, chromedp.Text(chromedp.ID("e12"))); err != nil || !strings.Contains(says, "evil.example:443: refused") || !strings.Contains(says, "entry 13") {
		t.Errorf("the run says %q, %v", says, err)
	}
	run(t, ctx, "a code to scan", chromedp.Navigate(base+"/channels/whatsapp?login=1"), chromedp.WaitVisible(chromedp.CSS("svg.qr")))
	looked(t, ctx, base, someScreens, "/", "/groups", "/groups/family", "/groups/family/chat", "/approvals", "/tasks", "/runs", "/runs/r0abc", "/audit?verify=1", "/channels", "/channels/whatsapp?login=1", "/people", "/nodes", "/doctor", "/groups/nobody")
	if said := console(); !slices.ContainsFunc(said, func(s string) bool { return strings.Contains(s, "404") }) {
		t.Errorf("a page that is not there: %q", said)
	}
	if said := slices.DeleteFunc(console(), func(s string) bool { return strings.HasSuffix(s, "404 (Not Found) "+base+"/groups/nobody") }); len(said) > 0 {
		t.Errorf("the console: %q", said)
	}
}

// TestNothingYetInABrowser looks at the pages of a host on which nothing happened yet.
func TestNothingYetInABrowser(t *testing.T) {
	h := &controltest.Host{OnGroups: func(context.Context) ([]control.GroupInfo, error) {
		return []control.GroupInfo{{Name: "main", Mode: "host", Agent: "claude"}}, nil
	}}
	_, l := opened(t, h)
	ctx, console := chromium(t)
	base := strings.TrimSuffix(l.Plain[:strings.Index(l.Plain, "/login")], "/")
	run(t, ctx, "sign in", chromedp.Navigate(l.Plain), chromedp.WaitReady(chromedp.CSS("#login button:focus")), chromedp.Click(chromedp.CSS("#login button")), chromedp.WaitVisible(chromedp.ID("live")))
	looked(t, ctx, base, otherScreens, "/", "/groups/main", "/groups/main/chat", "/approvals", "/tasks", "/runs", "/audit", "/channels", "/people", "/nodes", "/doctor")
	if said := console(); len(said) > 0 {
		t.Errorf("the console: %q", said)
	}
}

// axeCore is the program with which axe-core judges a page.
func axeCore(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../tools/axe/node_modules/axe-core/axe.min.js")
	if err != nil {
		t.Fatal("fetch axe-core (make axe): ", err)
	}
	return string(text)
}

// judged has axe-core judge a page by all of its rules, the best practices too.
const judged = `;
axe.run(document).then((r) => r.violations.map((v) =>
  v.id + " (" + v.impact + "): " + v.help + ": " + v.nodes.map((n) => n.html + " " + (n.any.concat(n.all, n.none).map((c) => c.message).join("; "))).slice(0, 3).join(" | ")))`

// screen is what a page is looked at on.
type screen struct {
	name   string
	wide   int64
	colors string
}

// The screens, in two pairs, so that each width is seen in each color.
var (
	someScreens  = []screen{{"wide", 1280, "light"}, {"narrow", 360, "dark"}}
	otherScreens = []screen{{"wide", 1280, "dark"}, {"narrow", 360, "light"}}
)

// looked looks at pages: axe-core finds nothing, nothing is wider than the screen, there is
// one heading, and each thing that can be pressed or filled has a name.
func looked(t *testing.T, ctx context.Context, base string, screens []screen, paths ...string) {
	t.Helper()
	axe := axeCore(t)
	for _, screen := range screens {
		run(t, ctx, screen.name, chromedp.EmulateViewport(screen.wide, 800))
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: screen.colors}},
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			run(t, ctx, path, chromedp.Navigate(base+path), chromedp.WaitVisible(chromedp.CSS("h1")))
			if wrong, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](axe+judged, chromedp.EvalAwaitPromise)); err != nil || len(wrong) > 0 {
				t.Errorf("%s, %s, %s, by axe: %v\n%s", path, screen.name, screen.colors, err, strings.Join(wrong, "\n"))
			}
			if wrong, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](complaints)); err != nil || len(wrong) > 0 {
				t.Errorf("%s, %s: %q, %v", path, screen.name, wrong, err)
			}
			shot(t, ctx, screen.name+"-"+screen.colors+strings.NewReplacer("/", "-", "?", "-").Replace(path))
		}
	}
}

// complaints is asked of each page.
const complaints = `(() => {
  const wrong = [];
  if (document.documentElement.scrollWidth > innerWidth) wrong.push("wider than the screen: " + document.documentElement.scrollWidth);
  if (document.querySelectorAll("h1").length !== 1) wrong.push("not one heading");
  for (const e of document.querySelectorAll("input:not([type=hidden]), textarea, select"))
    if (!e.labels || e.labels.length === 0) wrong.push("no label: " + e.outerHTML);
  for (const e of document.querySelectorAll("button, a")) if (!e.textContent.trim()) wrong.push("no name: " + e.outerHTML);
  const ids = Array.from(document.querySelectorAll("[id]"), (e) => e.id);
  for (const id of new Set(ids)) if (ids.filter((i) => i === id).length > 1) wrong.push("twice: " + id);
  return wrong;
})()`
