package queue

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/chat"
)

func said(row int64, from chat.ChannelID, owner bool, text string) Message {
	return Message{Row: row, Trigger: true, Inbound: chat.Inbound{From: chat.Address{Channel: from, Chat: "1"}, Sender: chat.Sender{ID: "x", Owner: owner}, Text: text}}
}

func context1(row int64) Message {
	m := said(row, "net", false, "by the way")
	m.Trigger = false
	return m
}

// in puts a message into a thread of its chat.
func in(thread string, m Message) Message {
	m.From.Chat += chat.ChatID("#" + thread)
	return m
}

func of(task chat.TaskRef, m Message) Message { m.Task = &task; return m }

func attempted(m Message, n int) Message { m.Attempts = n; return m }

var large = strings.Repeat("x", BatchBytes*2/3)

func many(n int) (out []Message) {
	for i := range n {
		out = append(out, said(int64(i+1), "net", false, "a"))
	}
	return out
}

func rowsTo(n int64) (out []int64) {
	for i := range n {
		out = append(out, i+1)
	}
	return out
}

func asking(m Message, ask chat.Ask) Message { m.Ask = ask; return m }

// Messages of unequal rights never share a run, and what was said before the
// last of a run's messages comes with it.
func TestNext(t *testing.T) {
	isolated, mounts := chat.Ask{Conversation: chat.Isolated}, chat.Ask{Mounts: []string{"/srv"}}
	tests := []struct {
		name    string
		waiting []Message
		want    []int64
	}{
		{"nothing", nil, nil},
		{"one with one attempt left goes alone", []Message{attempted(said(1, "net", false, "a"), 2), attempted(said(2, "net", false, "b"), 2)}, []int64{1}},
		{"and not behind others", []Message{attempted(said(1, "net", false, "a"), 1), attempted(said(2, "net", false, "b"), 2), said(3, "net", false, "c")}, []int64{1}},
		{"what was cut off once goes together", []Message{attempted(said(1, "net", false, "a"), 1), attempted(said(2, "net", false, "b"), 1)}, []int64{1, 2}},
		{"a program's goes apart from a person's", []Message{said(1, "api", false, "a"), said(2, "net", false, "b")}, []int64{1}},
		{"and a person's from a program's", []Message{said(1, "net", false, "a"), said(2, "webhook", false, "b")}, []int64{1}},
		{"and one program's from another's", []Message{said(1, "webhook", false, "a"), said(2, "api", false, "b")}, []int64{1}},
		{"of one program together", []Message{said(1, "api", false, "a"), said(2, "api", false, "b")}, []int64{1, 2}},
		{"too long for one run", []Message{said(1, "net", false, large), said(2, "net", false, large), said(3, "net", false, "c")}, []int64{1}},
		{"too long by itself", []Message{said(1, "net", false, large+large), said(2, "net", false, "b")}, []int64{1}},
		{"too many for one run", many(BatchMessages + 10), rowsTo(BatchMessages)},
		{"context alone", []Message{context1(1)}, nil},
		{"two of equal rights, and what was said before", []Message{context1(1), said(2, "net", false, "a"), context1(3), said(4, "net", false, "b"), context1(5)}, []int64{1, 2, 3, 4}},
		{"a stranger, then the owner", []Message{said(1, "net", false, "a"), said(2, "net", true, "b"), said(3, "net", false, "c")}, []int64{1}},
		{"the owner, then a stranger", []Message{said(1, "net", true, "a"), said(2, "net", false, "b")}, []int64{1}},
		{"the owner's chat, then their terminal", []Message{said(1, "net", true, "a"), said(2, chat.Console, true, "b")}, []int64{1}},
		{"two threads", []Message{said(1, "net", false, "a"), in("t", said(2, "net", false, "b")), said(3, "net", false, "c")}, []int64{1, 3}},
		{"a thread that came first", []Message{context1(1), in("t", said(2, "net", false, "a")), said(3, "net", false, "b"), in("t", said(4, "net", false, "c")), in("u", said(5, "net", false, "d"))}, []int64{2, 4}},
		{"what was said in a thread stays there", []Message{in("t", context1(1)), context1(2), said(3, "net", false, "a")}, []int64{2, 3}},
		{"threads of two chats with one name", []Message{in("t", said(1, "net", false, "a")), in("t", said(2, "other", false, "b"))}, []int64{1}},
		{"chats of a group have one conversation", []Message{said(1, "net", false, "a"), said(2, "other", false, "b")}, []int64{1, 2}},
		{"a task of its own in a thread", []Message{in("t", context1(1)), of(chat.TaskRef{Context: chat.IsolatedContext}, in("t", said(2, "net", false, "a")))}, []int64{2}},
		{"a task of the group's conversation in a thread", []Message{in("t", context1(1)), context1(2), of(chat.TaskRef{}, in("t", said(3, "net", false, "a"))), in("t", said(4, "net", false, "b"))}, []int64{1, 3}},
		{"other folders", []Message{said(1, chat.Console, true, "a"), asking(said(2, chat.Console, true, "b"), mounts)}, []int64{1}},
		{"the same folders", []Message{asking(said(1, chat.Console, true, "a"), mounts), asking(said(2, chat.Console, true, "b"), mounts)}, []int64{1, 2}},
		{"what a chat asks for does not count", []Message{said(1, "net", true, "a"), asking(said(2, "net", true, "b"), mounts)}, []int64{1, 2}},
		{"a command of the owner is alone", []Message{said(1, chat.Console, true, "/compact"), said(2, chat.Console, true, "a")}, []int64{1}},
		{"and waits for what came before", []Message{said(1, chat.Console, true, "a"), said(2, chat.Console, true, "/compact")}, []int64{1}},
		{"of others it is a text", []Message{said(1, "net", false, "/compact"), said(2, "net", false, "/etc is full")}, []int64{1, 2}},
		{"an isolated one is alone", []Message{asking(said(1, chat.Console, true, "a"), isolated), said(2, chat.Console, true, "b")}, []int64{1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []int64
			for _, m := range Next(tt.waiting) {
				got = append(got, m.Row)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("rows (-want +got):\n%s", d)
			}
		})
	}
	stranger := asking(said(1, chat.Console, false, "a"), isolated)
	if c := (Job{Messages: []Message{stranger}}).Conversation(); c != chat.Ongoing {
		t.Errorf("a stranger chose the conversation %q", c)
	}
}
