package runner

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/approval"
	"nanoclaw/internal/audit"
	"nanoclaw/internal/boundary"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/queue"
	"nanoclaw/internal/runlog"
	"nanoclaw/internal/steps"
	"nanoclaw/internal/watch"
	"nanoclaw/internal/wire"
)

// Boundary starts confined processes.
type Boundary interface {
	// Start starts a session on an engine, "" for the host's own choice.
	Start(ctx context.Context, engine string, s boundary.Spec) (*boundary.Session, error)
}

// Gateway is a session's way out.
type Gateway interface {
	Serve(kind wire.Kind, conn net.Conn)
	// Files are to be made inside, such as certificates to trust.
	Files() []wire.File
	// Stale says that the session must not be used for another run.
	Stale() bool
	Close()
}

// HostTools are what a session may ask of the host.
type HostTools interface {
	Message(ctx context.Context, msg json.RawMessage) (json.RawMessage, error)
	Serve(conn net.Conn)
	Close()
}

// Guard watches over the folders of a session: what runs code on the owner's
// machine later must not be left there.
type Guard interface {
	// Begin is called right before the session starts. What it fails to write
	// down must not begin. From then on it may call end, once, if the session has
	// to end at once.
	Begin(ctx context.Context, c Caller, end func(error)) error
	// Check looks at what changed since Begin or the last Check, moves away what
	// must not stay, and tells the owner unless they are to, where the run's own
	// words go. Over says that everything of the session is dead. It gives lines
	// for the audit and for the run's chat.
	Check(ctx context.Context, c Caller, to chat.Address, over bool) (found []string, notice string)
}

// Caller is who a session is, as the host knows it. Run is the run it serves at
// the moment of asking, "" between runs.
type Caller struct {
	Group   chat.Group
	Session chat.SessionID
	Run     func() chat.RunID
}

// Options are what a runner works with.
type Options struct {
	Store    Store
	Boundary Boundary
	// Decide gives the grant of a group for a trigger now, or a *grant.Refusal.
	Decide func(ctx context.Context, g chat.Group, t grant.Trigger) (grant.Grant, error)
	// Reason says why the agent of a grant was chosen, for the audit.
	Reason func(g chat.Group, agent string) string
	// Agents are the adapters, by the name in the grant.
	Agents  map[string]agent.Adapter
	Gateway func(g grant.Grant, c Caller) Gateway
	Tools   func(g grant.Grant, c Caller) HostTools
	// Servers makes what a session has of the owner's MCP servers. Nil: none.
	Servers func(g grant.Grant, c Caller) Servers
	// Guard looks at the folders of a grant before a session of it starts, and
	// gives the grant with what is held in them. A *grant.Refusal says that it may
	// not start.
	Guard func(ctx context.Context, g grant.Grant) (grant.Grant, Guard, error)
	// Touched tells which files a run left changed in the folders of its grant.
	// What it cannot tell it says.
	Touched func(ctx context.Context, g grant.Grant, since time.Time) []audit.ChangedFolder
	// UID is the group's own kernel uid, 0 to use the daemon's.
	UID           func(ctx context.Context, g chat.Group) (int, error)
	LandlockFloor int
	// RunLog is told of a run when it began and, with the rest, when it ended. It must
	// not block. Nil: nobody is told. LogContent puts words of people and of the agent
	// into it.
	RunLog     func(h runlog.Header, g grant.Grant)
	LogContent bool
	// Progress is told what an agent is doing. It must not block.
	Progress func(chat.Progress)
	// WarmSessions is how many sessions may wait between runs, over all groups.
	WarmSessions int
	// Prepare are the groups for which a session is made before anybody writes.
	Prepare []chat.Group
	// Short says why the machine is short of memory, "" if it is not.
	Short func() string
	// Held says why no new run may start, "" if one may; Rests why none of a group.
	Held  func() string
	Rests func(chat.Group) string
	// Unready is told, each time, why no session can be prepared for a group.
	Unready func(g chat.Group, why string)
	// Ended is told, in words for the owner, why a session ended that no run was
	// waiting for.
	Ended func(g chat.Group, s chat.SessionID, text string)
	// Owner is the owner's own chat, which is told of what is wrong for all groups.
	Owner chat.Address
	// Crowded says that groups wait for a place while all are taken. Nil: never.
	Crowded func() bool
	// Consent asks the owner about what an agent wants to do and waits for the
	// answer, no longer than it is told. to is the chat that the run answers to. If
	// ctx ends, the question is withdrawn.
	Consent func(ctx context.Context, e approval.Effect, wait time.Duration, to chat.Address) (state approval.State, why string)
	// Named tells what a call of a tool names of files, as they are now, and of
	// hosts. seen is the grant with the paths that the agent has. Nil: nothing.
	Named func(g, seen grant.Grant, c agent.ToolCall) []approval.Part
	// Hide takes out of what people wrote what is between them and the host, such as
	// the codes of its questions. Nil: nothing is there.
	Hide func(string) string
	// Transcribe is a command that writes down what is said in the file that is its last
	// argument. It runs inside. Empty: voice notes are files.
	Transcribe []string
	// Attach has the files of a message where its group's agent finds them, and says
	// where that is. It may take a while. Nil: there are none.
	Attach func(chat.Group, queue.Message) []agent.File
	// Limits are asked before a run begins. Nil: nothing is limited.
	Limits Limiter
	// Permit is told that an agent was let make one call of an MCP tool of which the
	// grant has something to say, so that the host lets it pass once. server is
	// grant.HostServer for the host's own. Nil: nobody is told.
	Permit func(s chat.SessionID, server, tool string, args json.RawMessage)
	// Mask takes credentials out of what is written down of tools.
	Mask *watch.Masker
	// Install names this installation in the names of messages, and MaxAttempts is
	// how often a message may be part of a run that was cut off.
	Install     string
	MaxAttempts int
	// Replied is called when a run left messages in the outbox.
	Replied func()
	// Freed is called when messages that waited may be taken up. Nil: nobody is told.
	Freed func()
	Zone  *time.Location
	// Markup is what the chats of a group make of marks in a text. Nil: unknown.
	Markup func(chat.Group) []chat.Markup
	// Assistant is how the assistant is called now.
	Assistant func() string
	Log       *slog.Logger
}

// Runner runs jobs.
type Runner struct {
	Options
	pool  *pool
	tries *readiness
	kick  chan struct{} // something changed for Tend

	mu   sync.Mutex
	live map[chat.RunID]*live
}

// live is a run that goes on.
type live struct {
	group  chat.Group
	to     chat.Address // what it answers to
	owner  bool         // its messages are the owner's
	cancel context.CancelCauseFunc
	done   chan struct{}
	conv   agent.Conversation // nil until the agent is there
	followed
	// refused are the commands that would allow what the agent tried to reach.
	refused []string
	// spent are the budgets that it used up, in words.
	spent []string
	// used is what its answers of the model cost.
	used *audit.ModelUse
	// status is how the model refused its last request, and retry when that may be
	// repeated.
	status int
	retry  time.Time
	// trying are the troubles of which the run tries whether they are over.
	trying []string
	// halted is why a fuse ended it, "" if none did.
	halted string
	// log is what RunLog was told, nil before that.
	log *runlog.Header
}

// ErrHeld is what Decide gives if no new run may start now. The job is put back.
var ErrHeld = errors.New("new runs are held")

// Why a run was ended from outside.
var (
	errStopped = errors.New("stopped by the owner")
	errTooLong = errors.New("it took longer than the limit")
)

// New makes a runner.
func New(o Options) *Runner {
	r := &Runner{Options: o, live: map[chat.RunID]*live{}, tries: newReadiness(), kick: make(chan struct{}, 1)}
	r.pool = newPool(o.WarmSessions, r.endWaiting)
	if r.Mask == nil {
		r.Mask = watch.NewMasker()
	}
	return r
}

// Run takes a job to its end. It returns when the end is stored. If the daemon
// stops meanwhile the job is released and waits for the next start.
func (r *Runner) Run(ctx context.Context, job queue.Job) {
	ctx, l := r.enter(ctx, job)
	defer r.leave(job.Run, l)
	log := r.Log.With("run", job.Run, "group", job.Group)

	trigger := triggerOf(job)
	g, err := r.Decide(ctx, job.Group, trigger)
	if err != nil {
		r.refuse(ctx, job, err, log)
		return
	}
	if g.Agent == grant.Claude && clears(job) {
		r.clear(ctx, job, g, trigger, log)
		return
	}
	reservation, err := r.reservation(ctx, job, trigger, g)
	if err != nil {
		r.refuse(ctx, job, err, log)
		return
	}
	s, warm, err := r.session(ctx, job, g)
	if err == nil && !warm {
		err = r.consented(job, trigger, g, grant.Session)
	}
	if err != nil {
		r.refuse(ctx, job, err, log)
		return
	}
	l.tries(reservation)
	if err := r.begin(ctx, job, s, trigger, warm, reservation); err != nil {
		if _, ok := waits(err); ok {
			r.giveBack(s, warm)
			r.refuse(ctx, job, err, log)
			return
		}
		r.end(ctx, job, s, agent.Result{}, err, log)
		return
	}
	ctx, cancel := context.WithTimeoutCause(ctx, g.Limits.RunTime, errTooLong)
	defer cancel()
	r.logBegan(job, s, l, trigger, warm)
	var res agent.Result
	if s.asleep, err = r.asleep(ctx, &job, s); err == nil && !s.asleep {
		l.accept(job, trigger, g)
		res, err = r.converse(ctx, job, s, l)
		job = l.whole(job)
	}
	r.end(ctx, job, s, r.halted(job.Run, res), err, log)
}

// session gives the session for a run: the warm one if its grant and its
// conversation are still right, else a new one, which begin starts.
func (r *Runner) session(ctx context.Context, job queue.Job, g grant.Grant) (s *session, warm bool, err error) {
	isolated := job.Conversation() == chat.Isolated
	if job.Conversation() == chat.Anew && job.Resume == "" || job.Last().Suspect() {
		r.forgetWarm(ctx, job, g)
	}
	if !isolated {
		if s := r.fitting(ctx, job, g); s != nil {
			return s, true, nil
		}
	}
	if r.Short() != "" { // this group waits for memory that others only keep
		r.pool.evict(job.Group, shortOfMemory)
	}
	if s, err = r.newSession(ctx, g); err != nil {
		return nil, false, err
	}
	s.talk.Isolated = isolated
	return s, false, r.pick(ctx, job, s)
}

// begin writes the run down, and starts its session.
func (r *Runner) begin(ctx context.Context, job queue.Job, s *session, t grant.Trigger, warm bool, l *Reservation) error {
	s.serve(job.Run)
	at := steps.Now()
	r.logServers(job.Run, s.grant)
	steps.Before(steps.Start)
	err := r.Store.Start(ctx, job.Run, Start{Mode: string(s.grant.Mode), Agent: s.grant.Agent, Session: s.id, At: at, Conversation: s.talk, Reservation: l, Standing: warm, Idle: idle(job, s.grant.Agent, warm)},
		r.started(job, s.id, s.grant, t, warm, at))
	steps.After(steps.Start)
	if err == nil && !warm {
		err = r.open(ctx, "", s, false)
	}
	if err != nil {
		return err
	}
	s.served = steps.Now()
	r.mended(job.Run, agent.ClassBoundary)
	if warm {
		return nil
	}
	steps.Before(steps.Running)
	err = r.Store.Running(ctx, job.Run, s.started())
	steps.After(steps.Running)
	return err
}

// idle says that a run does nothing before another change of its own is on the disk.
// For a new session that is Running, before which nothing of anybody's runs inside. For
// a Claude Code that stands there already, and is given no script to run first, it is
// the entry about its first request to the model, before that goes out (egress.Gateway).
func idle(job queue.Job, kind string, warm bool) bool {
	return !warm || kind == grant.Claude && (job.Last().Task == nil || job.Last().Task.Script == "")
}

// started is the entry about a run that begins.
func (r *Runner) started(job queue.Job, s chat.SessionID, g grant.Grant, t grant.Trigger, warm bool, at time.Time) audit.Entry {
	began := audit.RunStartedData{Trigger: r.cause(job.Group, job.Last(), g, t, warm), Mode: string(g.Mode), Agent: g.Agent, Grant: g}
	brief := began
	brief.Grant = g.Brief()
	return audit.Entry{At: at, Kind: audit.RunStarted, Group: job.Group, Run: job.Run, Session: s, Data: began, Brief: brief}
}

func (r *Runner) cause(g chat.Group, last queue.Message, got grant.Grant, t grant.Trigger, warm bool) cause {
	return cause{t, last.From.String(), last.Sender.ID, last.Row, r.Reason(g, got.Agent), warm}
}

// cause is the trigger of a run as the audit keeps it.
type cause struct {
	grant.Trigger
	From   string        `json:"from"`
	Sender chat.SenderID `json:"sender"`
	Row    int64         `json:"row"`
	Agent  string        `json:"agent_reason"`
	Warm   bool          `json:"warm"`
}

// BegunBy is the row of the message that began the run.
func (c cause) BegunBy() int64 { return c.Row }

// triggerOf says why a job runs. Only what the channel proved counts.
func triggerOf(job queue.Job) grant.Trigger {
	last := job.Last()
	t := grant.Trigger{Kind: "message", Owner: last.Sender.Owner, Terminal: last.Terminal()}
	if t.Terminal {
		t.Mounts = last.Ask.Mounts
	}
	if last.Task != nil {
		t.Kind, t.Task, t.HostModeAllowed = "task", string(last.Task.ID), last.Task.HostModeAllowed
	}
	return t
}

func (r *Runner) enter(ctx context.Context, job queue.Job) (context.Context, *live) {
	ctx, cancel := context.WithCancelCause(ctx)
	l := &live{group: job.Group, to: job.Last().From, owner: ofOwner(job.Last()), cancel: cancel, done: make(chan struct{}), followed: followed{nudge: make(chan struct{}, 1)}}
	r.mu.Lock()
	r.live[job.Run] = l
	r.mu.Unlock()
	return ctx, l
}

func (r *Runner) leave(run chat.RunID, l *live) {
	r.mu.Lock()
	delete(r.live, run)
	r.mu.Unlock()
	l.cancel(nil)
	close(l.done)
	r.nudge()
}

// maxRefused bounds how many refused hosts a run is told about.
const maxRefused = 5

// Refused notes that a run tried to reach a host that its grant does not hold,
// with the command that would allow it. The owner is told when the run ends.
func (r *Runner) Refused(run chat.RunID, allow string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.live[run]
	if l == nil || len(l.refused) >= maxRefused || slices.Contains(l.refused, allow) {
		return
	}
	l.refused = append(l.refused, allow)
}

// Spent notes in words that a run used up a budget. The owner is told when the
// run ends.
func (r *Runner) Spent(run chat.RunID, what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.live[run]
	if l == nil || len(l.spent) >= maxRefused || slices.Contains(l.spent, what) {
		return
	}
	l.spent = append(l.spent, what)
}

// Interrupt ends what a group's agent is doing and keeps its session.
func (r *Runner) Interrupt(ctx context.Context, g chat.Group) error {
	for _, l := range r.find(func(_ chat.RunID, l *live) bool { return l.group == g }) {
		r.mu.Lock()
		conv := l.conv
		r.mu.Unlock()
		if conv == nil {
			l.cancel(errStopped) // it has not begun to answer
		} else if err := conv.Interrupt(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Stop ends runs, and with them their sessions. It returns when they are over.
// An empty run and group mean all.
func (r *Runner) Stop(ctx context.Context, run chat.RunID, g chat.Group) ([]chat.RunID, error) {
	found := r.find(func(id chat.RunID, l *live) bool {
		return (run == "" || id == run) && (g == "" || l.group == g)
	})
	var ids []chat.RunID
	for id, l := range found {
		l.cancel(errStopped)
		ids = append(ids, id)
	}
	for _, l := range found {
		select {
		case <-l.done:
		case <-ctx.Done():
			return ids, ctx.Err()
		}
	}
	if run == "" {
		r.pool.drain(func(s *session) bool { return g == "" || s.grant.Group == g }, "the owner stopped it")
	}
	return ids, nil
}

// Sessions is how many sessions are alive: those at work and the warm ones.
func (r *Runner) Sessions() int {
	r.mu.Lock()
	working := 0
	for _, l := range r.live {
		if l.conv != nil {
			working++
		}
	}
	r.mu.Unlock()
	return working + r.pool.count(func(*session) bool { return true })
}

// Prepared is how many of them wait for their first message.
func (r *Runner) Prepared() int { return r.pool.count(func(s *session) bool { return !s.used }) }

// Close ends the sessions that wait. The caller has ended the runs, and Tend.
func (r *Runner) Close() { r.pool.close() }

func (r *Runner) find(want func(chat.RunID, *live) bool) map[chat.RunID]*live {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[chat.RunID]*live{}
	for id, l := range r.live {
		if want(id, l) {
			out[id] = l
		}
	}
	return out
}
