package daemon

import (
	"context"
	"strings"
	"testing"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/hosttools"
)

// network is a channel to a chat network, played by the test.
type network struct{ got chan chat.Outbound }

func (n network) Self() chat.SenderID { return "nanoclaw" }

func (n network) ID() chat.ChannelID                            { return "net" }
func (n network) Run(ctx context.Context, _ channel.Sink) error { <-ctx.Done(); return nil }
func (n network) Deliver(_ context.Context, m chat.Outbound) (chat.MessageID, error) {
	n.got <- m
	return "1", nil
}

// withNetwork runs a daemon with such a channel.
func (i *install) withNetwork() (d *Daemon, n network, stop func()) {
	i.t.Helper()
	d, n = i.open(), network{make(chan chat.Outbound, 10)}
	d.channels[n.ID()] = n
	return d, n, i.serve(d)
}

// A message of main's agent to a chat that belongs to no group goes out when the
// owner said yes to this very text, once, even after a restart; without a yes never.
func TestMessageToAnUnregisteredChat(t *testing.T) {
	i := newInstall(t, hostConfig)
	d, n, stop := i.withNetwork()
	h, from := &toolHost{d: d}, hosttools.Identity{Group: chat.Main, Session: "s1", Run: func() chat.RunID { return "r1" }}
	to := chat.Address{Channel: "net", Chat: "stranger"}
	if g, err := h.GroupOf(to); g != "" || err != nil {
		t.Fatalf("the chat belongs to %q, %v", g, err)
	}
	for _, odd := range []chat.Address{{Channel: "post", Chat: "x"}, {Channel: "console", Chat: "nobody"}} {
		if _, err := h.GroupOf(odd); err == nil {
			t.Errorf("%s can be written to", odd)
		}
	}
	open := func() []control.Approval {
		t.Helper()
		all, err := d.Approvals(t.Context())
		must(t, err)
		return all
	}
	owner := listening(t, d, chat.Main)
	for _, text := range []string{"the first", "the second\nline", "the second\nline"} {
		words, err := h.AskToSend(t.Context(), from, to, text)
		must(t, err)
		if !strings.HasPrefix(words, "Not sent yet") {
			t.Errorf("the agent is told %q", words)
		}
		if q := owner.hears(chat.Question); !strings.Contains(q.Text, "  │ net:stranger\n") || !strings.Contains(q.Text, "  │ "+strings.ReplaceAll(text, "\n", "\n  │ ")+"\n") {
			t.Errorf("the owner is shown %q", q.Text)
		}
	}
	words, err := h.AskToSend(t.Context(), from, to, strings.Repeat("x", 10<<10))
	if must(t, err); !strings.Contains(words, "too long") {
		t.Errorf("of a long text the agent is told %q", words)
	}
	asked := open()
	if len(asked) != 3 {
		t.Fatalf("open: %+v", asked)
	}
	if _, err := d.Approve(t.Context(), control.ApproveRequest{Code: asked[0].Code}); err != nil {
		t.Fatal(err)
	}
	stop()

	d, n2, _ := i.withNetwork()
	for _, a := range asked[1:] {
		if _, err := d.Approve(t.Context(), control.ApproveRequest{Code: a.Code, Yes: true}); err != nil {
			t.Fatal(err)
		}
		if m := <-n2.got; m.To != to || m.Text != "the second\nline" || m.FromHost() {
			t.Errorf("sent %+v", m)
		}
		if _, err := d.Approve(t.Context(), control.ApproveRequest{Code: a.Code, Yes: true}); err == nil {
			t.Error("the code was good twice")
		}
	}
	if len(n.got) != 0 || len(n2.got) != 0 || len(open()) != 0 {
		t.Errorf("sent beside that: %d before and %d after the restart; open %+v", len(n.got), len(n2.got), open())
	}
}
