package runner

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/audit"
	"nanoclaw/internal/boundary"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/queue"
	"nanoclaw/internal/steps"
	"nanoclaw/internal/wire"
)

// session is one live boundary and the agent in it.
type session struct {
	id    chat.SessionID
	grant grant.Grant
	box   *boundary.Session
	way   Gateway
	tools HostTools
	mcp   Servers // nil: none
	conv  agent.Conversation
	guard Guard
	lost  atomic.Pointer[error] // why the guard ended it
	run   atomic.Pointer[chat.RunID]
	// prepared says that it was made before anybody wrote, and used that it served
	// a run.
	prepared, used bool
	began          time.Time
	since          time.Time   // while it waits in the pool: since when; under the pool's mu
	idle           *time.Timer // likewise
	// ended is why we end it, for the record and for the next agent; "" if there
	// is nothing to say. What the boundary says of limits comes before it.
	ended string
	// taken says that another process took its run over: the group is not ours to
	// remember anything of.
	taken bool
	// waited says that no run was using it then.
	waited  bool
	watched sync.Once
	thread  chat.Thread  // whose conversation it is, "" for the group's own
	talk    Conversation // which of the agent's own sessions it is part of
	resume  bool         // that session is there already
	news    string       // why the session before it ended, until the agent was told
	may     string       // what the agent may touch, in words
	stale   bool         // its conversation was told something else, until it is told this
	told    string       // what is remembered of that
	// archived says that the words of the conversation were written down within
	// the turn that goes on.
	archived atomic.Bool
	anew     string    // what an agent that had to begin anew is told first
	replaced bool      // its agent was begun anew within a run
	asleep   bool      // the script of a task woke no agent
	served   time.Time // since when it serves its run
}

// newSession looks at the folders of a grant, for a session with what is held in
// them.
func (r *Runner) newSession(ctx context.Context, g grant.Grant) (*session, error) {
	held, guard, err := r.Guard(ctx, g)
	if err != nil {
		return nil, err
	}
	return &session{id: chat.NewSessionID(), grant: held, guard: guard}, nil
}

// once says that the session must not outlive its run. While an agent lives
// nobody can tell its files in a folder of the owner from the owner's, and what
// it left running could leave more after the look. One whose agent was begun anew
// ends too: who watches it knows the agent before. And one with a conversation of
// its own has nothing to say to the next message.
func (s *session) once() bool { return s.replaced || once(s.grant) || s.talk.Isolated }

func once(g grant.Grant) bool { return len(g.Lent()) > 0 || g.Agent == grant.Shell }

// serve says which run the session works for; "" for none.
func (s *session) serve(run chat.RunID) {
	s.run.Store(&run)
	s.used = s.used || run != ""
}

func (s *session) caller() Caller {
	return Caller{Group: s.grant.Group, Session: s.id, Run: func() chat.RunID {
		if p := s.run.Load(); p != nil {
			return *p
		}
		return ""
	}}
}

// close ends everything of the session; what was never opened is left out.
func (s *session) close() {
	if s.conv != nil && s.stands() {
		s.conv.Close()
	}
	if s.box != nil {
		s.box.Close()
	}
	if s.way != nil {
		s.way.Close()
	}
	if s.tools != nil {
		s.tools.Close()
	}
	if s.mcp != nil {
		s.mcp.Close()
	}
}

// stands says that the boundary does.
func (s *session) stands() bool { return !over(s.box.Done()) }

// alive says that another run could use the session: its boundary stands, and its
// agent, if it is there yet, did not end.
func (s *session) alive() bool {
	return s.stands() && (s.conv == nil || !over(s.conv.Done()))
}

func over(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// exceeded is the limit that ended the session, nil if none did.
func (s *session) exceeded() *boundary.LimitError {
	if s == nil || s.box == nil {
		return nil
	}
	return s.box.Exceeded()
}

// why says why a session ends, for the record and for the group's next agent.
func (s *session) why() string {
	var words []string
	if cut := s.cut(); cut != nil {
		words = append(words, cut.Error())
	} else if s.ended != "" {
		words = append(words, s.ended)
	}
	if s.box != nil {
		words = append(words, s.box.Reached()...)
	}
	return strings.Join(words, "; ")
}

// open starts the boundary of a session. The caller records started before it
// starts anything inside.
func (r *Runner) open(ctx context.Context, engine string, s *session, terminal bool) error {
	uid, err := r.UID(ctx, s.grant.Group)
	if err != nil {
		return err
	}
	lost := make(chan error, 1)
	if err := s.guard.Begin(ctx, s.caller(), func(err error) { lost <- err }); err != nil {
		return err
	}
	s.way = r.Gateway(s.grant, s.caller())
	s.tools = r.Tools(s.grant, s.caller())
	if r.Servers != nil {
		s.mcp = r.Servers(s.grant, s.caller())
	}
	steps.Before(steps.Stand)
	s.box, err = r.Boundary.Start(ctx, engine, boundary.Spec{
		Grant: s.grant, Session: s.id, UID: uid, LandlockFloor: r.LandlockFloor, Log: r.log(s), Terminal: terminal,
		Files: s.way.Files(),
		Serve: func(kind wire.Kind, conn net.Conn) {
			if kind == wire.Tools {
				s.tools.Serve(conn)
				return
			}
			s.way.Serve(kind, conn)
		},
	})
	steps.After(steps.Stand)
	if err == nil {
		go s.obey(lost)
	}
	return err
}

// obey ends the session when its guard says so.
func (s *session) obey(lost <-chan error) {
	select {
	case err := <-lost:
		s.lost.Store(&err)
		s.box.Close()
	case <-s.box.Done():
	}
}

// cut is why somebody else than the agent ended the session, nil if nobody did:
// a limit, the guard, or what its wire carried.
func (s *session) cut() error {
	if limit := s.exceeded(); limit != nil {
		return limit
	}
	if s == nil {
		return nil
	}
	if lost := s.lost.Load(); lost != nil {
		return *lost
	}
	return s.breach()
}

// started is the entry about a boundary that stands.
func (s *session) started() audit.Entry {
	return audit.Entry{
		At: steps.Now(), Kind: audit.SessionStarted, Group: s.grant.Group, Run: s.caller().Run(), Session: s.id,
		Data: audit.SessionStartedData{
			Engine: s.box.Engine(), Layers: s.box.Layers(), Missing: s.box.Missing(), InitPID: s.box.PID(),
			Prepared: s.box.Prepared(), Attestation: s.box.Attestation(),
		},
	}
}

// ready makes sure that the session's agent is there, resuming the group's
// conversation, and makes it reachable for Interrupt.
func (r *Runner) ready(ctx context.Context, s *session, l *live) error {
	if s.conv == nil {
		steps.Before(steps.Open)
		conv, err := r.openAgent(ctx, s)
		steps.After(steps.Open)
		if err != nil {
			return err
		}
		s.conv = conv
	}
	r.mu.Lock()
	l.conv = s.conv
	r.mu.Unlock()
	return nil
}

// pick says which of the agent's own sessions a session of ours begins with:
// the one that was cut off, that of the conversation, or a new one.
func (r *Runner) pick(ctx context.Context, job queue.Job, s *session) error {
	s.thread = job.Thread()
	if s.grant.Agent == grant.Shell {
		return nil
	}
	state, err := r.Store.Remembered(ctx, job.Group, s.thread)
	if err != nil {
		return err
	}
	if s.talk.Session = job.Resume; s.talk.Session == "" && job.Conversation() == chat.Ongoing {
		s.talk.Session = state.AgentSession
	}
	if job.Last().Suspect() && !s.talk.Isolated { // the conversation itself may be what ends it
		s.talk.Session = ""
		s.anew = agent.FormatNote(begunAnew(agent.ClassPoison, 0)) + r.summary(ctx, s)
	}
	if s.resume = s.talk.Session != ""; !s.resume {
		s.talk.Session = agent.NewUUID()
		if s.thread != "" && s.anew == "" && !s.talk.Isolated {
			s.anew = r.beginning(ctx, job, s)
		}
	}
	if !s.talk.Isolated {
		s.news, s.told = state.Ended, state.Told
	}
	return nil
}

func (r *Runner) openAgent(ctx context.Context, s *session) (agent.Conversation, error) {
	adapter, ok := r.Agents[s.grant.Agent]
	if !ok {
		return nil, errors.New("there is no agent called " + s.grant.Agent)
	}
	o := agent.Options{
		Env: environ(s.grant), Dir: grant.Workspace, Argv0: grant.ClaudeDir + "/claude",
		Session: s.talk.Session, SystemPrompt: r.systemPrompt(s.grant, s.box.Seen(s.grant)),
		Unasked: func(u agent.Unasked) { r.unasked(s, u) },
		Log:     r.log(s), MaxOutput: s.grant.Limits.Output, ServerTools: s.grant.ServerTools(),
	}
	if err := r.watch(s, &o); err != nil {
		return nil, err
	}
	s.may = statement(s.grant, s.box.Seen(s.grant))
	if s.resume {
		o.Resume = s.talk.Session
		s.stale = s.told != toldMark(o.Resume, s.may)
	}
	r.choose(&o, s)
	giveServers(&o, s.tools, s.mcp)
	conv, err := adapter.Open(ctx, box{s.box}, o)
	if !errors.Is(err, agent.ErrSession) {
		return conv, err
	}
	r.log(s).Warn("the agent does not know its session any more and begins a new one")
	if err := r.startOver(ctx, s, begunAnew(agent.ClassSession, 0)); err != nil {
		return nil, err
	}
	o.Session, o.Resume = s.talk.Session, ""
	return adapter.Open(ctx, box{s.box}, o)
}

// unasked writes down what an agent said in a turn that nobody asked for. It goes
// no further: no run counts it, and a process inside could make up any of it.
func (r *Runner) unasked(s *session, u agent.Unasked) {
	err := r.Store.Record(context.Background(), audit.Entry{
		At: steps.Now(), Kind: audit.AgentUnasked, Group: s.grant.Group, Run: s.caller().Run(), Session: s.id,
		Data: audit.AgentUnaskedData{Origin: u.Origin, Text: u.Text, More: u.More},
	})
	if err != nil {
		r.log(s).Error("what an agent said without being asked could not be recorded", "err", err)
	}
}

// closeSession ends a session and writes it down.
func (r *Runner) closeSession(s *session) {
	data := audit.SessionEndedData{Reason: s.why()}
	if data.Reason == "" && s.box != nil && s.stands() && !s.alive() {
		data.Reason = "the agent ended by itself"
	} else if data.Reason != "" && s.used && !s.taken && s.grant.Agent != grant.Shell && !s.talk.Isolated { // a shell reads no words of ours
		defer r.remember(s, data.Reason+s.advice())
	}
	s.close()
	r.breached(s)
	if s.box == nil && !s.prepared {
		return
	}
	steps.Before(steps.End)
	// What follows it, the end of its run first of all, takes it along to the disk. A
	// machine that loses its power before has ended the session too.
	err := r.Store.RecordLater(context.Background(), audit.Entry{
		At: steps.Now(), Kind: audit.SessionEnded, Group: s.grant.Group, Run: s.caller().Run(), Session: s.id, Data: data,
	})
	steps.After(steps.End)
	if err != nil {
		r.log(s).Error("the end of a session could not be recorded", "err", err)
	}
}

// keep leaves a session warm until it was idle for its limit, is evicted, or ends
// by itself.
func (r *Runner) keep(s *session) {
	if !s.alive() || s.grant.Limits.IdleTime <= 0 {
		r.closeSession(s)
		return
	}
	r.park(s, s.grant.Limits.IdleTime)
}

// park puts a session into the pool and has its end noticed there.
func (r *Runner) park(s *session, idle time.Duration) {
	s.watched.Do(func() {
		conv := s.conv // a session whose agent is replaced does not come here again
		go func() {
			select {
			case <-s.box.Done():
			case <-conv.Done():
			}
			r.pool.died(s)
		}()
	})
	r.pool.put(s, idle)
	if !s.alive() {
		r.pool.died(s) // it was noticed before it was put
	}
	r.nudge()
}

// advice is for the agent whose doing ended its session, and "" for one that only
// waited.
func (s *session) advice() string {
	if s.waited && s.cut() == nil {
		return ""
	}
	return ". Do not do the same again"
}

// endWaiting ends a session that no run is waiting for. If it was a limit that
// ended it, nobody else tells the owner.
func (r *Runner) endWaiting(s *session, why string) {
	s.ended, s.waited = why, true
	if limit := s.exceeded(); limit != nil {
		r.Ended(s.grant.Group, s.id, fmt.Sprintf("Between two runs, the session of group %s was %s\n%s", s.grant.Group, limit.Error(), limit.Hint()))
	}
	r.closeSession(s)
	if s.prepared && !s.used {
		r.tries.lost(s.grant.Group, time.Since(s.began), steps.Now())
	}
	r.nudge()
}

// warm gives the session of a group that waits for a run, if it lives, its grant
// is equal to g and its way out is good for another run. One that is not is
// closed: rights are never mixed.
func (r *Runner) warm(group chat.Group, g grant.Grant) *session {
	s := r.pool.take(group)
	if s == nil {
		return nil
	}
	if !s.alive() || s.way.Stale() || !s.grant.Serves(g) {
		r.endWaiting(s, "")
		return nil
	}
	return s
}

// environ is the grant's environment as exec wants it.
func environ(g grant.Grant) []string {
	out := make([]string, len(g.Env))
	for i, v := range g.Env {
		out[i] = v.Name + "=" + v.Value
	}
	return out
}
