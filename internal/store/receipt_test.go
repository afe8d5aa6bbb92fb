package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/router"
	"nanoclaw/internal/runner"
)

// receipt makes a store with two runs and gives the receipt of the first.
func receipt(t *testing.T) (*Store, *audit.Key, []byte) {
	t.Helper()
	ctx, s := t.Context(), newStore(t)
	key, err := audit.OpenKey(t.TempDir())
	check(t, err)
	for _, run := range []chat.RunID{"r1", "r2"} {
		accept(t, s, "main", "m-"+string(run), router.Run)
		claim(t, s, "main", run)
		check(t, s.Start(ctx, run, runner.Start{Mode: "host", Agent: "claude", Session: "s1", At: noon}, audit.Entry{At: noon, Kind: audit.RunStarted, Group: "main", Run: run}))
		check(t, s.Running(ctx, run))
		for _, tool := range []string{"Read", "Bash", "Bash"} {
			check(t, s.Record(ctx, audit.Entry{At: noon, Kind: audit.ToolCalled, Group: "main", Run: run, Data: audit.ToolCalledData{Tool: tool, Verdict: "allowed"}}))
		}
		reply := chat.Outbound{To: chat.Address{Channel: "console", Chat: "main"}, Kind: chat.Reply, Text: "hello", Run: run, Group: "main", Key: string(run)}
		check(t, s.Finish(ctx, run, runner.Outcome{State: runner.Succeeded, At: noon, Replies: []chat.Outbound{reply}}, ended(run, runner.Succeeded)))
	}
	_, err = audit.NewSequencer(s, key, nil).Sequence(ctx)
	check(t, err)
	return s, key, exportRun(t, s, key, audit.Filter{Run: "r1"})
}

func exportRun(t *testing.T, s *Store, key *audit.Key, f audit.Filter) []byte {
	t.Helper()
	var b bytes.Buffer
	_, err := audit.Export(t.Context(), &b, s, key.Public, f)
	check(t, err)
	return b.Bytes()
}

func TestReceipt(t *testing.T) {
	_, key, file := receipt(t)
	var kinds []audit.Kind
	r, err := audit.VerifyReceipt(bytes.NewReader(file), key.Verifier, func(r audit.Row) { kinds = append(kinds, r.Kind) })
	check(t, err)
	want := []audit.Kind{audit.RunStarted, audit.ToolCalled, audit.ToolCalled, audit.ToolCalled, audit.RunEnded, audit.Outbox}
	if r.Run != "r1" || r.Later != 1 || !slices.Equal(kinds, want) {
		t.Errorf("%+v, %v", r, kinds)
	}
}

// TestReceiptHidesNothing: whoever hands a receipt on may leave lines out, each
// of which is proven by itself, or pass off something else as a receipt.
func TestReceiptHidesNothing(t *testing.T) {
	s, key, file := receipt(t)
	lines := slices.Collect(bytes.Lines(file))
	without := func(i ...int) []byte {
		var out []byte
		for j, l := range lines {
			if !slices.Contains(i, j) {
				out = append(out, l...)
			}
		}
		return out
	}
	var header map[string]any
	check(t, json.Unmarshal(lines[0], &header))
	tests := []struct {
		name string
		file []byte
		want string
	}{
		{"the first entry", without(1), "the run had 4 entries"},
		{"a tool call", without(3), "the run had 4 entries"},
		{"one of two that look alike", without(4), "the run had 4 entries"},
		{"the end", without(5, 6), "the end of the run is missing"},
		{"the end, delivery kept", without(5), "the end of the run is missing"},
		{"everything", without(1, 2, 3, 4, 5, 6), "the end of the run is missing"},
		{"all but the end", without(1, 2, 3, 4, 6), "the run had 4 entries"},
		{"two entries changed places", bytes.Join([][]byte{lines[0], lines[1], lines[3], lines[2], lines[4], lines[5], lines[6]}, nil), "not at its place"},
		{"a full export", exportRun(t, s, key, audit.Filter{}), "not the receipt of one run"},
		{"its calls alone", exportRun(t, s, key, audit.Filter{Run: "r1", Kinds: []audit.Kind{audit.ToolCalled, audit.RunEnded}}), "not the receipt of one run"},
		{"the end of another run", append(without(5, 6), bytes.Join(slices.Collect(bytes.Lines(exportRun(t, s, key, audit.Filter{Run: "r2"})))[5:], nil)...), "does not belong"},
		{"nothing", nil, "empty"},
	}
	for _, tc := range tests {
		_, err := audit.VerifyReceipt(bytes.NewReader(tc.file), key.Verifier, func(audit.Row) {})
		var bad *audit.BadError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("without %s: %v", tc.name, err)
		}
	}
}

// TestReceiptOfErasedWords: words may be erased, and the rest still holds.
func TestReceiptOfErasedWords(t *testing.T) {
	s, key, _ := receipt(t)
	var ids []int64
	for r, err := range s.Rows(t.Context(), audit.Filter{Run: "r1"}) {
		check(t, err)
		ids = append(ids, r.ID)
	}
	_, err := s.Erase(t.Context(), ids[1:2], "asked to")
	check(t, err)
	file := exportRun(t, s, key, audit.Filter{Run: "r1"})
	if _, err := audit.VerifyReceipt(bytes.NewReader(file), key.Verifier, func(audit.Row) {}); err != nil {
		t.Error(err)
	}
	_, err = s.Erase(t.Context(), ids[4:5], "asked to")
	check(t, err)
	file = exportRun(t, s, key, audit.Filter{Run: "r1"})
	if _, err := audit.VerifyReceipt(bytes.NewReader(file), key.Verifier, func(audit.Row) {}); err == nil {
		t.Error("a receipt without the words of its end verified")
	}
}

// TestEndsBindTheRun: a run that was cut off, or refused, has its receipt, too.
func TestEndsBindTheRun(t *testing.T) {
	ctx, s := t.Context(), newStore(t)
	accept(t, s, "main", "m1", router.Run)
	claim(t, s, "main", "r1")
	check(t, s.Finish(ctx, "r1", runner.Outcome{State: runner.Refused, At: noon}, audit.Entry{At: noon, Kind: audit.RunRefused, Group: "main", Run: "r1", Data: audit.RunRefusedData{Rule: "x"}}))
	accept(t, s, "main", "m2", router.Run)
	claim(t, s, "main", "r2")
	check(t, s.Start(ctx, "r2", runner.Start{At: noon}, audit.Entry{At: noon, Kind: audit.RunStarted, Group: "main", Run: "r2"}))
	_, err := again(s).Recover(ctx, 3, noon)
	check(t, err)
	for run, want := range map[chat.RunID]int64{"r1": 0, "r2": 1} {
		var last audit.Row
		for r, err := range s.Rows(ctx, audit.Filter{Run: run, Kinds: []audit.Kind{audit.RunEnded, audit.RunRefused}}) {
			check(t, err)
			last = r
		}
		var c audit.Closing
		if err := json.Unmarshal(last.Payload, &c); err != nil || c.Entries != want || len(c.Digest) != 64 {
			t.Errorf("%s: %+v, %v", run, c, err)
		}
	}
}
