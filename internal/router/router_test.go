package router

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/approval"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
)

func TestAddressed(t *testing.T) {
	tests := []struct {
		name, text string
		want       bool
	}{
		{"Andy", "@Andy hello", true},
		{"Andy", "@andy, hello", true},
		{"Andy", "  \n@ANDY", true},
		{"Andy", "＠Andy hello", true},
		{"Andy", "Andy was here", false},
		{"Andy", "hello @Andy", false},
		{"Andy", "@Andrea hello", false},
		{"Andy", "@Andys hat", false},
		{"Andy", "@Andy_2", false},
		{"Andy", "@Andé", false},
		{"Andy", "@An", false},
		{"Andy", "", false},
		{"", "@ hello", false},
		{"Zoë", "@Zoe\u0308 hi", true}, // the same name, typed as two characters
		{"ÉMILE", "@émile", true},
		{"Дядя", "@дядя привет", true},
		{"Дядя", "@дядями", false},
		{"小助手", "@小助手你好", true}, // no space between words
		{"ผู้ช่วย", "@ผู้ช่วยสวัสดี", true},
		{"Dr. X!", "@dr. x!go", true}, // ends by itself
		{"Dr. X!", "@dr. x", false},
		{"a.b", "@axb hi", false}, // a name is no pattern
		{"(", "@(", true},
		{"Andy", "@Andy\u0301 hi", false}, // another letter at the end
	}
	for _, tt := range tests {
		if got := Addressed(tt.text, tt.name); got != tt.want {
			t.Errorf("Addressed(%q, %q) = %v", tt.text, tt.name, got)
		}
	}
}

func FuzzAddressed(f *testing.F) {
	f.Add("@Andy hello", "Andy")
	f.Add("＠小助手你好", "小助手")
	f.Fuzz(func(t *testing.T, text, name string) {
		if Addressed(text, name) && !strings.ContainsAny(text, "@＠﹫") {
			t.Errorf("%q calls %q without @", text, name)
		}
	})
}

func rules(t *testing.T) Rules {
	t.Helper()
	c := &config.Config{
		Assistant: config.Assistant{Name: "Andy"},
		Limits:    config.Limits{MessageSize: 32, ContextMessages: 5, QueuedMessages: 7},
		Groups: map[string]config.Group{
			"main":   {Chats: []string{"whatsapp:self"}},
			"family": {Chats: []string{"whatsapp:fam"}, Senders: []string{"whatsapp:bob"}},
			"work":   {Chats: []string{"slack:C1"}, Senders: []string{"slack:bob"}, Trigger: "always"},
			"empty":  {Chats: []string{"slack:C2"}, Trigger: "always"},
		},
		People: map[string]config.Person{
			"slack:me":     {Role: "owner"},
			"whatsapp:ann": {Role: "admin", Groups: []string{"family"}},
			"slack:joe":    {Groups: []string{"work"}},
		},
	}
	r, err := NewRules(c, []Decision{
		{Group: "work", Sender: "slack:zoe"}, {Group: "main", Sender: "whatsapp:zoe"},
		{Group: "family", Sender: "whatsapp:mallory"}, {Group: "family", Sender: "whatsapp:mallory", Deny: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func from(address, sender, text string) chat.Inbound {
	a, _ := chat.ParseAddress(address)
	return chat.Inbound{From: a, ID: "1", Sender: chat.Sender{ID: chat.SenderID(sender)}, Text: text}
}

func owner(in chat.Inbound) chat.Inbound     { in.Sender.Owner = true; return in }
func self(in chat.Inbound) chat.Inbound      { in.Sender.Self = true; return in }
func mentioned(in chat.Inbound) chat.Inbound { in.Mentioned = true; return in }

func TestDecide(t *testing.T) {
	tests := []struct {
		name   string
		in     chat.Inbound
		group  chat.Group
		action Action
	}{
		{"the owner in main's terminal", owner(from("console:main", "owner", "hi")), "main", Run},
		{"the owner in a group's terminal calls nobody", owner(from("console:family", "owner", "hi")), "family", Run},
		{"the owner in main's chat", owner(from("whatsapp:self", "me", "hi")), "main", Run},
		{"somebody in main's chat", from("whatsapp:self", "bob", "@Andy hi"), "main", Refuse},
		{"somebody in main's terminal", from("console:main", "owner", "hi"), "main", Refuse},
		{"somebody who calls himself owner", from("console:main", "Owner", "hi"), "main", Refuse},
		{"a listed sender who calls", from("whatsapp:fam", "bob", "@andy hi"), "family", Run},
		{"a listed sender who calls nobody", from("whatsapp:fam", "bob", "dinner?"), "family", Context},
		{"a mention marked by the channel", mentioned(from("whatsapp:fam", "bob", "hi")), "family", Run},
		{"an unlisted sender who calls", from("whatsapp:fam", "eve", "@andy hi"), "family", Refuse},
		{"a mention by an unlisted sender", mentioned(from("whatsapp:fam", "eve", "hi")), "family", Refuse},
		{"a sender listed for another channel", from("slack:C1", "whatsapp:bob", "hi"), "work", Refuse},
		{"a group that always runs", from("slack:C1", "bob", "hi"), "work", Run},
		{"an unregistered chat", from("slack:C9", "bob", "@andy hi"), "", Ignore},
		{"our own message", self(owner(from("console:main", "owner", "hi"))), "", Ignore},
		{"our name in front of somebody's text is no sign of us", from("whatsapp:fam", "bob", "Andy: hi"), "family", Context},
		{"the owner's answer to the host", owner(from("console:main", "owner", "approve k4m2-9x7a")), "main", Answer},
		{"the owner's answer in a group", owner(from("whatsapp:fam", "me", "Deny k4m2-9x7a")), "family", Answer},
		{"somebody else's answer", from("whatsapp:fam", "bob", "approve k4m2-9x7a"), "family", Refuse},
		{"somebody else's answer where all is for the agent", from("slack:C1", "bob", "approve k4m2-9x7a"), "work", Refuse},
		{"our own words that look like one", self(owner(from("console:main", "owner", "approve k4m2-9x7a"))), "", Ignore},
		{"words to the agent", owner(from("console:main", "owner", "approve the plan")), "main", Run},
		{"nothing", owner(from("console:main", "owner", " \n")), "main", Ignore},
		{"an owner by identity", from("slack:C1", "me", "hi"), "work", Run},
		{"an owner by identity, of another channel", from("whatsapp:fam", "me", "@andy hi"), "family", Refuse},
		{"an admin", from("whatsapp:fam", "ann", "@andy hi"), "family", Run},
		{"an admin of another group", from("slack:C1", "ann", "hi"), "work", Refuse},
		{"an admin in main's chat", from("whatsapp:self", "ann", "hi"), "main", Refuse},
		{"a member by identity", from("slack:C1", "joe", "hi"), "work", Run},
		{"whom the owner let in", from("slack:C1", "zoe", "hi"), "work", Run},
		{"nobody is let into main", from("whatsapp:self", "zoe", "hi"), "main", Refuse},
		{"whom the owner denied", from("whatsapp:fam", "mallory", "@andy hi"), "family", Refuse},
		{"an empty list admits nobody", from("slack:C2", "bob", "hi"), "empty", Refuse},
		{"no identity at all", from("slack:C1", "", "hi"), "work", Refuse},
		{"an admin's answer to the host", from("whatsapp:fam", "ann", "approve k4m2-9x7a"), "family", Answer},
		{"the owner's command", owner(from("whatsapp:fam", "me", "/stop")), "family", Do},
		{"the owner's command in the terminal", owner(from("console:main", "owner", "/status all")), "main", Do},
		{"an admin's command", from("whatsapp:fam", "ann", "@Andy /pause"), "family", Do},
		{"a member's command", from("whatsapp:fam", "bob", "/stop"), "family", Refuse},
		{"a member's command where all is for the agent", from("slack:C1", "bob", "/stop all"), "work", Refuse},
		{"a stranger's command", from("whatsapp:fam", "eve", "/stop"), "family", Refuse},
		{"a command with words behind it", owner(from("whatsapp:fam", "me", "/stop it, please")), "family", Do},
		{"no command", owner(from("console:main", "owner", "/stopwatch")), "main", Run},
		{"a new conversation", owner(from("whatsapp:fam", "me", "@andy /NEW")), "family", Run},
		{"help", from("whatsapp:fam", "bob", "/help"), "family", Do},
		{"a member's tasks", from("whatsapp:fam", "bob", "/tasks"), "family", Do},
		{"a member's look at the cost", from("whatsapp:fam", "bob", "/cost"), "family", Refuse},
		{"an admin's look at the cost", from("whatsapp:fam", "ann", "/cost"), "family", Refuse},
		{"an admin who would know why", from("whatsapp:fam", "ann", "/why"), "family", Refuse},
		{"approve without a code", from("whatsapp:fam", "bob", "/approve all of it"), "family", Refuse},
		{"a stranger's help", from("whatsapp:fam", "eve", "/help"), "family", Refuse},
		{"a registered chat", owner(from("console:main", "owner", "/register more")), "main", Do},
		{"a member who registers", from("whatsapp:fam", "bob", "/register more"), "family", Refuse},
		{"a new conversation, and more", owner(from("console:main", "owner", "/clear all of it")), "main", Do},
		{"a member's new conversation", from("whatsapp:fam", "bob", "/clear"), "family", Refuse},
		{"an admin's new conversation", from("whatsapp:fam", "ann", "/clear"), "family", Refuse},
		{"a stranger's pairing code", from("whatsapp:fam", "eve", "pair k4m2-9x7a"), "family", Refuse},
		{"a member's pairing code", from("slack:C1", "bob", "pair k4m2-9x7a"), "work", Ignore},
		{"the owner's pairing code", owner(from("console:main", "owner", "pair k4m2-9x7a")), "main", Ignore},
	}
	r := rules(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := r.Decide(tt.in)
			if v.Group != tt.group || v.Action != tt.action {
				t.Errorf("got %s in %q (%s), want %s in %q", v.Action, v.Group, v.Reason, tt.action, tt.group)
			}
			if v.Reason == "" {
				t.Error("no reason")
			}
		})
	}
}

func TestNobodyBecomesMainByName(t *testing.T) {
	for _, groups := range []map[string]config.Group{
		{"family": {Chats: []string{"console:main"}}},
		{"family": {Chats: []string{"x:1"}}, "work": {Chats: []string{"x:1"}}},
		{"Main": {}},
		{"../main": {}},
	} {
		if r, err := NewRules(&config.Config{Groups: groups}, nil); err == nil {
			t.Errorf("%v gave rules %+v", groups, r)
		}
	}
}

// memory is a store that remembers what it was given.
type memory struct {
	got  []chat.Inbound
	seen map[chat.MessageID]bool
	full bool
	err  error
}

func (m *memory) Accept(_ context.Context, in chat.Inbound, _ Verdict, keep, max int) (Accepted, error) {
	if m.err != nil {
		return Accepted{}, m.err
	}
	fresh := !m.seen[in.ID]
	m.seen[in.ID] = true
	m.got = append(m.got, in)
	return Accepted{Row: int64(len(m.got)), Fresh: fresh, Full: m.full}, nil
}

func TestDeliver(t *testing.T) {
	var woken []chat.Group
	m := &memory{seen: map[chat.MessageID]bool{}}
	r := New(rules(t), m, func(g chat.Group) { woken = append(woken, g) })
	in := owner(from("console:main", "owner", strings.Repeat("é", 100)))
	if v, err := r.Deliver(t.Context(), in); err != nil || v.Action != Run {
		t.Fatalf("got %v, %v", v, err)
	}
	if got := m.got[0]; len(got.Text) != 32 || !got.Truncated || got.Text != strings.Repeat("é", 16) {
		t.Errorf("stored %q, truncated %v; want 32 bytes that end at a rune", got.Text, got.Truncated)
	}
	if v, _ := r.Deliver(t.Context(), in); v.Action != Ignore {
		t.Errorf("the same message again: %v", v)
	}
	in.ID, m.full = "2", true
	if v, _ := r.Deliver(t.Context(), in); v.Action != Ignore || !v.Full || !strings.Contains(v.Reason, "limits.queuedMessages is 7") {
		t.Errorf("a full queue: %v", v)
	}
	if d := cmp.Diff([]chat.Group{"main"}, woken); d != "" {
		t.Errorf("woken (-want +got):\n%s", d)
	}
	m.err = errors.New("disk full")
	if _, err := r.Deliver(t.Context(), in); err == nil {
		t.Error("a message that was not stored was taken for delivered")
	}
}

// An answer to the host is handed over once, after it is durable, and starts
// nothing.
func TestAnswersAreHandedOver(t *testing.T) {
	m := &memory{seen: map[chat.MessageID]bool{}}
	var got []string
	r := New(rules(t), m, func(chat.Group) { t.Error("an answer started a run") })
	r.OnHost(func(_ context.Context, in chat.Inbound, v Verdict) { got = append(got, string(v.Action)+" "+in.Text) })
	in := owner(from("console:family", "owner", "approve k4m2-9x7a"))
	for range 2 {
		if _, err := r.Deliver(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	}
	m.err = errors.New("disk full")
	in.ID = "2"
	if _, err := r.Deliver(t.Context(), in); err == nil {
		t.Error("a message that was not stored was taken")
	}
	if d := cmp.Diff([]string{"answer approve k4m2-9x7a"}, got); d != "" {
		t.Error(d)
	}
}

// Of strangers the owner is asked only where somebody new could be let in.
func TestWhoIsUnknown(t *testing.T) {
	r := rules(t)
	for _, tt := range []struct {
		name    string
		in      chat.Inbound
		unknown bool
		pairing string
	}{
		{"a stranger", from("whatsapp:fam", "eve", "hi"), true, ""},
		{"a stranger with a code", from("whatsapp:fam", "eve", "@Andy Pair K4M2 9X7A"), true, ""},
		{"a stranger with a code that is one", from("whatsapp:fam", "eve", "@Andy Pair K4M29X7A."), true, "k4m2-9x7a"},
		{"in main", from("whatsapp:self", "eve", "pair k4m2-9x7a"), false, ""},
		{"in main's terminal", from("console:main", "eve", "hi"), false, ""},
		{"in a group's terminal", from("console:family", "owner", "pair k4m2-9x7a"), false, ""},
		{"denied", from("whatsapp:fam", "mallory", "pair k4m2-9x7a"), false, ""},
		{"a member", from("whatsapp:fam", "bob", "hi"), false, ""},
		{"an unregistered chat", from("slack:C9", "eve", "pair k4m2-9x7a"), false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := r.Decide(tt.in)
			if v.Unknown != tt.unknown || v.Pairing != tt.pairing {
				t.Errorf("unknown %v with code %q, want %v with %q (%s)", v.Unknown, v.Pairing, tt.unknown, tt.pairing, v.Reason)
			}
		})
	}
}

// What is for the host never is for an agent, whoever wrote it and around
// whatever else.
func FuzzWhatIsForTheHost(f *testing.F) {
	for _, s := range []string{"/stop", "@Andy /Pause family", "＠andy, /RESUME", "approve k4m2-9x7a", "@x pair k4m2-9x7a", "/clear", "/new now", "/status@andy", "/mode family host"} {
		f.Add(s, true, "bob")
	}
	c := &config.Config{Assistant: config.Assistant{Name: "Andy"}, Limits: config.Limits{MessageSize: 1 << 16}, Groups: map[string]config.Group{
		"work": {Chats: []string{"slack:C1"}, Senders: []string{"slack:bob"}, Trigger: "always"},
	}}
	r, err := NewRules(c, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string, isOwner bool, sender string) {
		in := from("slack:C1", sender, text)
		in.Sender.Owner = isOwner
		v := r.Decide(in)
		command, commands := ParseCommand(text, "Andy")
		for _, word := range strings.Fields(strings.ToLower(text))[:min(1, len(strings.Fields(text)))] {
			if (word == "/stop" || word == "/pause" || word == "/resume" || word == "/status" || word == "/mode") && !commands {
				t.Errorf("%q is no command", text)
			}
		}
		_, answers := approval.ParseReply(text)
		_, pairs := approval.ParsePairing(text)
		switch {
		case v.Action != Run && v.Action != Context:
		case answers, pairs, commands && (command.Verb != Clear || !isOwner):
			t.Errorf("%q became %s (%s)", text, v.Action, v.Reason)
		case !isOwner && sender != "bob":
			t.Errorf("%s may speak", sender)
		}
	})
}

// Rules that were swapped hold for the next message.
func TestSetRules(t *testing.T) {
	m := &memory{seen: map[chat.MessageID]bool{}}
	r := New(rules(t), m, func(chat.Group) {})
	in := from("slack:C2", "bob", "hi")
	if v, err := r.Deliver(t.Context(), in); err != nil || v.Action != Refuse || !v.Unknown {
		t.Fatalf("before: %+v, %v", v, err)
	}
	next, err := NewRules(&config.Config{Groups: map[string]config.Group{"empty": {Chats: []string{"slack:C2"}, Trigger: "always"}}}, []Decision{{Group: "empty", Sender: "slack:bob"}})
	if err != nil {
		t.Fatal(err)
	}
	r.SetRules(next)
	in.ID = "2"
	if v, err := r.Deliver(t.Context(), in); err != nil || v.Action != Run {
		t.Errorf("after: %+v, %v", v, err)
	}
}

// SetRules returns when nothing that the old rules judged is still to be stored:
// what is refused then in the store misses nothing.
func TestSetRulesWaits(t *testing.T) {
	swapped, storing := make(chan struct{}), make(chan struct{})
	r := New(rules(t), slowStore(func() {
		close(storing)
		select {
		case <-swapped:
			t.Error("the rules were swapped while a message was on its way to the store")
		case <-time.After(100 * time.Millisecond):
		}
	}), func(chat.Group) {})
	done := make(chan error, 1)
	go func() {
		_, err := r.Deliver(t.Context(), from("slack:C1", "bob", "hi"))
		done <- err
	}()
	<-storing
	r.SetRules(Rules{})
	close(swapped)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if v, err := r.Deliver(t.Context(), from("slack:C9", "bob", "hi")); err != nil || v.Action != Ignore {
		t.Errorf("after: %+v, %v", v, err)
	}
}

// slowStore is a store that does something the first time that it is given a message.
func slowStore(first func()) Store { return &slow{first: first} }

type slow struct {
	once  sync.Once
	first func()
}

func (s *slow) Accept(context.Context, chat.Inbound, Verdict, int, int) (Accepted, error) {
	s.once.Do(s.first)
	return Accepted{Row: 1, Fresh: true}, nil
}

// The owner is the same, by the connection or by identity, in what is stored.
func TestDeliverMarksTheOwner(t *testing.T) {
	m := &memory{seen: map[chat.MessageID]bool{}}
	r := New(rules(t), m, func(chat.Group) {})
	for i, tt := range []struct {
		in    chat.Inbound
		owner bool
		text  string
	}{
		{from("slack:C1", "me", "hi"), true, "hi"}, {from("slack:C1", "bob", "hi"), false, "hi"},
		{owner(from("whatsapp:fam", "x", "hi")), true, "hi"}, {from("slack:C1", "me", "@andy /new"), true, "/clear"},
	} {
		tt.in.ID = chat.MessageID(strings.Repeat("i", i+1))
		if _, err := r.Deliver(t.Context(), tt.in); err != nil {
			t.Fatal(err)
		}
		if got := m.got[i]; got.Sender.Owner != tt.owner || got.Text != tt.text {
			t.Errorf("%s: owner %v, %q", tt.in.Sender.ID, got.Sender.Owner, got.Text)
		}
	}
}
