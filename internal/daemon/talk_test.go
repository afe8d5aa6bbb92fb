package daemon

import (
	"strings"
	"testing"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
)

// What was said in a group is told by its runs, in the order in which they began, a page
// at a time, and no group's words are told of another.
func TestTalk(t *testing.T) {
	i := newInstall(t, hostConfig)
	d, stop := i.run()
	for _, text := range []string{"echo one; echo two", "false", "yes | head -c 40000"} {
		ask(t, d, chat.Main, text)
	}
	all, err := d.Talk(t.Context(), control.TalkQuery{Group: chat.Main})
	must(t, err)
	if len(all) != 3 {
		t.Fatalf("%d runs: %+v", len(all), all)
	}
	first := all[0]
	if len(first.Said) != 1 || !first.Said[0].Owner || first.Said[0].Text != "echo one; echo two" || first.Said[0].Chat != "console:main" {
		t.Errorf("what was said: %+v", first.Said)
	}
	if len(first.Replies) != 1 || strings.TrimSpace(first.Replies[0].Text) != "one\ntwo" || first.Replies[0].Host {
		t.Errorf("what was answered: %+v", first.Replies)
	}
	last := all[2].Replies
	if len(last) == 0 || len(last[0].Text) > talkText+100 || !strings.Contains(last[0].Text, "the rest is cut") {
		t.Errorf("a long answer has %d bytes", len(last[0].Text))
	}
	page, err := d.Talk(t.Context(), control.TalkQuery{Group: chat.Main, Before: all[2].Run.ID, Limit: 1})
	must(t, err)
	if len(page) != 1 || page[0].Run.ID != all[1].Run.ID {
		t.Errorf("the page before: %+v", page)
	}
	one, err := d.Talk(t.Context(), control.TalkQuery{Group: chat.Main, Run: first.Run.ID})
	must(t, err)
	if len(one) != 1 || one[0].Run.ID != first.Run.ID || len(one[0].Said) != 1 {
		t.Errorf("one run: %+v", one)
	}
	if _, err := d.Talk(t.Context(), control.TalkQuery{Group: "family", Run: first.Run.ID}); err == nil {
		t.Error("a run of one group is told as another's")
	}
	gone := ask(t, d, "family", "echo still here").Run
	if _, err := d.Talk(t.Context(), control.TalkQuery{Group: "nobody"}); err == nil {
		t.Error("a group that is not there has talk")
	}
	stop()

	// A run is told when its group is gone.
	i.configure(`{"version": 1, "hostMode": {"enabled": true}, "groups": {"main": {"mode": "host", "hostModeAllowed": true, "agent": "shell"}}}`)
	d, _ = i.run()
	if one, err := d.Talk(t.Context(), control.TalkQuery{Group: "family", Run: gone}); err != nil || len(one) != 1 || one[0].Said[0].Text != "echo still here" {
		t.Errorf("a run of a group that is gone: %+v, %v", one, err)
	}
}
