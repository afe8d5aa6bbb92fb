package hosttools

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The same arguments are the same effect however they are written; others are not.
func TestEffectOf(t *testing.T) {
	a := effectOf("send_message", []byte(`{"text":"hi","group":"family"}`))
	if b := effectOf("send_message", []byte("{ \"group\": \"family\",\n\"text\": \"\\u0068i\" }")); a != b {
		t.Errorf("%+v is not %+v", a, b)
	}
	if b := effectOf("send_message", []byte(`{"text":"hi","group":"work"}`)); a.Hash == b.Hash {
		t.Error("another group is the same effect")
	}
}

// An effect is written down before and after it. What an earlier run did is answered
// and not done; what cannot be written down is not done; reading is no effect.
func TestEffectsHappenOnce(t *testing.T) {
	h := &fakeHost{}
	s := newServer(t, "family", everyTool, h)
	if got, isErr := callTool(t, s, "send_message", `{"text":"hi"}`); isErr || got != "Sent to family." {
		t.Fatalf("got %q", got)
	}
	if d := cmp.Diff([]string{"effect:1 true Sent to family."}, h.ended); d != "" {
		t.Error(d)
	}
	h.sendErr = errors.New("disk full")
	callTool(t, s, "send_message", `{"text":"other"}`)
	if len(h.ended) != 2 || h.ended[1] != "effect:2 false " {
		t.Errorf("after a failure: %q", h.ended)
	}
	h.sendErr, h.did = nil, nil
	h.earlier = map[string]Begun{effectOf("send_message", []byte(`{"text":"hi"}`)).Hash: {Key: "effect:9", Done: true, Answer: "Sent to family.", At: time.Unix(0, 0)}}
	got, isErr := callTool(t, s, "send_message", `{"text":"hi"}`)
	if isErr || !strings.Contains(got, "00:00:00 UTC") || !strings.Contains(got, "not done twice: Sent to family.") {
		t.Errorf("told %q", got)
	}
	if sends := strings.Join(h.did, ""); strings.Contains(sends, "send ") {
		t.Errorf("it was done again: %v", h.did)
	}
	n := len(h.effects)
	callTool(t, s, "list_groups", `{}`)
	if len(h.effects) != n {
		t.Error("a list is an effect")
	}
	h.beginErr, h.did = errors.New("disk full"), nil
	if _, isErr := callTool(t, s, "send_message", `{"text":"new"}`); !isErr || strings.Contains(strings.Join(h.did, ""), "send ") {
		t.Errorf("done without being written down: %v", h.did)
	}
}
