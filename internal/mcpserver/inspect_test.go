package mcpserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// serve gives a transport to a real server with tools of these names.
func serve(t *testing.T, names ...string) mcp.Transport {
	server := mcp.NewServer(&mcp.Implementation{Name: "real", Version: "2"}, &mcp.ServerOptions{PageSize: 2})
	for _, n := range names {
		server.AddTool(&mcp.Tool{Name: n, InputSchema: json.RawMessage(`{"type":"object"}`)}, nil)
	}
	a, b := mcp.NewInMemoryTransports()
	if _, err := server.Connect(t.Context(), a, nil); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestInspect(t *testing.T) {
	d, err := Inspect(t.Context(), serve(t, "a", "b", "c", "d", "e"))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(d.Names(), ""); got != "abcde" || d.Server != "real 2" || len(d.Hash) != 64 {
		t.Errorf("got %+v", d)
	}
}

// The hash is that of what is said: not of order, white space or escapes.
func TestDefine(t *testing.T) {
	raw := func(tools ...string) (out []json.RawMessage) {
		for _, s := range tools {
			out = append(out, json.RawMessage(s))
		}
		return out
	}
	base := raw(`{"name":"a","description":"<x>","n":1.0}`, `{"name":"b","unknown":{"y":1,"x":2}}`)
	want, err := define(base, nil)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		list []json.RawMessage
		same bool
		err  string
	}{
		{"another order", raw(string(base[1]), string(base[0])), true, ""},
		{"other keys first, and spaces", raw(`{ "n":1.0, "description":"\u003cx>", "name":"a"}`, `{"unknown":{"x":2,"y":1},"name":"b"}`), true, ""},
		{"another word", raw(`{"name":"a","description":"<y>","n":1.0}`, string(base[1])), false, ""},
		{"a field that nobody knows", raw(string(base[0]), `{"name":"b","unknown":{"y":1,"x":3}}`), false, ""},
		{"a tool more", append(raw(`{"name":"c"}`), base...), false, ""},
		{"twice", append(raw(`{"name":"a"}`), base...), false, "twice"},
		{"no name", raw(`{}`), false, "without a name"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := define(test.list, nil)
			switch {
			case test.err != "":
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("got %v", err)
				}
			case err != nil || (got.Hash == want.Hash) != test.same:
				t.Errorf("same hash: %t, %v", got.Hash == want.Hash, err)
			}
		})
	}
}

func TestBook(t *testing.T) {
	path := filepath.Join(t.TempDir(), "book.json")
	b, err := OpenBook(path)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	first := Definitions{Hash: "1", Tools: map[string]string{"a": "x", "b": "x"}}
	if c := b.Compare("s", first); !c.First || c.None() {
		t.Errorf("first: %+v", c)
	}
	if err := b.Keep("s", first, now); err != nil {
		t.Fatal(err)
	}
	if b, err = OpenBook(path); err != nil {
		t.Fatal(err)
	}
	if c := b.Compare("s", first); c.First || !c.None() {
		t.Errorf("the same again, after a restart: %+v", c)
	}
	c := b.Compare("s", Definitions{Hash: "2", Tools: map[string]string{"b": "y", "c": "x\x1b"}})
	if diff := cmp.Diff("new: c; gone: a; described otherwise: b", c.Words()); diff != "" {
		t.Error(diff)
	}
	if p, ok := b.Page("s"); !ok || !p.Since.Equal(now) {
		t.Errorf("page %+v", p)
	}
}

// What a server says first is pinned; what it says later waits beside that until
// it is accepted as it was shown, also after a restart.
func TestBookPins(t *testing.T) {
	path := filepath.Join(t.TempDir(), "book.json")
	var b *Book
	open := func() {
		t.Helper()
		var err error
		if b, err = OpenBook(path); err != nil {
			t.Fatal(err)
		}
	}
	says := func(instructions string, tools ...string) Definitions {
		t.Helper()
		var raw []json.RawMessage
		for _, tool := range tools {
			raw = append(raw, json.RawMessage(tool))
		}
		d, err := define(raw, json.RawMessage(instructions))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	keep := func(d Definitions) (Change, Page) {
		t.Helper()
		c := b.Compare("s", d)
		if err := b.Keep("s", d, time.Now()); err != nil {
			t.Fatal(err)
		}
		open()
		p, _ := b.Page("s")
		return c, p
	}
	open()
	first := says(`"be kind"`, `{"name":"a"}`, `{"name":"b"}`)
	if c, p := keep(first); !c.News || !c.First || p.By != FirstUse || len(p.Accepted().Tools) != 2 || p.Accepted().Instructions == "" {
		t.Errorf("first use: %+v, %+v", c, p)
	}
	second := says(`"be cruel"`, `{"name":"b","description":"x"}`, `{"name":"c"}`)
	c, p := keep(second)
	if !c.News || !c.Grows() || len(p.Accepted().Tools) != 0 || p.Accepted().Instructions != "" || p.Now().Hash != second.Hash || p.Hash != first.Hash {
		t.Errorf("a change: %+v, %+v", c, p)
	}
	want := []Shown{{"b", `{"name":"b"}`, `{"description":"x","name":"b"}`}, {"c", "", `{"name":"c"}`}, {"a", "it was there", ""}, {"(instructions)", `"be kind"`, `"be cruel"`}}
	if got, err := p.Difference(false); err != nil || cmp.Diff(want, got) != "" {
		t.Errorf("difference: %v %s", err, cmp.Diff(want, got))
	}
	if c, _ := keep(second); c.News {
		t.Error("the same change is news again")
	}
	if err := b.Pin("s", first.Hash, "me", time.Now()); !errors.Is(err, ErrOther) {
		t.Errorf("what is not said any more was pinned: %v", err)
	}
	if _, p := keep(first); p.Next != nil || len(p.Accepted().Tools) != 2 {
		t.Errorf("taken back: %+v", p)
	}
	keep(second)
	if err := b.Pin("s", second.Hash, "me", time.Now()); err != nil {
		t.Fatal(err)
	}
	open()
	if p, _ := b.Page("s"); p.By != "me" || p.Next != nil || p.Hash != second.Hash || len(p.Accepted().Tools) != 2 {
		t.Errorf("accepted: %+v", p)
	}
	if c, p := keep(says(`"be cruel"`, `{"name":"c"}`)); c.Grows() || len(p.Accepted().Tools) != 1 {
		t.Errorf("a tool is gone: %+v, %+v", c, p)
	}
	long := says("", fmt.Sprintf(`{"name":"long","description":%q}`, strings.Repeat("x", maxText)))
	if _, p := keep(long); p.Accepted().Tools["long"] != "" {
		t.Error("a new tool is accepted")
	} else if _, err := p.Difference(false); err == nil {
		t.Error("what is too long is shown in part")
	}
	if _, err := define([]json.RawMessage{json.RawMessage(`{"name":"a.b"}`), json.RawMessage(`{"name":"a_b"}`)}, nil); err == nil {
		t.Error("two tools have one name for agents")
	}
}

// What failed is looked at again, later each time; nobody waits for it, and each
// change is told once.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var looks, told []string
		ctx, cancel := context.WithCancel(t.Context())
		w := NewWatch([]string{"a"}, func(context.Context, string) Health {
			looks = append(looks, time.Since(began).String())
			if len(looks) == 4 {
				return Health{Tools: 3}
			}
			return Health{Failed: "down"}
		}, func(key string, was, is Health) {
			told = append(told, fmt.Sprintf("%s %q to %q", key, was.Failed, is.Failed))
		})
		if h := w.Health("a"); h.Failed != "" || !h.At.IsZero() {
			t.Errorf("before the first look: %+v", h)
		}
		done := make(chan struct{})
		go func() { w.Run(ctx); close(done) }()
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		if diff := cmp.Diff([]string{"0s", "10s", "30s", "1m10s", "16m10s", "16m20s"}, looks[:6]); diff != "" {
			t.Errorf("want -, got +:\n%s", diff)
		}
		if diff := cmp.Diff([]string{`a "" to "down"`, `a "down" to ""`, `a "" to "down"`}, told); diff != "" {
			t.Errorf("want -, got +:\n%s", diff)
		}
		cancel()
		<-done
	})
}
