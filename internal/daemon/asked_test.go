package daemon

import (
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
)

// What may be asked of the host in a chat is told in words, to whoever may know, and
// what others should not read is not told where they read along.
func TestQuestionsToTheHost(t *testing.T) {
	n := newChatNet()
	d, _ := runOn(t, newInstall(t, peopleConfig), n)
	n.says(t, "fam", "me", "/why")
	n.heard(t, "fam", "There was no run of family yet.", 0)
	n.says(t, "fam", "bob", "echo done; touch made-here")
	n.heard(t, "fam", "done", 0)
	n.says(t, "work", "me", "echo worked; touch made-there")
	n.heard(t, "work", "worked", 0)

	t.Run("help", func(t *testing.T) {
		mark := n.mark()
		for range 3 {
			n.says(t, "fam", "bob", "@Andy /help")
		}
		n.says(t, "fam", "ann", "/help")
		n.says(t, "fam", "eve", "/help")
		n.heard(t, "fam", "/stop [RUN, GROUP or all]: ends what goes on", mark)
		text := n.heard(t, "fam", "/tasks", mark)
		if strings.Contains(text, "/stop") || strings.Contains(text, "/cost") {
			t.Errorf("a member is told of more than they may:\n%s", text)
		}
		if got := n.count("fam", "never reaches the agent:\n/help: lists what you may say to the host\n/tasks"); got > 2 { // a minute may end meanwhile
			t.Errorf("a member had the host say %d times what they may", got)
		}
	})
	t.Run("why", func(t *testing.T) {
		mark := n.mark()
		n.says(t, "fam", "me", "/why")
		text := n.heard(t, "fam", "All of it: nanoclaw why r", mark)
		for _, want := range []string{"run: r", "of group family: succeeded", "asked: "} {
			if !strings.Contains(text, want) {
				t.Errorf("%q is not in\n%s", want, text)
			}
		}
		if strings.Contains(text, "made-here") {
			t.Errorf("what was changed is told where others read along:\n%s", text)
		}
		runs, err := d.Runs(t.Context(), control.RunsQuery{Group: "work", Limit: 1})
		must(t, err)
		n.says(t, "fam", "ann", "/why "+string(runs[0].ID))
		n.heard(t, "fam", "Refused: only the owner may have a run of this group explained", mark)
		n.says(t, "self", "me", "/why "+string(runs[0].ID))
		if text := n.heard(t, "self", "of group work", mark); !strings.Contains(text, "made-there") {
			t.Errorf("the owner is not told all in their own chat:\n%s", text)
		}
		n.says(t, "self", "me", "/why rnobody")
		n.heard(t, "self", "there is no group or run rnobody", mark)
	})
	t.Run("cost", func(t *testing.T) {
		mark := n.mark()
		n.says(t, "fam", "me", "/cost")
		if text := n.heard(t, "fam", "family: $0", mark); strings.Contains(text, "work") {
			t.Errorf("another group's cost is told:\n%s", text)
		}
		n.says(t, "self", "me", "/cost all")
		n.heard(t, "self", "work: $0", mark)
	})
	t.Run("tasks", func(t *testing.T) {
		mark := n.mark()
		n.says(t, "fam", "ann", "/tasks work")
		n.heard(t, "fam", "only the owner may list the tasks of other groups", mark)
		n.says(t, "fam", "bob", "/tasks")
		n.heard(t, "fam", "There are no tasks.", mark)
	})
	t.Run("open questions", func(t *testing.T) {
		mark := n.mark()
		n.says(t, "fam", "eve", "echo let me in")
		code := codeIn(t, n.heard(t, "self", "Somebody new wants to speak in family", 0))
		n.says(t, "fam", "me", "/approve")
		n.heard(t, "fam", "Open questions: 1. They are in your own chat.", mark)
		n.says(t, "self", "me", "/approve")
		n.heard(t, "self", code+" (family, for ", mark)
		n.says(t, "self", "me", "/deny it all")
		n.heard(t, "self", "not understood: /help", mark)
		n.says(t, "self", "me", "/deny "+code)
		n.heard(t, "self", "denied", mark)
		n.says(t, "self", "me", "/approve")
		n.heard(t, "self", "No question of the host is open.", mark)
	})
}

// The owner's wish to register a chat gives them the command and nobody any rights.
// Nobody else is heard in such a chat.
func TestRegisterFromChat(t *testing.T) {
	n := newChatNet()
	i := newInstall(t, peopleConfig)
	d, _ := runOn(t, i, n)
	for _, who := range []string{"eve", "bob", "ann"} {
		n.says(t, "club", who, "/register club")
	}
	n.says(t, "club", "me", "/status all")
	n.says(t, "club", "me", "/register Club!")
	n.heard(t, "club", `group name "Club!"`, 0)
	n.says(t, "club", "me", "/register family")
	n.heard(t, "club", "there is a group family", 0)
	n.says(t, "club$(reboot)", "me", "/register club")
	n.heard(t, "club$(reboot)", "write it into the configuration", 0)
	n.says(t, "fam", "me", "/register club")
	n.heard(t, "fam", "belongs to the group family already", 0)
	n.says(t, "club", "me", "@Andy /register club")
	n.heard(t, "club", "Not registered yet", 0)
	n.heard(t, "self", "\nnanoclaw group add club --chat net:club --trigger mention", 0)
	if got := n.count("club", ""); got != 3 {
		t.Errorf("%d messages went to a chat of no group: %q", got, n.all("club"))
	}
	if d.router.Rules().GroupOf(chat.Address{Channel: "net", Chat: "club"}) != "" {
		t.Error("a message made a group")
	}
	n.says(t, "club", "me", "echo hello")
	if got := n.count("club", "hello"); got != 0 {
		t.Error("the chat reached an agent")
	}
}

// Whoever waits for longer than a moment is told behind how many, once for each run.
func TestQueuedBehind(t *testing.T) {
	n := newChatNet()
	d := newInstall(t, peopleConfig).open()
	d.channels[n.ID()] = n
	d.queuedAfter = 50 * time.Millisecond
	i := &install{t: t}
	i.serve(d)
	_, term := begun(t, d, "family", "echo at work; sleep 600")
	defer term.Close()
	n.says(t, "fam", "bob", "echo second")
	n.heard(t, "fam", "Queued behind 1: your message waits for its turn.", 0)
	third := chat.Inbound{ID: "third", From: chat.Address{Channel: n.ID(), Chat: "fam"}, Sender: chat.Sender{ID: "bob"}, Text: "echo third"}
	must(t, n.receive(t.Context(), third))
	// It is due by now or soon, behind the same run.
	must(t, d.tellQueued(t.Context(), queuedMessage{group: "family", from: third.From, id: chat.FromNetwork(third.ID)}))
	n.says(t, "fam", "ann", "/stop")
	n.heard(t, "fam", "Messages wait in family", 0)
	if got := n.count("fam", "Queued behind"); got != 1 {
		t.Errorf("it was said %d times for one run", got)
	}
	// From here on it may be said again: for another run.
	n.says(t, "fam", "ann", "/resume")
	n.heard(t, "fam", "third", 0)
}
