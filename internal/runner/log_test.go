package runner

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
)

// Each line of a session names the run that it serves at that moment, its group and
// itself, once, also in what was made of the log.
func TestLinesNameTheRun(t *testing.T) {
	var out bytes.Buffer
	s := &session{id: "s1", grant: grant.Grant{Group: "family"}}
	log := s.caller().Log(slog.New(slog.NewJSONHandler(&out, nil)))
	made := log.With("engine", "native")
	line := func(write func()) map[string]any {
		t.Helper()
		out.Reset()
		write()
		var got map[string]any
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if got["group"] != "family" || got["session"] != "s1" || bytes.Count(out.Bytes(), []byte(`"run"`)) > 1 {
			t.Errorf("%s", out.Bytes())
		}
		return got
	}
	if got := line(func() { log.Info("before") }); got["run"] != nil {
		t.Errorf("%v", got)
	}
	for _, run := range []chat.RunID{"r1", "r2"} {
		s.serve(run)
		if got := line(func() { log.Info("in it") }); got["run"] != string(run) {
			t.Errorf("%v", got)
		}
		if got := line(func() { made.Warn("in it", "err", "x") }); got["run"] != string(run) || got["engine"] != "native" || got["err"] != "x" {
			t.Errorf("%v", got)
		}
	}
	s.serve("")
	if got := line(func() { made.Info("after") }); got["run"] != nil {
		t.Errorf("%v", got)
	}
}

// What is logged here is of a run: by the log of its session or of its job, or with its
// name. The others say why not.
func TestEveryLineIsOfARun(t *testing.T) {
	beyond := map[string]string{
		"no session is prepared":             "nobody wrote yet",
		"a session could not be prepared":    "nobody wrote yet",
		"that something goes again could no": "a trouble is of many runs",
		"a trouble is over":                  "a trouble is of many runs",
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`[rR]\.Log\.(?:Debug|Info|Warn|Error)\("([^"]*)"(.*)`).FindAllStringSubmatch(string(text), -1) {
			why := ""
			for begin, reason := range beyond {
				if strings.HasPrefix(m[1], begin) {
					why = reason
				}
			}
			if why == "" && !strings.Contains(m[2], `"run"`) {
				t.Errorf("%s: %q does not name its run: use the log of the session or the job", name, m[1])
			}
		}
	}
}
