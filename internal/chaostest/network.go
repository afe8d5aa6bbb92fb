package chaostest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"nanoclaw/internal/channel/chaosnet"
	"nanoclaw/internal/chat"
)

// Gone is a chat of which the network says that it does not exist any more.
const Gone chat.ChatID = "gone"

// Network is a chat network with people in it. It keeps what they wrote until the
// host has taken it, as real networks do, and shows them what the host sends,
// once for each id that the host chose.
type Network struct {
	listener net.Listener

	mu     sync.Mutex // guards all below
	rng    *rand.Rand
	calm   bool // it answers at once and everything
	refuse int  // how many deliveries it refuses next
	conn   *line
	rooms  map[chat.ChatID]*room
	shown  []Shown
	ids    map[int64]int // place in shown
	change chan struct{} // closed at each delivery

	repeats  int // deliveries under an id that was there, which nobody saw
	confused []string
}

// Shown is a message that people saw.
type Shown struct {
	chat.Outbound
	At time.Time
}

// room is what was written in one chat, in order.
type room struct {
	id   chat.ChatID
	wait []chat.Inbound // not taken yet
	old  []chat.Inbound // the last that were taken
	wake chan struct{}
	// stored are the times at which the host said that it had a message.
	stored map[chat.MessageID]time.Time
}

// line is one connection of the host.
type line struct {
	net.Conn
	mu      sync.Mutex
	gone    chan struct{}
	waiting map[int64]chan chaosnet.Frame // guarded by mu
	n       int64
}

// NewNetwork listens at a socket.
func NewNetwork(socket string, seed uint64) (*Network, error) {
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	n := &Network{listener: l, rng: rand.New(rand.NewPCG(seed, 1)), rooms: map[chat.ChatID]*room{}, ids: map[int64]int{}, change: make(chan struct{})}
	go n.accept()
	return n, nil
}

// Close ends the network.
func (n *Network) Close() {
	n.listener.Close()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conn != nil {
		n.conn.Close()
	}
	os.Remove(n.listener.Addr().String())
}

// Calm has the network answer everything at once, or not.
func (n *Network) Calm(calm bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calm = calm
}

// Refuse has the network refuse the next deliveries.
func (n *Network) Refuse(deliveries int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refuse = deliveries
}

// Say has somebody write in a chat. The host gets it when all that was written
// there before was taken.
func (n *Network) Say(in chat.ChatID, sender chat.SenderID, id chat.MessageID, text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.roomLocked(in)
	r.wait = append(r.wait, chat.Inbound{
		From: chat.Address{Channel: chaosnet.ID, Chat: in}, ID: id, Sender: chat.Sender{ID: sender, Name: string(sender)}, Text: text, Sent: time.Now(),
	})
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// taken is how many messages the host said that it had.
func (n *Network) taken() (sum int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.rooms {
		sum += len(r.stored)
	}
	return sum
}

func (n *Network) roomLocked(id chat.ChatID) *room {
	r := n.rooms[id]
	if r == nil {
		r = &room{id: id, wake: make(chan struct{}, 1), stored: map[chat.MessageID]time.Time{}}
		n.rooms[id] = r
		if n.conn != nil {
			go n.pump(n.conn, r)
		}
	}
	return r
}

// Untaken is how many messages the host has not taken yet.
func (n *Network) Untaken() (count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.rooms {
		count += len(r.wait)
	}
	return count
}

// Stored is when the host said that it had a message, zero if it has not.
func (n *Network) Stored(in chat.ChatID, id chat.MessageID) time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	if r := n.rooms[in]; r != nil {
		return r.stored[id]
	}
	return time.Time{}
}

// Shown gives what people saw from a place on, and a channel that is closed when
// there is more.
func (n *Network) Shown(from int) ([]Shown, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.shown[from:]), n.change
}

func (n *Network) accept() {
	for {
		conn, err := n.listener.Accept()
		if err != nil {
			return
		}
		l := &line{Conn: conn, gone: make(chan struct{}), waiting: map[int64]chan chaosnet.Frame{}}
		n.mu.Lock()
		if n.conn != nil {
			n.conn.Close() // of a process that is dead, or frozen
		}
		n.conn = l
		for _, r := range n.rooms {
			go n.pump(l, r)
		}
		n.mu.Unlock()
		go n.read(l)
	}
}

func (n *Network) read(l *line) {
	defer close(l.gone)
	defer l.Close()
	in := json.NewDecoder(bufio.NewReader(l))
	for {
		var f chaosnet.Frame
		if in.Decode(&f) != nil {
			return
		}
		if f.Out != nil {
			go n.take(l, f)
			continue
		}
		l.mu.Lock()
		if wait := l.waiting[f.N]; wait != nil {
			wait <- f
			delete(l.waiting, f.N)
		}
		l.mu.Unlock()
	}
}

func (l *line) send(f chaosnet.Frame) {
	text, err := json.Marshal(f)
	if err != nil {
		panic(err) // our own values
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.SetWriteDeadline(time.Now().Add(time.Minute)) // a frozen host does not hold us up for ever
	if _, err := l.Write(append(text, '\n')); err != nil {
		l.Close()
	}
}

// pump gives a room's messages to one connection, one after the other, and now
// and then one again that was taken long ago.
func (n *Network) pump(l *line, r *room) {
	defer r.poke() // the next connection's pump may have missed it
	for {
		n.mu.Lock()
		var next *chat.Inbound
		if len(r.wait) > 0 {
			first := r.wait[0]
			next = &first
		}
		if len(r.old) > 0 && !n.calm && n.rng.IntN(12) == 0 {
			again := r.old[n.rng.IntN(len(r.old))]
			go n.ask(l, again)
		}
		n.mu.Unlock()
		if next == nil {
			select {
			case <-r.wake:
				continue
			case <-l.gone:
				return
			}
		}
		if ok, alive := n.ask(l, *next); !alive {
			return
		} else if !ok {
			time.Sleep(50 * time.Millisecond) // a person sees the failure and sends it again
			continue
		}
		n.takenBy(r, *next)
	}
}

// takenBy takes a message out of those that wait, unless the pump of another
// connection did.
func (n *Network) takenBy(r *room, in chat.Inbound) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(r.wait) == 0 || r.wait[0].ID != in.ID {
		return
	}
	r.stored[in.ID] = time.Now()
	r.old = append(r.old, in)
	r.old = r.old[max(0, len(r.old)-8):]
	r.wait = r.wait[1:]
}

func (r *room) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Goroutines asks the host for their number; 0 if it cannot be asked.
func (n *Network) Goroutines() int {
	n.mu.Lock()
	l := n.conn
	n.mu.Unlock()
	if l == nil {
		return 0
	}
	f, _ := l.ask(chaosnet.Frame{Count: true})
	return f.Goroutines
}

// ask gives one message to the host and says whether it was taken.
func (n *Network) ask(l *line, in chat.Inbound) (taken, alive bool) {
	f, alive := l.ask(chaosnet.Frame{In: &in})
	return f.Stored, alive
}

// ask sends a frame and waits for its answer; false if the line is gone.
func (l *line) ask(f chaosnet.Frame) (chaosnet.Frame, bool) {
	wait := make(chan chaosnet.Frame, 1)
	l.mu.Lock()
	l.n++
	f.N = l.n
	l.waiting[f.N] = wait
	l.mu.Unlock()
	l.send(f)
	select {
	case f := <-wait:
		return f, true
	case <-l.gone:
		return chaosnet.Frame{}, false
	}
}

// take shows what the host sends, and answers in one of the ways in which
// networks answer.
func (n *Network) take(l *line, f chaosnet.Frame) {
	m := *f.Out
	answer := chaosnet.Frame{N: f.N, ID: chat.MessageID(fmt.Sprint("net", m.ID))}
	n.mu.Lock()
	mood := n.rng.IntN(100)
	if n.calm || m.To.Chat == talk { // the model of that room looks at what was seen
		mood = 50
	}
	late := time.Duration(n.rng.IntN(300)) * time.Millisecond
	refuse := mood == 0 || n.refuse > 0
	n.refuse = max(0, n.refuse-1)
	if m.To.Chat != Gone && !refuse {
		n.showLocked(m)
	}
	n.mu.Unlock()
	switch {
	case m.To.Chat == Gone:
		l.send(chaosnet.Frame{N: f.N, Never: true, Error: "this chat does not exist any more"})
	case refuse:
		l.send(chaosnet.Frame{N: f.N, Error: "the network is busy"})
	case mood == 1: // it has the message, and never says so
		time.AfterFunc(500*time.Millisecond, func() { l.Close() })
	case mood < 5:
		l.send(answer)
		l.send(answer)
	case mood < 20:
		time.AfterFunc(late, func() { l.send(answer) })
	default:
		l.send(answer)
	}
}

// show shows a message that came by another way, in a room of its own.
func (n *Network) show(in chat.ChatID, m chat.Outbound) {
	n.mu.Lock()
	defer n.mu.Unlock()
	m.To.Chat = in
	n.showLocked(m)
}

// showLocked shows a message unless its id is there.
func (n *Network) showLocked(m chat.Outbound) {
	if at, ok := n.ids[m.ID]; ok {
		n.repeats++
		if old := n.shown[at]; old.Key != m.Key || old.To != m.To || old.Text != m.Text {
			n.confused = append(n.confused, fmt.Sprintf("id %d is %q and then %q", m.ID, old.Key, m.Key))
		}
		return
	}
	n.ids[m.ID] = len(n.shown)
	n.shown = append(n.shown, Shown{m, time.Now()})
	close(n.change)
	n.change = make(chan struct{})
}
