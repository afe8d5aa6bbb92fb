// Package channeltest is what every channel has to pass. A new adapter is done
// when Run passes for it.
//
// The adapter's test plays the network: it gives a Network that can say
// something to the channel as a person would, and can look at what the channel
// delivered.
package channeltest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
)

// Network is one channel with a network played by the test.
type Network struct {
	Channel channel.Channel
	// Chat is a chat of that network.
	Chat chat.Address
	// Say plays a person writing in Chat. It returns nil once the channel told
	// the network that the message arrived, and an error if it told otherwise.
	Say func(ctx context.Context, text string) error
	// Connect makes Chat reachable. It gives a function that waits for the next
	// text delivered there, and one that makes the chat unreachable again.
	Connect func() (received func(ctx context.Context) (string, error), disconnect func())
	// Repeat plays the network sending the last message once more, as networks do.
	// Nil: it never does.
	Repeat func(ctx context.Context) error
	// Reacted are the reactions that were given, the last word of each being the emoji.
	// Wanted of a channel that is a channel.Reactor.
	Reacted func() []string
	// Cut ends the connection without a word. Nil: there is none to be cut.
	Cut func()
	// Fetched says that no chat can be unreachable: whoever is there comes for what was
	// delivered, whenever they like.
	Fetched bool
	// Leaves says that an unreachable chat exists: Deliver then gives
	// chat.ErrNobody.
	Leaves bool
}

// patience bounds every wait. Nothing passes because of it.
const patience = time.Minute

// Run puts a channel through the suite. make gives a fresh one each time.
func Run(t *testing.T, make func(t *testing.T) Network) {
	for _, tt := range []struct {
		name string
		test func(*testing.T, Network)
	}{
		{"has a name that can be part of an address", testName},
		{"run ends with its context", testRunEnds},
		{"acknowledges only what is stored", testAcknowledge},
		{"tells the network when storing failed", testStoreFailed},
		{"inbound messages are complete", testInbound},
		{"what comes twice has one id", testRepeat},
		{"our own messages can be told", testSelf},
		{"comes back after the connection was cut", testCut},
		{"delivers in order", testDeliver},
		{"delivers from several goroutines", testDeliverMany},
		{"says when nobody is there", testNobody},
		{"a foreign chat is a permanent error", testForeign},
		{"gives reactions once", testReact},
		{"deliver ends with its context", testDeliverEnds},
		{"progress never blocks", testProgress},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, make(t)) })
	}
}

// Sink keeps what it received. Hold, if set, is called before a message counts
// as stored.
type Sink struct {
	Hold func(context.Context, chat.Inbound) error

	mu  sync.Mutex
	got []chat.Inbound
}

// Receive stores a message.
func (s *Sink) Receive(ctx context.Context, in chat.Inbound) error {
	if s.Hold != nil {
		if err := s.Hold(ctx, in); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, in)
	return nil
}

// Got gives what was received so far.
func (s *Sink) Got() []chat.Inbound {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

// start runs the channel for the time of the test.
func start(t *testing.T, c channel.Channel, sink channel.Sink) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx, sink) }()
	t.Cleanup(func() {
		cancel()
		if err := wait(t, done); err != nil {
			t.Errorf("Run ended with %v, want nil", err)
		}
	})
	return ctx
}

func wait[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("waited too long")
		panic("unreachable")
	}
}

// say retries until the channel takes messages: Run was only just started.
func say(ctx context.Context, n Network, text string) error {
	for {
		err := n.Say(ctx, text)
		if err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

func testName(t *testing.T, n Network) {
	id := n.Channel.ID()
	if n.Chat.Channel != id {
		t.Errorf("the chat %s is not of the channel %q", n.Chat, id)
	}
	back, err := chat.ParseAddress(n.Chat.String())
	if err != nil || back != n.Chat {
		t.Errorf("address %s reads back as %v, %v", n.Chat, back, err)
	}
}

func testRunEnds(t *testing.T, n Network) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Channel.Run(ctx, &Sink{}) }()
	cancel()
	if err := wait(t, done); err != nil {
		t.Errorf("Run gave %v after its context ended, want nil", err)
	}
}

func testAcknowledge(t *testing.T, n Network) {
	entered, release := make(chan struct{}), make(chan struct{})
	sink := &Sink{Hold: func(context.Context, chat.Inbound) error {
		close(entered)
		<-release
		return nil
	}}
	ctx := start(t, n.Channel, sink)
	acked := make(chan error, 1)
	go func() { acked <- say(ctx, n, "hello") }()
	wait(t, entered)
	select {
	case err := <-acked:
		t.Fatalf("the network was answered (%v) before the message was stored", err)
	case <-time.After(20 * time.Millisecond):
	}
	close(release)
	if err := wait(t, acked); err != nil {
		t.Errorf("Say: %v", err)
	}
}

func testStoreFailed(t *testing.T, n Network) {
	failure := errors.New("the disk is full")
	entered := make(chan struct{}, 1)
	ctx := start(t, n.Channel, &Sink{Hold: func(context.Context, chat.Inbound) error {
		entered <- struct{}{}
		return failure
	}})
	for {
		err := n.Say(ctx, "hello")
		if err == nil {
			t.Fatal("the network was told that the message arrived, but it was not stored")
		}
		select {
		case <-entered:
			return
		default: // the channel was not running yet
			time.Sleep(time.Millisecond)
		}
	}
}

func testInbound(t *testing.T, n Network) {
	sink := &Sink{}
	ctx := start(t, n.Channel, sink)
	texts := []string{"first", "second: é 你好\nand a line", "second: é 你好\nand a line"}
	for _, text := range texts {
		if err := say(ctx, n, text); err != nil {
			t.Fatal(err)
		}
	}
	got := sink.Got()
	if len(got) != len(texts) {
		t.Fatalf("%d messages, want %d", len(got), len(texts))
	}
	seen := map[chat.MessageID]bool{}
	for i, in := range got {
		if in.Text != texts[i] {
			t.Errorf("text %q, want %q", in.Text, texts[i])
		}
		if in.From != n.Chat {
			t.Errorf("from %s, want %s", in.From, n.Chat)
		}
		if in.ID == "" || seen[in.ID] {
			t.Errorf("message id %q is empty or not the only one", in.ID)
		}
		seen[in.ID] = true
		if in.Sender.ID == "" || in.Sent.IsZero() {
			t.Errorf("sender or time is missing: %+v", in)
		}
	}
}

func testRepeat(t *testing.T, n Network) {
	if n.Repeat == nil {
		t.Log("this network sends nothing twice")
		return
	}
	sink := &Sink{}
	ctx := start(t, n.Channel, sink)
	if err := say(ctx, n, "hello"); err != nil {
		t.Fatal(err)
	}
	if err := n.Repeat(ctx); err != nil {
		t.Fatalf("a message that came before was not acknowledged: %v", err)
	}
	got := sink.Got()
	if len(got) == 1 {
		return // the channel knows it by itself
	}
	if len(got) != 2 || got[0].ID != got[1].ID || got[0].From != got[1].From {
		t.Errorf("the same message came as %+v", got)
	}
}

func testSelf(t *testing.T, n Network) {
	sink := &Sink{}
	ctx := start(t, n.Channel, sink)
	if err := say(ctx, n, "hello"); err != nil {
		t.Fatal(err)
	}
	self := n.Channel.Self()
	if self == "" {
		t.Error("the channel is connected and does not know who it is")
	}
	if in := sink.Got()[0]; in.Sender.Self || in.Sender.ID == self {
		t.Errorf("a person's message came as our own: %+v", in)
	}
}

func testCut(t *testing.T, n Network) {
	if n.Cut == nil {
		t.Log("this channel has no connection that can be cut")
		return
	}
	sink := &Sink{}
	ctx := start(t, n.Channel, sink)
	for i := range 3 {
		if err := say(ctx, n, fmt.Sprintf("message %d", i)); err != nil {
			t.Fatal(err)
		}
		n.Cut()
	}
	if err := say(ctx, n, "the last"); err != nil {
		t.Fatalf("after the connection was cut: %v", err)
	}
	if got := sink.Got(); got[len(got)-1].Text != "the last" || len(got) < 4 {
		t.Errorf("got %+v", got)
	}
}

// message makes the i-th outbound message to a chat.
func message(to chat.Address, i int) chat.Outbound {
	return chat.Outbound{ID: int64(i), To: to, Kind: chat.Reply, Text: fmt.Sprintf("message %d", i), Key: fmt.Sprintf("key-%d", i)}
}

func testDeliver(t *testing.T, n Network) {
	ctx := start(t, n.Channel, &Sink{})
	received, disconnect := n.Connect()
	defer disconnect()
	got := make(chan string, 10)
	go func() {
		defer close(got)
		for {
			text, err := received(ctx)
			if err != nil {
				return
			}
			got <- text
		}
	}()
	for i := range 5 {
		m := message(n.Chat, i+1)
		id, err := n.Channel.Deliver(ctx, m)
		if err != nil || id == "" {
			t.Fatalf("Deliver gave id %q, %v", id, err)
		}
		if text := wait(t, got); text != m.Text {
			t.Fatalf("%q arrived, want %q", text, m.Text)
		}
	}
}

func testDeliverMany(t *testing.T, n Network) {
	ctx := start(t, n.Channel, &Sink{})
	received, disconnect := n.Connect()
	defer disconnect()
	const count = 20
	arrived := make(chan map[string]bool, 1)
	go func() {
		all := map[string]bool{}
		for len(all) < count {
			text, err := received(ctx)
			if err != nil {
				break
			}
			all[text] = true
		}
		arrived <- all
		for { // confirms the last
			if _, err := received(ctx); err != nil {
				return
			}
		}
	}()
	var wg sync.WaitGroup
	for i := range count {
		wg.Go(func() {
			if _, err := n.Channel.Deliver(ctx, message(n.Chat, i+1)); err != nil {
				t.Errorf("Deliver: %v", err)
			}
		})
	}
	if all := wait(t, arrived); len(all) != count {
		t.Errorf("%d messages arrived, want %d", len(all), count)
	}
	wg.Wait()
}

func testNobody(t *testing.T, n Network) {
	if n.Fetched {
		t.Log("what is delivered on this channel is fetched")
		return
	}
	ctx := start(t, n.Channel, &Sink{})
	_, disconnect := n.Connect()
	disconnect()
	_, err := n.Channel.Deliver(ctx, message(n.Chat, 1))
	if n.Leaves && !errors.Is(err, chat.ErrNobody) {
		t.Errorf("Deliver gave %v, want chat.ErrNobody", err)
	}
	if !n.Leaves && err == nil {
		t.Error("Deliver to an unreachable chat succeeded")
	}
}

func testForeign(t *testing.T, n Network) {
	ctx := start(t, n.Channel, &Sink{})
	to := chat.Address{Channel: n.Chat.Channel + "-other", Chat: n.Chat.Chat}
	if _, err := n.Channel.Deliver(ctx, message(to, 1)); !channel.IsPermanent(err) {
		t.Errorf("Deliver to another channel's chat gave %v, want a permanent error", err)
	}
}

func testReact(t *testing.T, n Network) {
	r, ok := n.Channel.(channel.Reactor)
	if !ok {
		t.Log("this network has no reactions")
		return
	}
	sink := &Sink{}
	ctx := start(t, n.Channel, sink)
	if err := say(ctx, n, "hello"); err != nil {
		t.Fatal(err)
	}
	id := sink.Got()[0].ID
	if n.Reacted == nil {
		if err := r.React(ctx, n.Chat, id, chat.Reactions[0]); r.Reacts() || !channel.IsPermanent(err) {
			t.Errorf("it has reactions: %v, and giving one gave %v; want a permanent error", r.Reacts(), err)
		}
		return
	}
	if !r.Reacts() {
		t.Error("it says that it has no reactions")
	}
	for _, emoji := range chat.Reactions {
		for range 2 {
			if err := r.React(ctx, n.Chat, id, emoji); err != nil {
				t.Errorf("%s: %v", emoji, err)
			}
		}
		all := n.Reacted()
		count := 0
		for _, given := range all {
			if strings.HasSuffix(given, " "+emoji) {
				count++
			}
		}
		if count != 1 || !strings.HasSuffix(all[len(all)-1], " "+emoji) || !strings.Contains(all[len(all)-1], string(id)) {
			t.Errorf("after %s for %s, twice, there is %q", emoji, id, all)
		}
	}
	to := chat.Address{Channel: n.Chat.Channel + "-other", Chat: n.Chat.Chat}
	if err := r.React(ctx, to, id, chat.Reactions[0]); !channel.IsPermanent(err) {
		t.Errorf("a reaction in another channel's chat gave %v, want a permanent error", err)
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	if err := r.React(over, n.Chat, id, chat.Reactions[0]); err == nil {
		t.Error("a reaction after its context ended gave no error")
	}
}

func testDeliverEnds(t *testing.T, n Network) {
	_ = start(t, n.Channel, &Sink{})
	_, disconnect := n.Connect()
	defer disconnect()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.Channel.Deliver(ctx, message(n.Chat, 1))
	}()
	wait(t, done)
}

func testProgress(t *testing.T, n Network) {
	p, ok := n.Channel.(channel.Progress)
	if !ok {
		t.Log("this channel shows no progress")
		return
	}
	ctx := start(t, n.Channel, &Sink{})
	_, disconnect := n.Connect()
	defer disconnect()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 10_000 { // nobody reads it
			p.Progress(ctx, chat.Progress{To: n.Chat, Kind: chat.Text, Text: "word "})
		}
	}()
	wait(t, done)
}
