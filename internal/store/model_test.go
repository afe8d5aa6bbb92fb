package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/queue"
	"nanoclaw/internal/runner"
)

// The store beside a model of it that fits on a page. A seed chooses steps: messages
// come, nodes claim, start, join, hold, finish, release and send, beat, die, freeze,
// wake up and take over, and the clock jumps both ways. After each step both must
// have given the same answer, and hold the same. At the end everything is worked off,
// and every message must have had exactly one end. To add a step, write a method and
// name it in steps.

const (
	modelSeeds = 2000
	modelSteps = 40
)

// seedVar runs one seed alone, to see what failed.
const seedVar = "NANOCLAW_MODEL_SEED"

func TestModel(t *testing.T) {
	first, n := uint64(1), modelSeeds
	if v := os.Getenv(seedVar); v != "" {
		seed, err := strconv.ParseUint(v, 10, 64)
		check(t, err)
		first, n = seed, 1
	}
	if raced {
		n = min(n, modelSeeds/8) // one goroutine steps; "make plain" steps through all of them
	}
	if onPG(t) {
		n = min(n, modelSeeds/20) // the model is the same; each of its steps is many round trips there
	}
	w := newWorld(t)
	reached := map[string]int{}
	for seed := first; seed < first+uint64(n); seed++ {
		w.begin(seed)
		for i := range modelSteps {
			w.step(pick(w.rnd, steps))
			if i%8 == 7 {
				w.compare()
			}
		}
		w.drain()
		for k, v := range w.done {
			reached[k] += v
		}
		if t.Failed() {
			t.Fatalf("seed %d: %s=%d go test -run TestModel ./internal/store\n%s", seed, seedVar, seed, strings.Join(w.log, "\n"))
		}
	}
	for _, s := range steps {
		if n > 1 && reached[s.name] < n/40 {
			t.Errorf("the step %s did something only %d times", s.name, reached[s.name])
		}
	}
}

// step is one thing that may happen. It gives what it did, "" if there was nothing
// to do.
type step struct {
	name string
	do   func(*world) string
}

var steps = []step{
	{"accept", (*world).accept}, {"accept", (*world).accept}, {"repeat", (*world).repeat}, {"claim", (*world).claim}, {"claim", (*world).claim},
	{"start", (*world).start}, {"running", (*world).running}, {"join", (*world).join}, {"hold", (*world).hold}, {"free", (*world).free},
	{"finish", (*world).finish}, {"finish", (*world).finish}, {"release", (*world).release}, {"speak", (*world).speak},
	{"send", (*world).send}, {"send", (*world).send}, {"sent", (*world).sent}, {"sent", (*world).sent}, {"retry", (*world).retry}, {"beat", (*world).beat}, {"die", (*world).die},
	{"take over", (*world).takeOver}, {"take over", (*world).takeOver}, {"start", (*world).start}, {"running", (*world).running}, {"clock", (*world).clock}, {"role", (*world).role},
}

// The model.
type (
	world struct {
		*testing.T
		ctx  context.Context
		main *Store
		seed uint64
		rnd  *rand.Rand
		now  time.Time
		log  []string
		done map[string]int

		nodes    []*Store
		names    int
		groups   []chat.Group
		messages []*mMessage
		runs     []*mRun
		sends    []*mSend
		fences   map[chat.Group]int64
		lease    mLease
	}
	mMessage struct {
		id       string
		row      int64
		held     bool
		group    chat.Group
		thread   string // "" or one of two
		trigger  bool
		state    string
		run      *mRun
		attempts int
		due      time.Time
		ends     int
	}
	mRun struct {
		id    chat.RunID
		group chat.Group
		state runner.State // "" once nothing is left of it
		owner string
		beat  time.Time
	}
	mSend struct {
		id    int64
		state string
		owner string
		beat  time.Time
	}
	mLease struct {
		owner string
		fence int64
		until time.Time
	}
)

func newWorld(t *testing.T) *world {
	s := newStore(t)
	// What a loss of power would do is another test's: here nothing waits for the disk.
	if !s.postgres {
		_, err := s.w.conn.ExecContext(t.Context(), `PRAGMA synchronous = OFF`)
		check(t, err)
	}
	return &world{T: t, ctx: t.Context(), main: s}
}

// begin starts a seed in groups of its own, with nothing open.
func (w *world) begin(seed uint64) {
	w.seed, w.rnd, w.now, w.names = seed, rand.New(rand.NewPCG(seed, 7)), noon, 0
	w.log, w.done, w.fences, w.lease = nil, map[string]int{}, map[chat.Group]int64{}, mLease{}
	w.messages, w.runs, w.sends, w.nodes, w.groups = nil, nil, nil, nil, nil
	w.main.now = func() time.Time { return w.now }
	for i := range 2 {
		w.groups = append(w.groups, chat.Group(fmt.Sprintf("s%d-%d", seed, i)))
	}
	for range 2 {
		w.node()
	}
}

// node is a process that begins.
func (w *world) node() {
	w.names++
	w.nodes = append(w.nodes, beside(w.main, fmt.Sprintf("%d-node%d", w.seed, w.names)))
}

func (w *world) step(s step) {
	did := s.do(w)
	if did == "" {
		return
	}
	w.done[s.name]++
	w.log = append(w.log, s.name+" "+did)
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// some picks one of what fits, if anything does.
func some[T any](r *rand.Rand, from []T, fits func(T) bool) (one T, ok bool) {
	var all []T
	for _, v := range from {
		if fits(v) {
			all = append(all, v)
		}
	}
	if len(all) == 0 {
		return one, false
	}
	return pick(r, all), true
}

// same compares an answer with the model's: success where that allows it, and the
// right kind of refusal where it does not.
func (w *world) same(what string, err error, allowed, ours bool) {
	w.Helper()
	var se *StateError
	switch {
	case !ours && !errors.Is(err, queue.ErrLost) && !errors.Is(err, ErrNotFound):
		w.Errorf("%s by who does not hold it: %v", what, err)
	case ours && allowed && err != nil:
		w.Errorf("%s: %v", what, err)
	case ours && !allowed && !errors.As(err, &se) && !errors.Is(err, ErrNotFound):
		w.Errorf("%s was not refused for its state: %v", what, err)
	}
}

func (w *world) entry(r *mRun, k audit.Kind) audit.Entry {
	return audit.Entry{At: w.now, Kind: k, Group: r.group, Run: r.id}
}

// anyRun picks a run and the node that acts on it, its holder or not.
func (w *world) anyRun() (r *mRun, n *Store, ours, ok bool) {
	if r, ok = some(w.rnd, w.runs, func(r *mRun) bool { return live(r.state) || w.rnd.IntN(4) == 0 }); !ok {
		return
	}
	n = pick(w.rnd, w.nodes)
	if holder, found := some(w.rnd, w.nodes, func(n *Store) bool { return n.owner == r.owner }); found && w.rnd.IntN(4) > 0 {
		n = holder
	}
	return r, n, n.owner == r.owner && r.state != "", true
}

func (w *world) of(r *mRun) (out []*mMessage) {
	for _, m := range w.messages {
		if m.run == r && m.state == "claimed" {
			out = append(out, m)
		}
	}
	return out
}

func (w *world) waits(g chat.Group) (out []*mMessage) {
	for _, m := range w.messages {
		if m.group == g && (m.state == waiting || m.state == kept) && !m.due.After(w.now) {
			out = append(out, m)
		}
	}
	// A run is of one thread, that of the message that waited longest. A message on its
	// last attempt has a run to itself; context behind the last that is taken stays.
	begin := slices.IndexFunc(out, func(m *mMessage) bool { return m.trigger })
	if begin < 0 {
		return nil
	}
	thread := out[begin].thread
	out = slices.DeleteFunc(out, func(m *mMessage) bool { return m.thread != thread })
	var first *mMessage
	end := 0
	for i, m := range out {
		if !m.trigger {
			continue
		}
		if first != nil && (first.attempts >= queue.MaxAttempts-1 || m.attempts >= queue.MaxAttempts-1) {
			break
		}
		if end = i + 1; first == nil {
			first = m
		}
	}
	return out[:end]
}

func (w *world) liveOf(g chat.Group) *mRun {
	for _, r := range w.runs {
		if r.group == g && live(r.state) {
			return r
		}
	}
	return nil
}

// said is a message as a network brings it.
func (m *mMessage) said() chat.Inbound {
	in := message(m.id, "words")
	in.From.Chat += chat.ChatID(m.thread)
	return in
}

func (w *world) back(r *mRun, attempts int) {
	for _, m := range w.of(r) {
		m.attempts += attempts
		m.run = nil
		if m.state = waiting; !m.trigger {
			m.state = kept
		}
	}
}
