package daemon

import (
	"slices"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/approval"
	"nanoclaw/internal/channel/console"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/queue"
	"nanoclaw/internal/router"
)

// What the owner said to the host is stored, and the daemon ends before it did it: the
// next start does it, once, and says so once.
func TestWhatWasForTheHostIsTakenUp(t *testing.T) {
	i := newInstall(t, hostConfig)
	ctx, d := t.Context(), i.open()
	asked, err := d.put(ctx, approval.Effect{Act: "nothing", Group: "family", Title: "May it?"})
	must(t, err)
	say := func(d *Daemon, id chat.MessageID, text string) {
		t.Helper()
		in := chat.Inbound{From: console.Address(chat.Main), ID: id, Sender: chat.Sender{ID: console.Owner, Owner: true}, Text: text, Sent: time.Now()}
		v := d.router.Rules().Decide(in)
		if v.Action != router.Do && v.Action != router.Answer {
			t.Fatalf("%q is not for the host: %+v", text, v)
		}
		_, err := d.store.Accept(ctx, in, v, 10, 10)
		must(t, err)
	}
	say(d, "c1", "/pause family")
	say(d, "c2", "/pause work")
	say(d, "c3", "/resume work")
	say(d, "c4", "approve "+asked.Code)
	say(d, "c5", "/status nobody")
	say(d, "c6", "/resume family")
	say(d, "c7", "/pause family")
	must(t, d.Close())

	var heard []string
	for start := 1; start <= 2; start++ {
		d, stop := i.run()
		paused, err := d.store.PausedGroups(ctx)
		must(t, err)
		groups := []chat.Group{}
		for _, p := range paused {
			groups = append(groups, p.Group)
		}
		if !slices.Equal(groups, []chat.Group{"family"}) {
			t.Errorf("start %d: %v are paused, want what was said last", start, groups)
		}
		if open, err := d.Approvals(ctx); err != nil || len(open) != 0 {
			t.Errorf("start %d: the question is open: %+v, %v", start, open, err)
		}
		for _, id := range []chat.MessageID{"c1", "c2", "c3", "c4", "c5", "c6", "c7"} {
			if f, err := d.store.Fate(ctx, console.Address(chat.Main), id); err != nil || f.State != "done" {
				t.Errorf("start %d: %s is %+v, %v", start, id, f, err)
			}
		}
		for _, m := range ask(t, d, chat.Main, "/status").said {
			heard = append(heard, m.Text)
		}
		stop()
	}
	for _, want := range []string{"Paused family", "Paused work", "Resumed work", "Resumed family", "no group or run nobody", "approved: May it?"} {
		n := 0
		for _, w := range heard {
			if strings.Contains(w, want) {
				n++
			}
		}
		if limit := map[bool]int{true: 2, false: 1}[want == "Paused family"]; n != limit { // it was said twice
			t.Errorf("%q was said %d times, want %d: %q", want, n, limit, heard)
		}
	}
}

// What ends the daemon again and again is given up in words, and does not keep it from
// starting.
func TestWhatEndsTheHostIsGivenUp(t *testing.T) {
	i := newInstall(t, hostConfig)
	ctx, d := t.Context(), i.open()
	in := chat.Inbound{From: console.Address(chat.Main), ID: "c1", Sender: chat.Sender{ID: console.Owner, Owner: true}, Text: "/pause family", Sent: time.Now()}
	_, err := d.store.Accept(ctx, in, d.router.Rules().Decide(in), 10, 10)
	must(t, err)
	for range queue.MaxAttempts {
		_, err := d.store.HostLeft(ctx)
		must(t, err)
	}
	must(t, d.takeUpHosts(ctx))
	if paused, err := d.store.PausedGroups(ctx); err != nil || len(paused) != 0 {
		t.Errorf("it was done all the same: %+v, %v", paused, err)
	}
	if due, err := d.store.Due(ctx, time.Now(), 10); err != nil || len(due) != 1 || !strings.HasPrefix(due[0].Text, "Given up") {
		t.Errorf("said %+v, %v", due, err)
	}
	must(t, d.Close())
}
