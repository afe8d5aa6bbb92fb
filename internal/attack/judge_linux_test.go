package attack

import (
	"bytes"
	"strings"
	"testing"

	"nanoclaw/internal/attack/inside"
	"nanoclaw/internal/boundary"
)

// attempted gives results for all attempts of a line: each broke or not.
func attempted(line string, broke ...bool) []result {
	var out []result
	for i, name := range inside.Attempts()[line] {
		out = append(out, result{Result: inside.Result{Line: line, Name: name, Broke: broke[i], Detail: "what came of it"}})
	}
	return out
}

// cleared is attempted for files that were found afterwards.
func cleared(line string, broke ...bool) []result {
	out := attempted(line, broke...)
	for i := range out {
		out[i].after = "moved away afterwards"
	}
	return out
}

func TestJudge(t *testing.T) {
	all := catalogued()
	stopped, open, partly, elsewhere, looked := all["F-05"], all["N-21"], all["F-11"], all["F-22"], all["G-17"]
	for _, c := range []struct {
		name   string
		line   Line
		engine string
		give   []result
		found  []finding
		want   State
		detail string
	}{
		{"refused", stopped, "native", attempted("F-05", false), nil, Held, "what came of it"},
		{"succeeded", stopped, "native", attempted("F-05", true), nil, Broke, "what came of it"},
		{"refused, and the host's files changed", stopped, "native", attempted("F-05", false),
			[]finding{{what: files, detail: "a key is gone"}}, Broke, "a key is gone"},
		{"what changed is another line's matter", stopped, "native", attempted("F-05", false),
			[]finding{{what: process, detail: "it has ended"}, {what: files, line: "F-20", detail: "x"}}, Held, ""},
		{"left, and found afterwards", all["G-10"], "native", cleared("G-10", true, true), nil, Cleared, "moved away afterwards"},
		{"left, and not found", all["G-10"], "native", attempted("G-10", true, false), nil, Broke, ""},
		{"the attacker said nothing of it", stopped, "native", nil, nil, Missing, "move the folder"},
		{"known to succeed, and it does", open, "native", attempted("N-21", true), nil, Open, "its own"},
		{"known to succeed, and it did not", open, "native", attempted("N-21", false), nil, Shut, ""},
		{"a part succeeds under an engine that is known for it", partly, boundary.SRTEngine,
			attempted("F-11", true, false, false, false, false, false, false, false), nil, Open, "srt mounts"},
		{"the same under another", partly, "native",
			attempted("F-11", true, false, false, false, false, false, false, false), nil, Broke, ""},
		{"a part succeeds on a kernel that is known for it", all["K-27"], boundary.GVisor,
			attempted("K-27", false, true, false, true, false, false), nil, Open, "gVisor's kernel"},
		{"the same on this machine's", all["K-27"], "podman",
			attempted("K-27", false, true, false, true, false, false), nil, Broke, ""},
		{"held by tests of the host's code", elsewhere, "native", nil, nil, Elsewhere, "TestAdoption"},
		{"the host alone looks", looked, "native", nil, nil, Held, ""},
		{"the host alone looks, and finds something", looked, "native", nil, []finding{{what: leftovers, detail: ".mcp.json"}}, Broke, ".mcp.json"},
	} {
		got := judge(c.line, []string{c.engine}, c.give, c.found)
		if got.State != c.want || !strings.Contains(got.Detail, c.detail) {
			t.Errorf("%s: %s (%s), want %s (%s)", c.name, got.State, got.Detail, c.want, c.detail)
		}
	}
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	err := WriteTable(&b, []Report{
		{Engine: Control, User: "root", Outcomes: []Outcome{{Line: "F-12", State: Left, Detail: "make a node of a disk (harm)"}}},
		{Engine: "native", User: "root", Missing: []string{"landlock"}, Outcomes: []Outcome{
			{Line: "F-12", State: Held}, {Line: "N-21", State: Open, Detail: "it is told"}, {Line: "K-01", State: Broke, Detail: "connected"},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"native/root      control/root", "F-12  read the disk itself", "held             left out", "not stopped      -",
		"N-21: it is told.", "F-12: make a node of a disk (harm).", "native/root: 3 lines, 2 as they should be.",
		"this machine lacks: landlock", "K-01 BROKE: connected", "F-22: boundary · TestSwappedMountIsRefused",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "\nF-01 ") {
		t.Error("a line that was not tried is there")
	}
}

// What an attacker says is bounded and can only be results.
func FuzzRead(f *testing.F) {
	f.Add(`{"line":"F-01","name":"x","broke":true}` + "\n")
	f.Add("{}\n\n[]\n")
	f.Add("{\"line\":\n")
	f.Fuzz(func(t *testing.T, said string) {
		results, err := read(strings.NewReader(said))
		if lines := strings.Count(said, "\n") + 1; len(results) > lines {
			t.Errorf("%d results in %d lines", len(results), lines)
		}
		if err == nil && strings.TrimSpace(said) != "" && len(results) == 0 {
			t.Error("it was neither understood nor refused")
		}
	})
}
