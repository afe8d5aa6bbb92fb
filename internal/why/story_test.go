package why_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/why"
)

func TestStory(t *testing.T) {
	type line struct {
		After   string
		Text    string
		Bad     bool
		Times   int
		Entries []int64
	}
	at := noon
	var rows []audit.Row
	add := func(ms int, kind audit.Kind, payload string) {
		at = noon.Add(time.Duration(ms) * time.Millisecond)
		r := audit.Row{ID: int64(len(rows) + 1), At: at, Kind: kind, Session: "s1"}
		if payload != "" {
			r.Payload = json.RawMessage(payload)
		}
		rows = append(rows, r)
	}
	const to = `"gate":"proxy","host":"go.dev","port":443`
	add(0, audit.Part, `{"part":1}`)
	add(0, audit.RunStarted, `{"mode":"host","agent":"claude"}`)
	add(100, audit.EgressTried, `{"id":1,"phase":"open","verdict":"allowed",`+to+`}`)
	add(150, audit.EgressTried, `{"id":2,"phase":"open","verdict":"allowed",`+to+`}`)
	add(200, audit.ToolCalled, `{"tool":"Bash","verdict":"denied","rule":"no shell"}`)
	add(250, audit.ToolCalled, `{"tool":"Bash","verdict":"denied","rule":"no shell"}`)
	add(300, audit.EgressTried, `{"id":1,"phase":"close","verdict":"allowed","up":10,"down":100,`+to+`}`)
	add(400, audit.EgressTried, `{"id":2,"phase":"close","verdict":"refused","reason":"a budget ended",`+to+`}`)
	add(500, audit.EgressTried, `{"id":1,"phase":"close","verdict":"allowed","up":1,"down":1,`+to+`}`) // another session's
	rows[len(rows)-1].Session = "s2"
	add(600, audit.EgressTried, `{"id":4,"phase":"close","verdict":"allowed","gate":"model","host":"a.example","port":443,"usage":{"input":5,"cache_read":10,"output":7}}`)
	add(700, audit.EgressTried, `no JSON`)
	add(650, audit.HostToolCalled, "")
	add(900, audit.RunEnded, `{"state":"failed","error":"it broke"}`)
	var got []line
	for _, s := range why.Story(rows) {
		got = append(got, line{s.After.String(), s.Text, s.Bad, s.Times, s.Entries})
	}
	want := []line{
		{"0s", "run started, agent claude, mode host", false, 1, []int64{1, 2}},
		{"100ms", "connection to go.dev:443: allowed, 10 bytes up and 100 down", false, 2, []int64{3, 4, 7}},
		{"200ms", "agent used Bash: denied (no shell)", true, 2, []int64{5, 6}},
		{"400ms", "connection to go.dev:443: refused (a budget ended)", true, 1, []int64{8}},
		{"500ms", "connection to go.dev:443: allowed, 1 bytes up and 1 down", false, 1, []int64{9}},
		{"600ms", "connection to a.example:443 (the model): allowed, 15 tokens in and 7 out", false, 1, []int64{10}},
		{"700ms", "egress no JSON", false, 1, []int64{11}},
		{"650ms", "host_tool.called (erased)", false, 1, []int64{12}},
		{"900ms", "run failed: it broke", true, 1, []int64{13}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if s := why.Story(nil); len(s) != 0 {
		t.Errorf("nothing happened: %+v", s)
	}
}
