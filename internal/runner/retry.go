package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/boundary"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/queue"
	"nanoclaw/internal/steps"
)

// What becomes of messages whose run failed, by the class of the failure:
//
//   - of the account (credential, billing, rate limit): they wait, and so do those of
//     every group with that provider; one run at a time tries whether it is over
//   - the model is overloaded or out of reach, the agent does not start, the boundary
//     cannot be built: they wait, and their group does
//   - the agent ended in the middle: again, at most queue.MaxAttempts times, the last
//     one alone and in a new session; then given up
//   - all else, time and other limits among it: it is said, and not repeated
//
// That an account or a model is in trouble is believed if the host's own gateway saw
// it: an agent could make it up, and hold up every group.

// refusedBy are the statuses with which a model refuses, as the gateway saw them.
var refusedBy = map[agent.Class][]int{
	agent.ClassCredential: {401, 403}, agent.ClassExpired: {401, 403}, agent.ClassBilling: {400, 402, 403}, agent.ClassRateLimit: {429},
	agent.ClassOverloaded: {500, 502, 503, 504, 529}, agent.ClassUnreachable: {500, 502, 503, 504, 529},
}

// afterwards says what becomes of the messages of a run that failed.
func (r *Runner) afterwards(ctx context.Context, job queue.Job, s *session, res agent.Result, err error, o *Outcome, log *slog.Logger) {
	if o.State != Failed {
		return
	}
	if t := r.trouble(ctx, job, s, res, err, *o, log); t != nil {
		o.Trouble = t
		return
	}
	if s == nil || s.grant.Agent != grant.Claude || !crashed(classOf(res, err)) || err == nil {
		return
	}
	more := false
	for _, m := range job.Messages {
		switch {
		case m.Trigger && m.Attempts+1 >= r.MaxAttempts:
			o.Dead = append(o.Dead, m.Row)
		case m.Trigger:
			more = true
		}
	}
	if more {
		o.State = Interrupted // another run answers; of what is given up is told
	}
}

// crashed says that an agent which ended so is started again.
func crashed(c agent.Class) bool { return c == agent.ClassEnded || c == agent.ClassProtocol }

// trouble is why the messages of a run wait, nil if they do not.
func (r *Runner) trouble(ctx context.Context, job queue.Job, s *session, res agent.Result, err error, o Outcome, log *slog.Logger) *Trouble {
	class := classOf(res, err)
	t := &Trouble{Class: class, Key: GroupTrouble(job.Group), Text: o.Error, Since: o.At}
	seen, retry := r.refusal(job.Run, res)
	switch {
	case class == agent.ClassBoundary:
		t.Untouched = true
	case class == agent.ClassStart && s != nil && s.grant.Agent == grant.Claude:
		t.Untouched = true
	case !slices.Contains(refusedBy[class], seen) || s == nil || s.grant.Model == nil:
		return nil
	case class.Account():
		t.Key = ModelTrouble(s.grant.Model.Provider)
	}
	t.Anew = res.ToolCalls == 0 && len(res.Done) == 0 && err == nil
	known, lookErr := r.known(ctx, t.Key)
	if lookErr != nil {
		log.Error("what is wrong cannot be read; it is tried again as if it were new", "err", lookErr)
	}
	if known != nil {
		t.Since, t.Tries = known.Since, known.Tries
	}
	if t.Until = o.At.Add(Backoff(class, t.Tries, rand.Float64())); retry.After(o.At) {
		t.Until = retry
	}
	t.Notices = r.notices(job, *t, o.At)
	return t
}

// refusal is how the model refused the last request of a run, and until when.
func (r *Runner) refusal(run chat.RunID, res agent.Result) (status int, retry time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.live[run]
	if l == nil {
		return 0, time.Time{}
	}
	if !l.retry.IsZero() {
		return l.status, l.retry
	}
	return l.status, res.Retry
}

// known gives a trouble that goes on, nil if there is none.
func (r *Runner) known(ctx context.Context, key string) (*Trouble, error) {
	all, err := r.Store.Troubles(context.WithoutCancel(ctx))
	if i := slices.IndexFunc(all, func(t Trouble) bool { return t.Key == key }); i >= 0 {
		return &all[i], err
	}
	return nil, err
}

// Backoff is how long messages wait after a failure of a class that was met so often
// before: twice as long each time, up to a bound, and a fifth more or less by chance
// (0 to 1), so that many do not come back at once.
func Backoff(c agent.Class, tries int, chance float64) time.Duration {
	first, most := time.Minute, time.Hour
	switch c {
	case agent.ClassOverloaded, agent.ClassUnreachable:
		first, most = 15*time.Second, 30*time.Minute
	}
	wait := min(first<<min(tries, 20), most)
	return time.Duration(float64(wait) * (0.8 + 0.4*chance))
}

// notices tell the chat of a run what is wrong, and if it is wrong for all groups
// the owner, who is told of a credential by whoever reads it. The store lets each
// out once for a trouble.
func (r *Runner) notices(job queue.Job, t Trouble, now time.Time) []chat.Outbound {
	to := job.Last().From
	out := []chat.Outbound{{To: to, Kind: chat.Notice, Text: r.troubleWords(t, now), Group: job.Group, Run: job.Run, Failed: true, Last: true}}
	if t.Class == agent.ClassCredential || t.Class == agent.ClassExpired {
		return out
	}
	if r.Owner != (chat.Address{}) && r.Owner != to && (strings.HasPrefix(t.Key, "model/") || t.Class == agent.ClassBoundary) {
		who := "This holds for group " + string(job.Group) + ": "
		if strings.HasPrefix(t.Key, "model/") {
			who = "This holds for all groups with this model until it is over: "
		}
		out = append(out, chat.Outbound{To: r.Owner, Kind: chat.Notice, Text: who + r.troubleWords(t, now), Group: chat.Main, Failed: true})
	}
	return out
}

// troubleWords say what is wrong, that nothing is lost, and when it goes on.
func (r *Runner) troubleWords(t Trouble, now time.Time) string {
	text := t.Text + "\nWhat is written here waits and is not lost. "
	switch t.Class {
	case agent.ClassRateLimit:
		return text + "It goes on by itself " + r.when(t.Until, now) + "."
	case agent.ClassCredential, agent.ClassExpired:
		return text + "It goes on by itself once a valid credential is set; without that it is tried again from time to time, first " + r.when(t.Until, now) + "."
	}
	return text + "It is tried again by itself until it goes, first " + r.when(t.Until, now) + "."
}

// Waits is the answer "not yet" for messages whose run would meet a trouble.
func (r *Runner) Waits(t Trouble, g chat.Group) *grant.Wait {
	return &grant.Wait{
		Refusal: grant.Refusal{Rule: "trouble." + string(t.Class), Text: t.Text}, Until: t.Until, Window: t.Until, Hold: t.Key,
	}
}

// troubleOf finds the trouble for which messages wait; nil if they wait for another
// reason.
func (r *Runner) troubleOf(ctx context.Context, w *grant.Wait) *Trouble {
	if !strings.HasPrefix(w.Rule, "trouble.") {
		return nil
	}
	t, err := r.known(ctx, w.Hold)
	if err != nil || t == nil {
		return nil
	}
	return t
}

// tries notes of which troubles a run tries whether they are over.
func (l *live) tries(reservation *Reservation) {
	if reservation != nil {
		l.trying = reservation.Trying
	}
}

// mended ends the troubles that a run tries: "" says that the model answered it, and
// ClassBoundary that its boundary stands.
func (r *Runner) mended(run chat.RunID, what agent.Class) {
	r.mu.Lock()
	l := r.live[run]
	if l == nil || len(l.trying) == 0 {
		r.mu.Unlock()
		return
	}
	trying := l.trying
	if what == "" {
		l.trying = nil
	}
	r.mu.Unlock()
	for _, key := range trying {
		if what != "" {
			if t, err := r.known(context.Background(), key); err != nil || t == nil || t.Class != what {
				continue
			}
		}
		r.over(key)
	}
}

// over ends a trouble.
func (r *Runner) over(key string) {
	text := "It goes again, and what waited goes on."
	if strings.HasPrefix(key, "model/") {
		text = "The model answers again, and what waited goes on."
	}
	found, err := r.Store.Over(context.Background(), key, text, steps.Now())
	if err != nil {
		r.Log.Error("that something goes again could not be noted; it is noted with the next try", "trouble", key, "err", err)
	}
	if found {
		r.Log.Info("a trouble is over", "trouble", key)
		r.Replied()
		if r.Freed != nil {
			r.Freed()
		}
	}
}

// deadWords say that messages were given up, and how to take them up again.
func deadWords(o Outcome) string {
	if len(o.Dead) == 0 {
		return ""
	}
	rows := make([]string, len(o.Dead))
	for i, row := range o.Dead {
		rows[i] = fmt.Sprint(row)
	}
	return fmt.Sprintf("%s\nThis was tried %d times, and is given up so that what came after it goes on. To try it once more: nanoclaw dead retry %s",
		o.Error, queue.MaxAttempts, strings.Join(rows, " "))
}

// startOf finds in an error that the boundary could not be started.
func startOf(err error) bool {
	_, ok := errors.AsType[*boundary.StartError](err)
	return ok
}
