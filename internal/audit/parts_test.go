package audit

import (
	"encoding/json"
	"strings"
	"testing"
)

// What has a brief is never cut: it lies whole in entries of its own, of which
// none can be missing, another, or changed.
func TestSplit(t *testing.T) {
	words := make([]string, 3000)
	for i := range words {
		words[i] = strings.Repeat(`ü"\<`, 10)
	}
	e := Entry{At: noon, Kind: RunStarted, Run: "r1", Data: RunStartedData{Grant: words}, Brief: RunStartedData{Mode: "host"}}
	entries, err := e.Split()
	if err != nil {
		t.Fatal(err)
	}
	var rows []Row
	for _, e := range entries {
		r, err := Seal(e)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, r)
		if strings.Contains(string(r.Payload), "[cut") || r.Run != "r1" {
			t.Errorf("a row of run %q with %d bytes", r.Run, len(r.Payload))
		}
	}
	last := rows[len(rows)-1]
	parts := rows[:len(rows)-1]
	p, ok := PartedOf(last.Payload)
	if !ok || p.Entries != len(parts) || len(parts) < 2 || last.Kind != RunStarted || parts[0].Kind != Part {
		t.Fatalf("%d parts, and at the end %s", len(parts), last.Payload)
	}
	if got := Describe(last.Kind, last.Payload); got != "run started, mode host" {
		t.Errorf("it reads %q", got)
	}
	whole, err := p.Join(parts)
	if want, _ := json.Marshal(e.Data); err != nil || string(whole) != string(want) {
		t.Errorf("joined: %d bytes, %v", len(whole), err)
	}
	erased := append([]Row(nil), parts...)
	erased[1].Payload, erased[1].Salt = nil, nil
	other := p
	other.SHA256 = strings.Repeat("0", 64)
	for name, err := range map[string]error{
		"one is missing": joinError(p, parts[1:]), "the last is missing": joinError(p, parts[:len(parts)-1]),
		"one was erased": joinError(p, erased), "another payload's": joinError(other, parts),
	} {
		if err == nil {
			t.Errorf("%s: it was joined", name)
		}
	}
}

func joinError(p Parted, rows []Row) error {
	_, err := p.Join(rows)
	return err
}

// What fits stays one entry, and what would be a flood has its hash alone.
func TestSplitBounds(t *testing.T) {
	for _, tt := range []struct {
		name  string
		bytes int
		want  int
	}{{"it fits", 1000, 1}, {"too much for parts", maxWhole, 1}} {
		entries, err := Entry{At: noon, Kind: RunStarted, Data: strings.Repeat("a", tt.bytes), Brief: RunStartedData{Grant: strings.Repeat("b", MaxPayload)}}.Split()
		if err != nil || len(entries) != tt.want {
			t.Errorf("%s: %d entries, %v", tt.name, len(entries), err)
			continue
		}
		r, err := Seal(entries[0])
		if err != nil || (len(r.Payload) > 1000) == (tt.bytes > MaxPayload) {
			t.Errorf("%s: a payload of %d bytes, %v", tt.name, len(r.Payload), err)
		}
		if _, ok := PartedOf(r.Payload); ok {
			t.Errorf("%s: it claims to have parts", tt.name)
		}
	}
}
