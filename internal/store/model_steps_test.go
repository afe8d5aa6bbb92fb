package store

import (
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/queue"
	"nanoclaw/internal/router"
	"nanoclaw/internal/runner"
)

// The steps of the model. Each does to the store and to the model the same, and
// compares what they answer.

func (w *world) accept() string {
	m := &mMessage{id: fmt.Sprintf("%d-%d", w.seed, len(w.messages)), group: pick(w.rnd, w.groups), thread: pick(w.rnd, []string{"", "", "#1", "#2"}), trigger: w.rnd.IntN(3) > 0, state: waiting}
	action := router.Run
	if !m.trigger {
		m.state, action = kept, router.Context
	}
	acc, err := pick(w.rnd, w.nodes).Accept(w.ctx, m.said(), router.Verdict{Group: m.group, Action: action}, 50, 0)
	if err != nil || !acc.Fresh {
		w.Errorf("accept: %+v, %v", acc, err)
	}
	m.row = acc.Row
	w.messages = append(w.messages, m)
	return fmt.Sprint(m.id, m.group, m.trigger)
}

// repeat is a network that brings a message again.
func (w *world) repeat() string {
	if len(w.messages) == 0 {
		return ""
	}
	m := pick(w.rnd, w.messages)
	acc, err := pick(w.rnd, w.nodes).Accept(w.ctx, m.said(), router.Verdict{Group: m.group, Action: router.Run}, 50, 0)
	if err != nil || acc.Fresh || acc.Row != m.row {
		w.Errorf("a message that came twice: %+v, %v", acc, err)
	}
	return m.id
}

func (w *world) claim() string { return w.claimBy(pick(w.rnd, w.nodes), pick(w.rnd, w.groups)) }

func (w *world) claimBy(n *Store, g chat.Group) string {
	r := &mRun{id: chat.RunID(fmt.Sprintf("%d-r%d", w.seed, len(w.runs))), group: g, state: runner.Queued, owner: n.owner, beat: w.now}
	job, err := n.Claim(w.ctx, g, r.id, w.now)
	next := w.waits(g)
	if w.liveOf(g) != nil {
		next = nil
	}
	if err != nil || (job != nil) != (len(next) > 0) {
		w.Errorf("claim of %s: %+v, %v; the model has %d messages", g, job, err, len(next))
	}
	if job == nil || len(next) == 0 {
		return ""
	}
	w.fences[g]++
	w.given(job.Messages, next, r)
	if job.Fence != w.fences[g] {
		w.Errorf("claim %d of %s, the model has %d", job.Fence, g, w.fences[g])
	}
	w.runs = append(w.runs, r)
	return fmt.Sprint(r.id, " by ", n.owner)
}

// given compares messages that a run got, in their order, and gives them to it.
func (w *world) given(got []queue.Message, want []*mMessage, r *mRun) {
	same := slices.EqualFunc(got, want, func(a queue.Message, b *mMessage) bool { return a.Row == b.row && a.Attempts == b.attempts })
	if !same {
		w.Errorf("run %s got %+v, the model gives it %d messages", r.id, got, len(want))
	}
	for _, m := range want {
		m.state, m.run = "claimed", r
	}
}

func (w *world) start() string {
	r, n, ours, ok := w.anyRun()
	if !ok {
		return ""
	}
	allowed := may("runs", string(r.state), "starting")
	w.same("start", n.Start(w.ctx, r.id, runner.Start{At: w.now}, w.entry(r, audit.RunStarted)), allowed, ours)
	if allowed && ours {
		r.state = runner.Starting
	}
	return fmt.Sprint(r.id, " by ", n.owner, allowed, ours)
}

func (w *world) running() string {
	r, n, ours, ok := w.anyRun()
	if !ok {
		return ""
	}
	allowed := may("runs", string(r.state), "running")
	w.same("running", n.Running(w.ctx, r.id), allowed, ours)
	if allowed && ours {
		r.state = runner.Running
	}
	return fmt.Sprint(r.id, " by ", n.owner, allowed, ours)
}

func (w *world) join() string {
	r, n, ours, ok := w.anyRun()
	if !ok || len(w.waits(r.group)) == 0 {
		return ""
	}
	next, err := n.Next(w.ctx, r.group)
	check(w, err)
	joined, err := n.Join(w.ctx, r.id, next, nil, w.entry(r, audit.RunJoined))
	allowed := r.state == runner.Running
	w.same("join", err, allowed, ours)
	if joined != (allowed && ours) {
		w.Errorf("joined: %v", joined)
	}
	if joined {
		w.given(next, w.waits(r.group), r)
	}
	return fmt.Sprint(r.id, " by ", n.owner, joined)
}

func (w *world) hold() string {
	r, n, ours, ok := w.anyRun()
	if !ok {
		return ""
	}
	h := runner.Hold{Key: string(r.group), Until: w.now.Add(time.Duration(w.rnd.IntN(60)) * time.Second)}
	mine := w.of(r)
	for _, m := range mine {
		if m.trigger {
			h.Rows = append(h.Rows, m.row)
		}
	}
	allowed := r.state == runner.Queued
	w.same("hold", n.Hold(w.ctx, r.id, h, w.entry(r, audit.RunHeld)), allowed, ours)
	if allowed && ours {
		w.back(r, 0)
		r.state = ""
		for _, m := range mine {
			if m.trigger {
				m.due, m.held = h.Until, true
			}
		}
	}
	return fmt.Sprint(r.id, " by ", n.owner, allowed, ours)
}

func (w *world) free() string {
	g := pick(w.rnd, w.groups)
	n := 0
	for _, m := range w.messages {
		if m.group == g && m.state == waiting && m.held {
			m.due, m.held = time.Time{}, false
			n++
		}
	}
	if got, err := pick(w.rnd, w.nodes).Free(w.ctx, string(g), ""); got != n || err != nil {
		w.Errorf("%d messages were freed, the model frees %d: %v", got, n, err)
	}
	return fmt.Sprint(g, n)
}

func (w *world) finish() string {
	r, n, _, ok := w.anyRun()
	if !ok {
		return ""
	}
	to := pick(w.rnd, []runner.State{runner.Succeeded, runner.Succeeded, runner.Failed, runner.Cancelled, runner.Interrupted, runner.Refused})
	return w.finishAs(r, n, to)
}

func (w *world) finishAs(r *mRun, n *Store, to runner.State) string {
	o := runner.Outcome{State: to, At: w.now, Replies: []chat.Outbound{{To: alice, Kind: chat.Reply, Text: "answer", Run: r.id, Group: r.group, Key: "run:" + string(r.id)}}}
	ours, allowed := r.owner == n.owner && r.state != "", may("runs", string(r.state), string(to))
	w.same("finish", n.Finish(w.ctx, r.id, o, ended(r.id, to)), allowed, ours)
	if allowed && ours {
		r.state = to
		w.put("run:" + string(r.id))
		if to == runner.Interrupted {
			w.back(r, 1)
		}
		for _, m := range w.of(r) {
			m.state = "done"
			m.ends++
		}
	}
	return fmt.Sprint(r.id, " as ", to, " by ", n.owner, allowed, ours)
}

func (w *world) release() string {
	r, n, ours, ok := w.anyRun()
	if !ok {
		return ""
	}
	allowed := live(r.state)
	w.same("release", n.Release(w.ctx, r.id), allowed, ours)
	if allowed && ours {
		w.back(r, 0)
		if r.state == runner.Queued {
			r.state = ""
		} else {
			r.state = runner.Interrupted
		}
	}
	return fmt.Sprint(r.id, " by ", n.owner, allowed, ours)
}

// speak is a message that an agent sends while its run goes on.
func (w *world) speak() string {
	r, n, _, ok := w.anyRun()
	if !ok || r.state == "" {
		return ""
	}
	key := fmt.Sprintf("%s:%d", r.id, len(w.sends))
	_, err := n.Put(w.ctx, chat.Outbound{To: bob, Kind: chat.Tool, Text: "words", Run: r.id, Group: r.group, Key: key}, w.now)
	w.same("speak", err, true, r.owner == n.owner)
	if err == nil {
		w.put(key)
	}
	return fmt.Sprint(r.id, " by ", n.owner, err)
}

func (w *world) put(key string) {
	s := &mSend{state: pending}
	check(w, w.main.Reader.db.QueryRowContext(w.ctx, `SELECT id FROM outbox WHERE key = ?`, key).Scan(&s.id))
	w.sends = append(w.sends, s)
}

// moveSend does something to a message that goes out, and compares.
func (w *world) moveSend(to string, do func(*Store, *mSend) error) string {
	s, ok := some(w.rnd, w.sends, func(s *mSend) bool { return may("outbox", s.state, to) || w.rnd.IntN(8) == 0 })
	if !ok {
		return ""
	}
	n := pick(w.rnd, w.nodes)
	allowed := may("outbox", s.state, to)
	ours := s.state != sending || s.owner == n.owner || !allowed
	w.same(to, do(n, s), allowed, ours)
	if allowed && ours {
		if s.state = to; to == sending {
			s.owner, s.beat = n.owner, w.now
		}
	}
	return fmt.Sprint(s.id, " by ", n.owner, allowed, ours)
}

func (w *world) send() string {
	return w.moveSend(sending, func(n *Store, s *mSend) error { return n.Sending(w.ctx, s.id, w.now) })
}

func (w *world) sent() string {
	return w.moveSend(sent, func(n *Store, s *mSend) error { return n.Sent(w.ctx, s.id, "n", w.now) })
}

func (w *world) retry() string {
	return w.moveSend(pending, func(n *Store, s *mSend) error { return n.Retry(w.ctx, s.id, "why", w.now) })
}

func (w *world) beat() string {
	n := pick(w.rnd, w.nodes)
	held, err := n.Beat(w.ctx, n.owner)
	var want []chat.RunID
	for _, r := range w.runs {
		if r.owner == n.owner && live(r.state) {
			r.beat = w.now
			want = append(want, r.id)
		}
	}
	for _, s := range w.sends {
		if s.owner == n.owner && s.state == sending {
			s.beat = w.now
		}
	}
	slices.Sort(held)
	slices.Sort(want)
	if !slices.Equal(held, want) || err != nil {
		w.Errorf("%s holds %v, in the model %v: %v", n.owner, held, want, err)
	}
	return n.owner
}

// die ends a process without a word, and another begins.
func (w *world) die() string {
	i := w.rnd.IntN(len(w.nodes))
	name := w.nodes[i].owner
	w.nodes = slices.Delete(w.nodes, i, i+1)
	w.node()
	return name
}

// takeOver comes after a silence more often than chance would have it.
func (w *world) takeOver() string {
	if w.rnd.IntN(2) == 0 {
		w.now = w.now.Add(LeaseTime)
	}
	return w.takeOverBy(pick(w.rnd, w.nodes))
}

func (w *world) takeOverBy(n *Store) string {
	const most = queue.MaxAttempts
	back, err := n.Recover(w.ctx, most, w.now)
	check(w, err)
	silent := w.now.Add(-LeaseTime)
	runs, sends, lost := 0, 0, 0
	for _, r := range w.runs {
		if !live(r.state) || r.owner == n.owner || r.beat.After(silent) {
			continue
		}
		runs++
		for _, m := range w.of(r) {
			if m.attempts+1 >= most {
				m.state, m.attempts = "dead", m.attempts+1
				if m.ends++; m.trigger {
					lost++
				}
			}
		}
		w.back(r, 1)
		r.state, r.owner = runner.Interrupted, n.owner
	}
	for _, s := range w.sends {
		if s.state == sending && s.owner != n.owner && !s.beat.After(silent) {
			s.state = pending
			sends++
		}
	}
	if len(back.Runs) != runs || back.Sent != sends || len(back.Lost) != lost {
		w.Errorf("taken back %+v, the model %d runs, %d messages to send, %d given up", back, runs, sends, lost)
	}
	if runs+sends == 0 {
		return ""
	}
	return fmt.Sprint("by ", n.owner, " of ", runs, sends)
}

func (w *world) clock() string {
	by := pick(w.rnd, []time.Duration{time.Second, LeaseTime / 2, LeaseTime, LeaseTime, 2 * LeaseTime, time.Hour, -time.Second, -LeaseTime})
	w.now = w.now.Add(by)
	return by.String()
}

// role is a node that wants to be the one of many, or gives that back.
func (w *world) role() string {
	const ttl = 10 * time.Second
	n, name := pick(w.rnd, w.nodes), fmt.Sprint("role", w.seed)
	if w.rnd.IntN(4) == 0 {
		check(w, n.ReleaseLease(w.ctx, name, n.owner))
		if w.lease.owner == n.owner {
			w.lease.owner, w.lease.until = "", time.Time{}
		}
		return n.owner + " gives it back"
	}
	fence, held, err := n.Acquire(w.ctx, name, n.owner, ttl)
	check(w, err)
	want := w.lease.owner == "" || w.lease.owner == n.owner || !w.lease.until.After(w.now)
	if want {
		if w.lease.owner != n.owner {
			w.lease.fence++
		}
		w.lease.owner, w.lease.until = n.owner, w.now.Add(ttl)
	}
	if held != want || held && fence != w.lease.fence {
		w.Errorf("%s got the lease: %v, %d; in the model %v, %d", n.owner, held, fence, want, w.lease.fence)
	}
	return fmt.Sprint(n.owner, held)
}

// compare reads what the store has of this seed.
func (w *world) compare() {
	w.Helper()
	if len(w.messages) == 0 {
		return
	}
	var got, want []string
	check(w, each(w.ctx, w.main.Reader.db, func(rows *sql.Rows) error {
		var id, state, run string
		var attempts int
		var due int64
		err := rows.Scan(&id, &state, &run, &attempts, &due)
		got = append(got, fmt.Sprint(id, state, run, attempts, due > w.now.UnixNano()))
		return err
	}, `SELECT message, state, coalesce(run, ''), attempts, due FROM inbox WHERE id >= ? ORDER BY id`, w.messages[0].row))
	for _, m := range w.messages {
		run := ""
		if m.run != nil {
			run = string(m.run.id)
		}
		want = append(want, fmt.Sprint(m.id, m.state, run, m.attempts, m.due.After(w.now)))
	}
	check(w, each(w.ctx, w.main.Reader.db, func(rows *sql.Rows) error {
		var id, state, owner string
		err := rows.Scan(&id, &state, &owner)
		got = append(got, fmt.Sprint(id, state, owner))
		return err
	}, `SELECT id, state, owner FROM runs WHERE grp = ? OR grp = ? ORDER BY row`, w.groups[0], w.groups[1]))
	for _, r := range w.runs {
		if r.state != "" {
			want = append(want, fmt.Sprint(r.id, r.state, r.owner))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.Errorf("the store is not as the model:\n%s", diff)
	}
}

// drain works everything off, on a node that begins an hour after all else was
// silent, and looks at what became of each message.
func (w *world) drain() {
	w.compare()
	w.now = noon.AddDate(1, 0, 0)
	w.nodes = nil
	w.node()
	n := w.nodes[0]
	w.takeOverBy(n)
	for _, g := range w.groups {
		for w.claimBy(n, g) != "" {
			r := w.runs[len(w.runs)-1]
			check(w, n.Start(w.ctx, r.id, runner.Start{At: w.now}, w.entry(r, audit.RunStarted)))
			check(w, n.Running(w.ctx, r.id))
			r.state = runner.Running
			w.finishAs(r, n, runner.Succeeded)
		}
	}
	for _, s := range w.sends {
		if s.state == sent {
			continue
		}
		check(w, n.Sending(w.ctx, s.id, w.now))
		check(w, n.Sent(w.ctx, s.id, "n", w.now))
	}
	w.compare()
	for _, m := range w.messages {
		if over := m.state == "done" || m.state == "dead"; m.trigger && !over || over && m.ends != 1 {
			w.Errorf("message %s is %s and ended %d times", m.id, m.state, m.ends)
		}
	}
}
