package web

import (
	"encoding/json"
	"html"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/control"
)

// recorded are the entries of a run, as the host has them.
var recorded = []control.AuditEntry{
	entry(7, 0, "run.started", `{"mode":"host","agent":"claude","grant":{}}`),
	entry(8, 120, "session.started", `{"engine":"native","layers":["landlock","seccomp"],"initPid":42}`),
	entry(9, 430, "egress", `{"id":1,"phase":"open","verdict":"allowed","gate":"model","host":"api.anthropic.com","port":443}`),
	entry(10, 900, "tool.called", hostileTool),
	entry(11, 1300, "egress", `{"id":1,"phase":"close","verdict":"allowed","gate":"model","host":"api.anthropic.com","port":443,"up":2048,"down":900}`),
	entry(12, 1400, "egress", `{"id":2,"phase":"close","verdict":"refused","host":"evil.example","port":443,"reason":"no rule of the grant names it"}`),
	entry(13, 1450, "egress", `{"id":3,"phase":"close","verdict":"refused","host":"evil.example","port":443,"reason":"no rule of the grant names it"}`),
	{ID: 14, At: noon.Add(70 * time.Second), Kind: "files.changed", Run: "r0abc", Index: -1},
	entry(15, 75_000, "run.ended", `{"state":"succeeded","ms":75000}`),
}

// hostileTool is a tool call whose words would do something if they were shown as they are.
var hostileTool = func() string {
	b, err := json.Marshal(map[string]any{"tool": "Bash", "verdict": "allowed", "input": map[string]string{"command": hostile}})
	if err != nil {
		panic(err)
	}
	return string(b)
}()

func entry(id int64, ms int, kind, data string) control.AuditEntry {
	return control.AuditEntry{ID: id, At: noon.Add(time.Duration(ms) * time.Millisecond), Kind: kind, Group: "family", Run: "r0abc", Session: "s1", Index: id - 1, Data: json.RawMessage(data)}
}

// TestRunIsAStory: the page of a run says what was said to it, what happened when, what was
// refused, and what it said, each with the entries beneath.
func TestRunIsAStory(t *testing.T) {
	_, l := opened(t, fullHost())
	c := browser(t)
	base, _ := signIn(t, c, l)
	r, err := c.Get(base + "/runs/r0abc")
	must(t, err)
	body, err := io.ReadAll(r.Body)
	must(t, err)
	must(t, r.Body.Close())
	if r.StatusCode != http.StatusOK {
		t.Fatal(r.Status)
	}
	page := html.UnescapeString(string(body))
	at := 0
	for _, want := range []string{
		"make it shorter", "+0.0 s", "run started", "+0.1 s", "boundary native", "+0.4 s", "connection to api.anthropic.com:443 (the model): allowed, 2048 bytes up and 900 down",
		"entry 9", "entry 11", "+0.9 s", "agent used Bash", `class="bad"`, "+1.4 s", "evil.example:443: refused (no rule of the grant names it)", "2 times",
		"entry 12", "entry 13", "+1m10s", "Its words were erased.", "+1m15s", "run succeeded", "an answer ", "In short", "nanoclaw why r0abc",
	} {
		i := strings.Index(page[at:], want)
		if i < 0 {
			t.Fatalf("%q is not there, or not in its place:\n%s", want, page)
		}
		at += i
	}
	if n := strings.Count(page, `<li class="bad"`); n != 1 {
		t.Errorf("%d steps are bad news, want 1", n)
	}
}
