package store

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/router"
)

func TestStrangers(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	at := time.Now().UTC().Truncate(time.Millisecond)
	eve := Stranger{Group: "family", Sender: "net:eve", Name: "Eve", From: "net:fam", At: at}
	odd := Stranger{Group: "family", Sender: `net:e:"%'`, At: at}
	for _, who := range []Stranger{eve, eve, odd, {Group: "work", Sender: "net:eve", At: at}} {
		if err := s.NoteStranger(ctx, who); err != nil {
			t.Fatal(err)
		}
	}
	entry := audit.Entry{At: at, Kind: audit.OwnerActed, Group: "family", Data: audit.OwnerActedData{Act: "deny sender", Target: eve.Sender}}
	if err := s.DenyStranger(ctx, eve, entry); err != nil {
		t.Fatal(err)
	}
	eve.Denied = true
	if err := s.NoteStranger(ctx, Stranger{Group: "family", Sender: "net:eve", At: at}); err != nil { // a no is not forgotten by being asked
		t.Fatal(err)
	}
	got, err := s.Strangers(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]Stranger{odd, eve, {Group: "work", Sender: "net:eve", At: at}}, got); d != "" {
		t.Error(d)
	}
	for _, want := range []bool{true, false} {
		if found, err := s.ForgetStranger(ctx, eve, false, entry); found != want || err != nil {
			t.Errorf("forgotten: %v, %v", found, err)
		}
	}
	if got, _ := s.Strangers(ctx); len(got) != 2 {
		t.Errorf("left: %+v", got)
	}
}

// What somebody wrote is refused in that group alone, from that channel alone,
// and not what a run has.
func TestRefuseWaiting(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	put := func(channel, sender string, g chat.Group, action router.Action) chat.Address {
		t.Helper()
		a := chat.Address{Channel: chat.ChannelID(channel), Chat: chat.ChatID(string(g) + sender)}
		_, err := s.Accept(ctx, chat.Inbound{From: a, ID: chat.MessageID(string(action)), Sender: chat.Sender{ID: chat.SenderID(sender)}, Text: "x"}, router.Verdict{Group: g, Action: action, Reason: "r"}, 10, 10)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	taken := put("net", "eve", "lab", router.Run)
	if _, err := s.Claim(ctx, "lab", "r1", time.Now()); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		at     chat.Address
		action router.Action
		want   string
	}{
		{"what waits", put("net", "eve", "family", router.Run), router.Run, "refused"},
		{"context", put("net", "eve", "family", router.Context), router.Context, "refused"},
		{"what was ignored", put("net", "eve", "family", router.Ignore), router.Ignore, "ignored"},
		{"of another group", put("net", "eve", "work", router.Run), router.Run, "waiting"},
		{"of another sender", put("net", "Eve", "family", router.Run), router.Run, "waiting"},
		{"of another channel", put("slack", "eve", "family", router.Run), router.Run, "waiting"},
		{"what a run has", taken, router.Run, "claimed"},
	}
	for _, g := range []chat.Group{"family", "lab"} {
		if err := s.RefuseWaiting(ctx, Stranger{Group: g, Sender: "net:eve"}); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range tests {
		fate, err := s.Fate(ctx, tt.at, chat.MessageID(tt.action))
		if err != nil || fate.State != tt.want {
			t.Errorf("%s: %q, %v; want %q", tt.name, fate.State, err, tt.want)
		}
		if tt.want == "refused" && !strings.Contains(fate.Reason, "does not speak here any more") {
			t.Errorf("%s: %q", tt.name, fate.Reason)
		}
	}
}
