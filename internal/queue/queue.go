package queue

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/steps"
)

// Message is one stored message as a run consumes it.
type Message struct {
	Row int64
	chat.Inbound
	// Trigger is false for context.
	Trigger bool
	// Attempts counts earlier runs that did not finish with this message.
	Attempts int
	// Cut is the run that had the message last, if it was cut off: the agent may
	// have begun with it, or be done.
	Cut chat.RunID
	// Again counts how often the message was put back before the agent saw it.
	Again int
	// Consent is the hash of the question to the owner that allowed it, "" if none did.
	Consent string
}

// Job is the work of one run: waiting messages of one group, oldest first, whose
// senders have the same rights, and the context before them.
type Job struct {
	Run      chat.RunID
	Group    chat.Group
	Messages []Message
	Claimed  time.Time
	// Pushed is how many messages of the context are not here, since newer ones took
	// their place.
	Pushed int
	// Fence is how manieth claim of the group this is. It grows with each, so that
	// of two who believe to hold the group the older can be told.
	Fence int64
	// Resume is the agent's session of the run that Cut names, "" if there is none
	// or it never came to one.
	Resume string
}

// Last is the newest triggering message, whose chat gets the answer.
func (j Job) Last() Message {
	for i := len(j.Messages) - 1; i >= 0; i-- {
		if j.Messages[i].Trigger {
			return j.Messages[i]
		}
	}
	return Message{}
}

// Thread is the thread that the job belongs to, "" for none.
func (j Job) Thread() chat.Thread { return j.Last().From.Thread() }

// Conversation is the one that the job belongs to.
func (j Job) Conversation() chat.Conversation { return j.Last().conversation() }

func (m Message) conversation() chat.Conversation {
	if m.Task != nil && m.Task.Context == chat.IsolatedContext {
		return chat.Isolated
	}
	if !m.Terminal() {
		return chat.Ongoing
	}
	return m.Ask.Conversation
}

// Alone says that a message has a run of its own: it is about the conversation
// itself. Such are one word that begins with a slash, if the owner wrote it, and
// what asks for another conversation than the group's. So does each due time of a
// task, which has rights and an end of its own.
func (m Message) Alone() bool {
	if m.Task != nil {
		return true
	}
	word := len(m.Text) > 1 && len(m.Text) <= 40 && m.Text[0] == '/' && strings.Trim(m.Text[1:], "abcdefghijklmnopqrstuvwxyz-") == ""
	return m.Sender.Owner && word || m.conversation() != chat.Ongoing
}

// MaxAttempts is how often a message may be part of a run that was cut off, by the
// end of the agent or of the daemon. After that it is given up: whatever it does
// to them, those behind it go on.
const MaxAttempts = 3

// Suspect says that a message has one attempt left. It gets a run of its own, so
// that of several that were cut off together only the one that does it is given up.
func (m Message) Suspect() bool { return m.Trigger && m.Attempts >= MaxAttempts-1 }

// Bounds on what one run takes up. The rest waits for the next one, in its order. A
// message that is larger by itself goes alone.
const (
	// BatchMessages are messages that start the run, without the context before them.
	BatchMessages = 50
	// BatchBytes is their text with its quotes.
	BatchBytes = 256 << 10
)

// bytes is how much of a prompt a message takes.
func (m Message) bytes() int {
	n := len(m.Text)
	for _, q := range m.Quotes {
		n += len(q.Author) + len(q.Text)
	}
	return n
}

// SameRights says that two messages may be worked on together, as far as that
// shows in them: what the one asks for must not be done with the rights of the
// other, nor be answered in another thread.
func SameRights(a, b Message) bool {
	if a.From.Thread() != b.From.Thread() {
		return false // of two conversations: each has an answer of its own
	}
	if a.From != b.From && (a.From.Channel.Programs() || b.From.Channel.Programs()) {
		return false // the one answer would go out to a program for which half of it was not meant
	}
	if a.Sender.Owner != b.Sender.Owner || a.Terminal() != b.Terminal() || a.Consent != b.Consent {
		return false
	}
	return !a.Terminal() || slices.Equal(a.Ask.Mounts, b.Ask.Mounts)
}

func (m Message) apart() bool { return m.Alone() || m.Suspect() }

// Next gives of all messages that wait, oldest first, those that the next run
// takes up: triggering ones up to the first that may not be worked on with them or
// is too much for one run, and what was said before the last of these. All are of one
// thread, or of none: what was said in others stays for them. A task with
// a conversation of its own takes nothing of what was said: that stays for the
// group's.
func Next(waiting []Message) []Message {
	var first *Message
	begin := slices.IndexFunc(waiting, func(m Message) bool { return m.Trigger })
	if begin < 0 {
		return nil
	}
	waiting = ofThread(waiting, waiting[begin].From.Thread())
	end, count, size := 0, 0, 0
	for i, m := range waiting {
		if !m.Trigger {
			continue
		}
		count, size = count+1, size+m.bytes()
		if first != nil && (first.apart() || m.apart() || !SameRights(*first, m) || count > BatchMessages || size > BatchBytes) {
			break
		}
		if first == nil {
			first = &waiting[i]
			if m.Task != nil && m.conversation() == chat.Isolated {
				return waiting[i : i+1]
			}
		}
		end = i + 1
	}
	return waiting[:end]
}

// ofThread gives the messages of a thread, all of them without copying if no other has any.
func ofThread(msgs []Message, thread chat.Thread) []Message {
	other := func(m Message) bool { return m.From.Thread() != thread }
	if !slices.ContainsFunc(msgs, other) {
		return msgs
	}
	return slices.DeleteFunc(slices.Clone(msgs), other)
}

// Store is what the queue needs of the store.
type Store interface {
	// Waiting lists the groups that have a triggering message waiting and no
	// live run, the one whose message waited longest first.
	Waiting(ctx context.Context) ([]chat.Group, error)
	// Claim takes the Next messages of a group for a new run: the run's row is made
	// in state "queued" and the messages are claimed by it, in one transaction. It
	// gives nil if there is nothing to do or a run of the group is live.
	Claim(ctx context.Context, g chat.Group, run chat.RunID, at time.Time) (*Job, error)
	// Opens is when the next message that is held may be taken up, zero if none is.
	Opens(ctx context.Context) (time.Time, error)
}

// ErrLost is in the chain of the error about a change by who is not, or no longer,
// the holder of what it would change.
var ErrLost = errors.New("the lease is lost")

// Lost is a message that was given up: each run that took it up was cut off.
type Lost struct {
	Row   int64
	Run   chat.RunID // the last that had it
	Group chat.Group
	To    chat.Address
	Text  string
}

// TakenBack is what had a holder that is dead.
type TakenBack struct {
	Runs []chat.RunID // each is interrupted, and its messages wait again
	Sent int          // messages whose sending was cut off: they are sent again
	Lost []Lost       // messages that do not wait again
}

// Queue starts runs.
type Queue struct {
	store Store
	do    func(context.Context, Job)
	max   int
	log   *slog.Logger
	kick  chan struct{}

	mu   sync.Mutex
	live map[chat.Group]bool
	held string // why nothing is started; "" if it is
	// paused are the groups that the owner put to rest, with the words for it.
	paused map[chat.Group]string
	// turn is when each group was served last, counted in runs.
	turn  map[chat.Group]uint64
	turns uint64
	// crowded says that at the last look groups waited for a place.
	crowded bool
	work    sync.WaitGroup
}

// New makes a queue that calls do for each job, at most max at once. do owns
// the job until it returns; a job that it neither finishes nor releases stays
// claimed until Recover.
func New(store Store, max int, do func(context.Context, Job), log *slog.Logger) *Queue {
	return &Queue{store: store, do: do, max: max, log: log, kick: make(chan struct{}, 1), live: map[chat.Group]bool{}, paused: map[chat.Group]string{}, turn: map[chat.Group]uint64{}}
}

// Wake tells the queue to look. It never blocks.
func (q *Queue) Wake() {
	select {
	case q.kick <- struct{}{}:
	default:
	}
}

// Hold stops new runs, with the reason in words. Runs that go on are left
// alone. It gives true the first time, so that the owner is told once.
func (q *Queue) Hold(reason string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	first := q.held == ""
	q.held = reason
	return first
}

// Release undoes Hold.
func (q *Queue) Release() {
	q.mu.Lock()
	q.held = ""
	q.mu.Unlock()
	q.Wake()
}

// Held is why no runs are started, "" if they are.
func (q *Queue) Held() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.held
}

// AllGroups stands for every group in Pause and Resume.
const AllGroups chat.Group = ""

// Pause starts no more runs of a group, or of AllGroups, until Resume. The
// reason is for those who ask why. Runs that go on are left alone, and what is
// written meanwhile waits.
func (q *Queue) Pause(g chat.Group, reason string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.paused[g] = reason
}

// Resume undoes Pause. A group stays paused while AllGroups is, and the other
// way round.
func (q *Queue) Resume(g chat.Group) {
	q.mu.Lock()
	delete(q.paused, g)
	q.mu.Unlock()
	q.Wake()
}

// Rests is why no run of a group is started now, "" if one is.
func (q *Queue) Rests(g chat.Group) string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.rests(g)
}

func (q *Queue) rests(g chat.Group) string { return cmp.Or(q.held, q.paused[AllGroups], q.paused[g]) }

// Run serves until ctx ends, then waits for the runs that go on. Their context
// ends with it.
func (q *Queue) Run(ctx context.Context) {
	defer q.work.Wait()
	for {
		if err := q.pass(ctx); err != nil && ctx.Err() == nil {
			q.log.Error("the queue cannot read its jobs", "err", err)
			q.again(ctx)
		}
		opens := q.opens(ctx)
		select {
		case <-ctx.Done():
			opens.Stop()
			return
		case <-q.kick:
		case <-opens.C:
		}
		opens.Stop()
	}
}

// maxSleep bounds how long a timer sleeps, so that a machine that slept, or whose
// clock was set, finds what is due before long.
const maxSleep = 10 * time.Minute

// opens is a timer for the next message that is held until a time.
func (q *Queue) opens(ctx context.Context) *time.Timer {
	at, err := q.store.Opens(ctx)
	if err != nil && ctx.Err() == nil {
		q.log.Error("the queue cannot read what is held", "err", err)
	}
	if at.IsZero() {
		stopped := time.NewTimer(maxSleep)
		stopped.Stop()
		return stopped
	}
	return time.NewTimer(min(max(at.Sub(steps.Now()), 0), maxSleep))
}

// again looks once more after a pause: the store was busy or its disk full.
func (q *Queue) again(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Second):
		q.Wake()
	}
}

// Crowded says that groups wait for a place while all are taken.
func (q *Queue) Crowded() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.crowded
}

// inTurn sorts groups that wait so that the one comes first that was served longest
// ago, and of those that never were the one whose message waited longest. So however
// much one of them has to do, each of the others is served once before it is served
// again: with n groups waiting and max places, after at most n/max runs.
func (q *Queue) inTurn(groups []chat.Group) {
	q.mu.Lock()
	defer q.mu.Unlock()
	slices.SortStableFunc(groups, func(a, b chat.Group) int { return cmp.Compare(q.turn[a], q.turn[b]) })
}

// pass starts as many runs as there are free places, round-robin among the groups.
func (q *Queue) pass(ctx context.Context) error {
	if q.Held() != "" || ctx.Err() != nil {
		return nil
	}
	groups, err := q.store.Waiting(ctx)
	if err != nil {
		return err
	}
	q.inTurn(groups)
	q.setCrowded(false)
	for _, g := range groups {
		if !q.enter(g) {
			continue
		}
		steps.Before(steps.Claim)
		job, err := q.store.Claim(ctx, g, chat.NewRunID(), steps.Now())
		steps.After(steps.Claim)
		if err != nil || job == nil {
			q.leave(g)
			if err != nil {
				return err
			}
			continue
		}
		go func() {
			defer q.Wake()
			defer q.leave(g)
			q.do(ctx, *job)
		}()
	}
	return nil
}

func (q *Queue) setCrowded(yes bool) {
	q.mu.Lock()
	q.crowded = yes
	q.mu.Unlock()
}

// enter takes a place for a group, if there is one and the group has none.
func (q *Queue) enter(g chat.Group) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.live[g] || q.rests(g) != "" {
		return false
	}
	if len(q.live) >= q.max {
		q.crowded = true
		return false
	}
	q.live[g] = true
	q.turns++
	q.turn[g] = q.turns
	q.work.Add(1)
	return true
}

func (q *Queue) leave(g chat.Group) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.live, g)
	q.work.Done()
}
