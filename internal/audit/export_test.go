package audit

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func exported(t testing.TB, m *memory, key *Key, f Filter) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := Export(t.Context(), &b, m, key.Public, f); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestExportVerifies(t *testing.T) {
	m, key := filled(t, 100)
	m.rows[7].Payload, m.rows[7].Salt = nil, nil
	m.add(t, 2) // not sequenced: not in the export
	tests := []struct {
		name   string
		filter Filter
		want   int64
		erased int64
	}{
		{"full", Filter{}, 100, 1},
		{"group", Filter{Group: "family"}, 50, 1},
		{"run", Filter{Run: "r1"}, 34, 0},
		{"session", Filter{Session: "s1"}, 34, 0},
		{"kinds", Filter{Kinds: []Kind{Inbound}}, 66, 1},
		{"since and until", Filter{Since: noon.Add(10 * time.Second), Until: noon.Add(20 * time.Second)}, 10, 0},
		{"limit", Filter{Limit: 5}, 5, 0},
		{"nothing", Filter{Run: "none"}, 0, 0},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			file := exported(t, m, key, tc.filter)
			rep, err := VerifyExport(bytes.NewReader(file), key.Verifier)
			if err != nil {
				t.Fatal(err)
			}
			if rep.Entries != tc.want || rep.Erased != tc.erased || rep.Size != 100 || rep.Key != key.Public {
				t.Errorf("%+v", rep)
			}
			if (rep.Part == nil) != (tc.name == "full") {
				t.Errorf("part: %+v", rep.Part)
			}
			if _, err := VerifyExport(bytes.NewReader(file), nil); err != nil {
				t.Errorf("with its own key: %v", err)
			}
		})
	}
}

func TestExportOfAnotherKey(t *testing.T) {
	m, key := filled(t, 5)
	other, err := OpenKey(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var bad *BadError
	if _, err := VerifyExport(bytes.NewReader(exported(t, m, key, Filter{})), other.Verifier); !errors.As(err, &bad) {
		t.Errorf("another key's export verified: %v", err)
	}
	if _, err := Export(t.Context(), &bytes.Buffer{}, m, other.Public, Filter{}); err == nil {
		t.Error("exported under a key that did not sign")
	}
}

// Every bit of the first line is bound, whether or not the key is known.
func TestEveryFlippedBitOfTheFirstLineIsFound(t *testing.T) {
	m, key := filled(t, 1)
	file := exported(t, m, key, Filter{})
	for i := range bytes.IndexByte(file, '\n') + 1 {
		for bit := range 8 {
			spoiled := bytes.Clone(file)
			spoiled[i] ^= 1 << bit
			for _, known := range []note.Verifier{key.Verifier, nil} {
				if _, err := VerifyExport(bytes.NewReader(spoiled), known); err == nil {
					t.Fatalf("bit %d of byte %d of %q can be flipped", bit, i, file[max(0, i-20):i+20])
				}
			}
		}
	}
}

// Every bit of every entry is bound, in a full export and in a part. The first
// line, and its signature, are read once.
func TestEveryFlippedBitOfAnEntryIsFound(t *testing.T) {
	m, key := filled(t, 7)
	for name, f := range map[string]Filter{"full": {}, "part": {Run: "r1"}} {
		t.Run(name, func(t *testing.T) {
			file := exported(t, m, key, f)
			first := &exportCheck{in: bufio.NewReaderSize(bytes.NewReader(file), MaxLine)}
			if err := first.header(key.Verifier); err != nil {
				t.Fatal(err)
			}
			body := file[bytes.IndexByte(file, '\n')+1:]
			in := bufio.NewReaderSize(nil, MaxLine)
			verify := func(body []byte) error {
				c := *first
				in.Reset(bytes.NewReader(body))
				c.in, c.tree = in, newTree()
				return c.entries()
			}
			if err := verify(body); err != nil {
				t.Fatal(err)
			}
			for i := range body {
				for bit := range 8 {
					body[i] ^= 1 << bit
					if verify(body) == nil {
						t.Fatalf("bit %d of byte %d of %q can be flipped", bit, i, body[max(0, i-20):min(len(body), i+20)])
					}
					body[i] ^= 1 << bit
				}
			}
		})
	}
}

// Random changes of lines: none verifies, and each names a line at or before the
// one that was changed.
func TestChangedLinesAreFound(t *testing.T) {
	m, key := filled(t, 200)
	lines := bytes.SplitAfter(exported(t, m, key, Filter{}), []byte("\n"))
	lines = lines[:len(lines)-1]
	rnd := rand.New(rand.NewPCG(1, 2))
	mutations := map[string]func(l [][]byte, i int) [][]byte{
		"delete":    func(l [][]byte, i int) [][]byte { return slices.Delete(l, i, i+1) },
		"duplicate": func(l [][]byte, i int) [][]byte { return slices.Insert(l, i, l[i]) },
		"swap": func(l [][]byte, i int) [][]byte {
			j := 1 + (i+rnd.IntN(len(l)-2))%(len(l)-1)
			if i == j {
				return l[:i]
			}
			l[i], l[j] = l[j], l[i]
			return l
		},
		"truncate":   func(l [][]byte, i int) [][]byte { return l[:i] },
		"cut a line": func(l [][]byte, i int) [][]byte { l[i] = l[i][:rnd.IntN(len(l[i]))]; return l },
		"empty line": func(l [][]byte, i int) [][]byte { return slices.Insert(l, i, []byte("\n")) },
		"space":      func(l [][]byte, i int) [][]byte { l[i] = append([]byte(" "), l[i]...); return l },
		"CRLF": func(l [][]byte, i int) [][]byte {
			l[i] = append(bytes.TrimSuffix(l[i], []byte("\n")), "\r\n"...)
			return l
		},
		"other time": func(l [][]byte, i int) [][]byte {
			l[i] = bytes.Replace(l[i], []byte("Z\","), []byte("+00:00\","), 1)
			return l
		},
		"other group": func(l [][]byte, i int) [][]byte { l[i] = regroup(l[i]); return l },
		"new field": func(l [][]byte, i int) [][]byte {
			l[i] = bytes.Replace(l[i], []byte("{"), []byte(`{"x":1,`), 1)
			return l
		},
		"double field": func(l [][]byte, i int) [][]byte {
			l[i] = bytes.Replace(l[i], []byte("{"), []byte(`{"id":1,`), 1)
			return l
		},
	}
	for name, mutate := range mutations {
		t.Run(name, func(t *testing.T) {
			for range 50 {
				i := 1 + rnd.IntN(len(lines)-2)
				spoiled := make([][]byte, len(lines))
				for k := range lines {
					spoiled[k] = bytes.Clone(lines[k])
				}
				_, err := VerifyExport(bytes.NewReader(bytes.Join(mutate(spoiled, i), nil)), key.Verifier)
				var bad *BadError
				if !errors.As(err, &bad) {
					t.Fatalf("line %d: %v", i+1, err)
				}
				if bad.Line == 0 || name != "swap" && bad.Line > i+2 {
					t.Fatalf("line %d changed, line %d named: %v", i+1, bad.Line, err)
				}
			}
		})
	}
}

func regroup(line []byte) []byte {
	if bytes.Contains(line, []byte(`"group":"main"`)) {
		return bytes.Replace(line, []byte(`"group":"main"`), []byte(`"group":"mine"`), 1)
	}
	return bytes.Replace(line, []byte(`"group":"family"`), []byte(`"group":"famely"`), 1)
}

// Somebody who changes an entry with every hash in the file still has no
// signature for the root.
func TestConsistentForgeryIsFound(t *testing.T) {
	m, key := filled(t, 30)
	forged := m.clone()
	forged.rows[10].Payload = []byte(`{"text":"something else"}`)
	forged.rows[10].Commitment = Commit(forged.rows[10].Salt, forged.rows[10].Payload)
	rehash(forged)
	_, err := VerifyExport(bytes.NewReader(exported(t, forged, key, Filter{})), key.Verifier)
	if err == nil || !strings.Contains(err.Error(), "not what was signed") {
		t.Error(err)
	}
	if _, err := VerifyExport(bytes.NewReader(exported(t, forged, key, Filter{Kinds: []Kind{Inbound}})), key.Verifier); err == nil {
		t.Error("the part verified")
	}
}

// A proof of one entry does not serve for another.
func TestProofsAreOfTheirEntry(t *testing.T) {
	m, key := filled(t, 30)
	lines := strings.SplitAfter(string(exported(t, m, key, Filter{Run: "r1"})), "\n")
	proof := func(l string) string { return l[strings.Index(l, `,"proof":`):] }
	lines[2] = strings.Replace(lines[2], proof(lines[2]), proof(lines[3]), 1)
	var bad *BadError
	_, err := VerifyExport(strings.NewReader(strings.Join(lines, "")), key.Verifier)
	if !errors.As(err, &bad) || bad.Line != 3 || bad.Entry != m.rows[3].ID {
		t.Error(err)
	}
}

func TestLinesAreBounded(t *testing.T) {
	m, key := filled(t, 3)
	file := exported(t, m, key, Filter{})
	end := bytes.IndexByte(file, '\n') + 1
	flood := append(bytes.Clone(file[:end]), bytes.Repeat([]byte("a"), MaxLine+1)...)
	_, err := VerifyExport(bytes.NewReader(flood), key.Verifier)
	if err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Error(err)
	}
}

// The longest entry that Seal makes fits in a line.
func TestTheLongestEntryFits(t *testing.T) {
	key, err := OpenKey(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r, err := Seal(Entry{At: noon, Kind: Inbound, Group: "main", Run: "r1", Session: "s1", Data: strings.Repeat("a", MaxPayload-2)})
	if err != nil || len(r.Payload) != MaxPayload {
		t.Fatalf("%d bytes, %v", len(r.Payload), err)
	}
	r.ID = 1
	m := &memory{rows: []Row{r}}
	if _, err := NewSequencer(m, key, nil).Sequence(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyExport(bytes.NewReader(exported(t, m, key, Filter{})), key.Verifier); err != nil {
		t.Error(err)
	}
	// 64 levels of proof are more than any log will have.
	l := lineOf(r)
	l.Proof = make(tlog.RecordProof, 64)
	var b bytes.Buffer
	if err := writeLine(&b, l); err != nil || b.Len() > MaxLine {
		t.Errorf("%d bytes, %v", b.Len(), err)
	}
}

func FuzzVerifyExport(f *testing.F) {
	m, key := filled(f, 6)
	full := exported(f, m, key, Filter{})
	f.Add(full)
	f.Add(exported(f, m, key, Filter{Run: "r1"}))
	f.Add(full[:len(full)-1])
	f.Add([]byte("{}\n"))
	f.Add([]byte(`{"format":"nanoclaw audit export v1","key":"a+00000000+AA==","checkpoint":""}` + "\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		rep, err := VerifyExport(bytes.NewReader(file), key.Verifier)
		if err != nil {
			var bad *BadError
			if !errors.As(err, &bad) || bad.Line == 0 {
				t.Fatalf("an error that names no line: %v", err)
			}
			return
		}
		// What verifies as a full export is the export, to the byte.
		if rep.Part == nil && !bytes.Equal(file, full) {
			t.Fatalf("another file verifies: %q", file)
		}
		if rep.Entries > 6 {
			t.Fatalf("%d entries of 6", rep.Entries)
		}
	})
}

// BenchmarkVerify100k checks an export of 100,000 entries, beside the hash of the
// same bytes, without which nobody could check anything.
func BenchmarkVerify100k(b *testing.B) {
	const n = 100_000
	m, key := filled(b, n)
	file := exported(b, m, key, Filter{})
	b.Run("export", func(b *testing.B) {
		b.SetBytes(int64(len(file)))
		for b.Loop() {
			if _, err := VerifyExport(bytes.NewReader(file), key.Verifier); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
	})
	b.Run("sha256", func(b *testing.B) {
		b.SetBytes(int64(len(file)))
		for b.Loop() {
			sha256.Sum256(file)
		}
	})
}

func TestDescribe(t *testing.T) {
	tests := []struct {
		kind    Kind
		payload string
		want    string
	}{
		{Inbound, `{"from":{"channel":"console","chat":"main"},"sender":{"id":"u","owner":true},"text":"hi\nthere","verdict":"run","reason":"owner's own chat"}`,
			"message from owner in console:main: run (owner's own chat): “hi there”"},
		{Inbound, `{"from":{"channel":"wa","chat":"1"},"sender":{"id":"u","name":"Ann"},"verdict":"refuse","new":[1]}`, "message from Ann in wa:1: refuse"},
		{RunStarted, `{"agent":"claude","mode":"host","grant":{}}`, "run started, agent claude, mode host"},
		{SessionStarted, `{"engine":"native","layers":["landlock","seccomp"],"initPid":7}`, "boundary native stands with landlock, seccomp, init 7"},
		{EgressTried, `{"gate":"proxy","verdict":"refused","reason":"this is a proxy"}`, "a connection that names no host: refused (this is a proxy)"},
		{EgressTried, `{"host":"example.com","port":443,"verdict":"refused","reason":"not granted"}`, "connection to example.com:443: refused (not granted)"},
		{ToolCalled, `{"tool":"Bash","input":{"command":"ls"}}`, "agent used Bash: “ls”"},
		{ToolCalled, `{"tool":"Bash","input":{"command":"ls","description":"look","sandbox":false}}`, `agent used Bash: “{"command":"ls","description":"look","sandbox":false}”`},
		{ToolCalled, `{"tool":"Read","input":{"file":"a<b","limit":3}}`, "agent used Read: “{\"file\":\"a<b\",\"limit\":3}”"},
		{HostToolCalled, `{"tool":"send_message","verdict":"refused","reason":"another group"}`, "agent asked the host for send_message: refused (another group)"},
		{RunEnded, `{"state":"succeeded","ms":1500,"costUsd":0.25}`, "run succeeded after 1.5s, 0.2500 USD as the agent says"},
		{RunEnded, `{"state":"succeeded","model":{"answers":2,"input":10,"cacheRead":90,"output":7,"searches":1}}`,
			"run succeeded, 2 answers, 100 tokens in (90 cached), 7 out, 1 searches and 0 fetches of the provider"},
		{EgressTried, `{"host":"m.example","port":443,"method":"POST","path":"/v1/messages","verdict":"allowed","usage":{"model":"claude-x","input":5,"cache_read":10,"output":7}}`,
			"POST m.example:443/v1/messages: allowed, 15 tokens in, 7 out of claude-x"},
		{RunRefused, `{"rule":"rate","text":"ten an hour"}`, "run refused by rate: ten an hour"},
		{ProbeRan, `{"held":true}`, "the probe could not break out of the boundary: it held"},
		{ProbeRan, `{"held":false,"finding":"read a canary"}`, "THE PROBE BROKE OUT: read a canary"},
		{Delivered, `{"id":3,"to":{"channel":"console","chat":"main"},"kind":"reply","bytes":12}`, "reply 3 (12 bytes) delivered to console:main"},
		{GivenUp, `{"id":3,"to":{"channel":"c","chat":"d"},"kind":"notice","bytes":1,"cause":"gone"}`, "notice 3 (1 bytes) given up, to c:d: gone"},
		{ExecEnded, `{"exit":2}`, "the owner's command ended with 2"},
		{OwnerActed, `{"act":"erase","entries":[4,5]}`, "the owner: erase, 2 entries from 4"},
		{RunEnded, `{"state":7}`, `run.ended {"state":7}`},
		{"future.kind", `{"a":1}`, `future.kind {"a":1}`},
		{ToolCalled, `{"tool":"\u001b[2J\u202e"}`, "agent used \uFFFD[2J\uFFFD"},
	}
	for _, tc := range tests {
		if got := Describe(tc.kind, []byte(tc.payload)); got != tc.want {
			t.Errorf("%s %s\n got %s\nwant %s", tc.kind, tc.payload, got, tc.want)
		}
	}
	if got := Describe(Inbound, nil); got != "inbound (erased)" {
		t.Error(got)
	}
	// Every kind has words of its own.
	for _, k := range []Kind{HostStarted, HostStopped, StoreRestored, ConfigChanged, ProbeRan, Inbound, RunStarted, SessionStarted, SessionEnded, ToolCalled, HostToolCalled,
		RunJoined, AgentUnasked, EgressTried, RunEnded, RunRefused, Outbox, Delivered, GivenUp, ExecStarted, ExecEnded, DelayedOdd, DelayedFound, DelayedMoved, WireFailed, OwnerActed} {
		if got := Describe(k, []byte("{}")); got == "" || got == fmt.Sprintf("%s {}", k) {
			t.Errorf("%s has no words: %q", k, got)
		}
	}
}
