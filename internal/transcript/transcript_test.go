package transcript

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// recorded are lines of Claude Code 2.1.330, shortened in what is not looked at.
const recorded = `{"type":"queue-operation","operation":"enqueue","content":"hello"}
{"isSidechain":false,"type":"user","message":{"role":"user","content":"<messages>\n<message sender=\"Ann\">hello</message>\n</messages>"},"uuid":"3d"}
{"isSidechain":false,"attachment":{"type":"date","date":"2026-11-22"},"type":"attachment","uuid":"86"}
{"isSidechain":false,"message":{"content":[{"text":"Hi Ann","type":"text"}],"id":"msg_1","role":"assistant"},"type":"assistant"}
{"isSidechain":false,"message":{"content":[{"type":"tool_use","name":"Bash","input":{"command":"ls"}}],"role":"assistant"},"type":"assistant"}
{"isSidechain":false,"message":{"content":[{"type":"tool_result","content":"CLAUDE.md"}],"role":"user"},"type":"user"}
{"isSidechain":true,"message":{"content":"for a subagent","role":"user"},"type":"user"}
{"isSidechain":false,"isMeta":true,"message":{"content":"from the program","role":"user"},"type":"user"}
{"isSidechain":false,"message":{"content":[{"type":"text","text":"<system-reminder>\nx\n</system-reminder>"},{"type":"text","text":"and a picture"},{"type":"image","source":{}}],"role":"user"},"type":"user"}
{"type":"api-request","params":{}}
not json
{"type":"ai-title","aiTitle":"Plans for the Garden: Spring & Summer!","sessionId":"x"}
`

const compacted = `{"parentUuid":null,"isSidechain":false,"type":"system","subtype":"compact_boundary","content":"Conversation compacted"}
{"isSidechain":false,"isCompactSummary":true,"type":"user","message":{"role":"user","content":"This session is being continued"}}
{"isSidechain":false,"type":"user","message":{"role":"user","content":"what next?"}}
`

var noon = time.Date(2026, 3, 1, 12, 5, 0, 0, time.UTC)

func read(t *testing.T, s string) Transcript {
	t.Helper()
	got, err := Read(strings.NewReader(s))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestPage(t *testing.T) {
	tr := read(t, recorded)
	want := "# Plans for the Garden: Spring & Summer!\n\nArchived: 2026-03-01 12:05 UTC\n\n---\n\n" +
		"**User**: <messages>\n<message sender=\"Ann\">hello</message>\n</messages>\n\n**Andy**: Hi Ann\n\n**User**: and a picture\n\n"
	if d := cmp.Diff(want, string(tr.Page("Andy", noon))); d != "" {
		t.Error(d)
	}
	if got := tr.Name(noon); got != "2026-03-01-plans-for-the-garden-spring-summer" {
		t.Errorf("it is called %s", got)
	}
}

// What an earlier archive holds is in no later one.
func TestSinceTheLastCompaction(t *testing.T) {
	tr := read(t, recorded+compacted)
	if d := cmp.Diff([]Message{{Text: "what next?"}}, tr.Messages); d != "" {
		t.Error(d)
	}
}

func TestNames(t *testing.T) {
	for title, want := range map[string]string{
		"":                        "2026-03-01-conversation-1205",
		"../../etc/passwd":        "2026-03-01-etc-passwd",
		"$(rm -rf ~); `x` \n":     "2026-03-01-rm-rf-x",
		"Größe":                   "2026-03-01-gr-e",
		"日本語":                     "2026-03-01-conversation-1205",
		strings.Repeat("ab ", 40): "2026-03-01-" + strings.Repeat("ab-", 16) + "ab",
	} {
		if got := (Transcript{Title: title}).Name(noon); got != want {
			t.Errorf("%q became %s, want %s", title, got, want)
		}
	}
}

func TestBounds(t *testing.T) {
	long := strings.Repeat("é", maxMessage+1)
	tr := read(t, fmt.Sprintf(`{"type":"user","message":{"content":%q}}`, long))
	if got := tr.Messages[0].Text; got != strings.Repeat("é", maxMessage)+"..." {
		t.Errorf("a long message has %d characters", utf8.RuneCountInString(got))
	}
	huge := `{"type":"user","message":{"content":"` + strings.Repeat("x", maxLine) + `"}}` + "\n" + `{"type":"user","message":{"content":"after"}}`
	if d := cmp.Diff([]Message{{Text: "after"}}, read(t, huge).Messages); d != "" {
		t.Error(d)
	}
	one := fmt.Sprintf(`{"type":"user","message":{"content":%q}}`+"\n", strings.Repeat("y", maxMessage))
	tr = read(t, strings.Repeat(one, maxKept/maxMessage+10))
	if page := tr.Page("Andy", noon); !tr.Cut || len(page) > 2*maxKept || !bytes.Contains(page, []byte("too much to keep")) {
		t.Errorf("a flood became %d bytes, cut: %v", len(page), tr.Cut)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(recorded + compacted))
	f.Add([]byte(`{"type":"custom-title","customTitle":"\u0000\n# x"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		tr, err := Read(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if name := tr.Name(noon); strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || len(name) > 80 {
			t.Errorf("it is called %q", name)
		}
		if page := tr.Page("Andy", noon); !utf8.Valid(page) || len(page) > 3*maxKept {
			t.Errorf("a page of %d bytes", len(page))
		}
	})
}
