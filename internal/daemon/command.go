package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"nanoclaw/internal/approval"
	"nanoclaw/internal/authority"
	"nanoclaw/internal/channel"
	"nanoclaw/internal/channel/console"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/queue"
	"nanoclaw/internal/router"
	"nanoclaw/internal/store"
)

// forHost takes what the router found to be for the host: answers, commands, and
// what was refused. None of it ever enters a prompt.
func (d *Daemon) forHost(ctx context.Context, in chat.Inbound, v router.Verdict) {
	switch {
	case v.Action == router.Answer, v.Action == router.Do, v.Pairing != "":
		d.hostsOwn(ctx, in, v)
	case v.Unknown:
		d.stranger(ctx, in, v)
	case v.Words:
		d.refuseOnce(ctx, in, v)
	}
}

// answerRole says what somebody may answer for a group, to the desk.
func (d *Daemon) answerRole(by approval.Who, g chat.Group) approval.Role {
	rules := d.router.Rules()
	switch rules.RoleIn(by.From, by.Sender, g) {
	case authority.Owner:
		return approval.Owner
	case authority.Admin:
		who := rules.Actor(chat.Inbound{From: by.From, Sender: by.Sender}, rules.GroupOf(by.From))
		if authority.Decide(authority.Approve.Toward(who, g), who).Allowed() {
			return approval.Admin
		}
	}
	return approval.Nobody
}

// refuseOnce tells somebody who may speak but not command why not: once a day,
// so that nobody makes the host talk.
func (d *Daemon) refuseOnce(ctx context.Context, in chat.Inbound, v router.Verdict) {
	d.notice(ctx, in, fmt.Sprintf("refused:%s:%s:%s", in.From, v.Who.Sender, time.Now().UTC().Format(time.DateOnly)), "Refused: "+v.Reason+".", true)
}

// notice says something in the chat of a message, once for a key.
func (d *Daemon) notice(ctx context.Context, in chat.Inbound, key, text string, failed bool) {
	_, err := d.outbox.Put(context.WithoutCancel(ctx), chat.Outbound{To: in.From, Kind: chat.Notice, Text: text, Failed: failed, Key: key})
	if err != nil {
		d.log.Error("a notice could not be stored", "chat", in.From, "err", err)
	}
	d.outbox.Wake()
}

// commandKey is under which the answer to a command goes out.
func commandKey(from chat.Address, id chat.MessageID) string {
	return fmt.Sprintf("command:%s:%s", from, id)
}

// command carries out a command before the message counts as taken in, so that
// commands keep their order. A terminal hears of a mistake as the answer to its
// message, another chat by a notice.
func (d *Daemon) command(ctx context.Context, in chat.Inbound, v router.Verdict) {
	text, err := d.obey(context.WithoutCancel(ctx), v.Command, v.Who)
	if v.Again && errors.Is(err, errNotPaused) {
		text, err = err.Error()+" any more.", nil // by the process that began with it
	}
	key := commandKey(in.From, in.ID)
	if v.Who.Role == authority.Member { // whoever may only talk does not make the host talk
		key = fmt.Sprintf("command:%s:%s:%s:%d", in.From, v.Who.Sender, v.Command.Verb, time.Now().Unix()/60)
	}
	if err != nil && in.From.Channel == console.ID && !v.Again {
		d.mistakes.put(in.ID, err.Error())
		return
	}
	if err != nil {
		text = err.Error()
	}
	d.notice(ctx, in, key, text, err != nil)
}

// errUsage says what may follow a command.
var errUsage = errors.New("not understood: /help lists the commands, and what may follow each")

// errNotPaused follows the name of what was to be resumed.
var errNotPaused = errors.New("is not paused")

// obey does what a command says, as far as whoever gave it may, and tells what
// came of it.
func (d *Daemon) obey(ctx context.Context, c router.Command, who authority.Actor) (string, error) {
	c, wish := modeWish(c)
	if c.Verb == router.Register {
		return d.obeyRegister(ctx, c, who)
	}
	g, run, err := d.target(ctx, c, who)
	if err != nil {
		return "", err
	}
	act := c.Act().Toward(who, g)
	if g == queue.AllGroups {
		act = c.Act().ToAll()
	}
	if v := authority.Decide(act, who); !v.Allowed() {
		return "", errors.New(v.Reason)
	}
	switch c.Verb {
	case router.Stop:
		return d.obeyStop(ctx, g, run, who)
	case router.Pause:
		if err := d.pause(ctx, g, "", who); err != nil {
			return "", err
		}
		return "Paused " + nameOrAll(g) + ": no run begins, and messages wait until /resume. Runs that go on are left alone: /stop ends them.", nil
	case router.Resume:
		if err := d.resume(ctx, g, who); err != nil {
			return "", fmt.Errorf("%s %w", nameOrAll(g), errNotPaused)
		}
		return "Resumed " + nameOrAll(g) + ".", nil
	case router.Status:
		return d.statusWords(ctx, g)
	case router.Tasks:
		return d.obeyTasks(ctx, g)
	case router.Mode:
		return d.modeWords(ctx, g, wish)
	case router.Cost:
		return d.obeyCost(ctx, g)
	case router.Why:
		return d.obeyWhy(ctx, g, run, who)
	case router.Approve, router.Deny:
		return d.questionWords(who), nil
	case router.Help:
		return router.HelpText(who), nil
	}
	return "", errUsage
}

// target is what a command is about: a group, "" for all of them, and for stop and why
// perhaps one of its runs. Whether somebody may learn that a group or a run
// exists is decided before they do.
func (d *Daemon) target(ctx context.Context, c router.Command, who authority.Actor) (chat.Group, chat.RunID, error) {
	switch {
	case c.Verb == router.Clear, c.Target != "" && (c.Verb == router.Help || c.Verb == router.Approve || c.Verb == router.Deny):
		return "", "", errUsage
	case c.Target == "":
		return who.Group, "", nil
	case c.Verb == router.Why && strings.EqualFold(c.Target, router.All):
		return "", "", errUsage
	case strings.EqualFold(c.Target, router.All):
		return queue.AllGroups, "", nil
	case strings.Contains(c.Target, " "):
		return "", "", errUsage
	case d.router.Rules().Knows(chat.Group(c.Target)):
		return chat.Group(c.Target), "", nil
	}
	info, err := d.store.Run(ctx, chat.RunID(strings.ToLower(c.Target)))
	found := err == nil && (c.Verb == router.Stop || c.Verb == router.Why)
	if !found || info.Group != who.Group {
		if v := authority.Decide(c.Act().Toward(who, ""), who); !v.Allowed() {
			return "", "", errors.New(v.Reason)
		}
	}
	switch {
	case found:
		return info.Group, info.ID, nil
	case err == nil || errors.Is(err, store.ErrNotFound):
		return "", "", fmt.Errorf("there is no group or run %s. %w", channel.OneLine(c.Target, 40), errUsage)
	}
	return "", "", err
}

func (d *Daemon) obeyStop(ctx context.Context, g chat.Group, run chat.RunID, who authority.Actor) (string, error) {
	r := control.StopRequest{Group: g, All: g == queue.AllGroups}
	if run != "" {
		r = control.StopRequest{Run: run}
	}
	done, err := d.stopFor(ctx, r, who)
	var no *control.Error
	switch {
	case errors.As(err, &no):
		return "", errors.New(no.Message)
	case err != nil:
		return "", err
	case len(done.Runs) == 0 && len(done.Paused) == 0:
		return "Nothing is going on.", nil
	}
	text := "Nothing was going on."
	if len(done.Runs) > 0 {
		text = "Stopped " + joinWords(done.Runs) + "."
	}
	if len(done.Paused) > 0 {
		text += " Messages wait in " + joinWords(done.Paused) + ", and nothing of them is lost: /resume lets them go on."
	}
	return text, nil
}

// joinWords lists names.
func joinWords[T ~string](names []T) string {
	var out []string
	for _, n := range names {
		out = append(out, string(n))
	}
	return strings.Join(out, ", ")
}

// statusWords tells how a group stands, or all of them, in words that hold
// nothing of what anybody wrote.
func (d *Daemon) statusWords(ctx context.Context, g chat.Group) (string, error) {
	groups := []chat.Group{g}
	if g == queue.AllGroups {
		groups = d.groupNames()
	}
	open, err := d.store.Status(ctx)
	if err != nil {
		return "", err
	}
	waiting, err := d.store.Waiting(ctx)
	if err != nil {
		return "", err
	}
	paused, err := d.store.PausedGroups(ctx)
	if err != nil {
		return "", err
	}
	var lines []string
	if held := d.queue.Held(); held != "" {
		lines = append(lines, "No run begins: "+held)
	}
	for _, name := range groups {
		var words []string
		for _, p := range paused {
			if p.Group == name || p.Group == queue.AllGroups {
				words = append(words, "paused by "+strings.ToLower(pausedBy(p)[:1])+pausedBy(p)[1:])
			}
		}
		for _, r := range open.Live {
			if r.Group == name {
				words = append(words, fmt.Sprintf("run %s for %v", r.ID, time.Since(r.Queued).Round(time.Second)))
			}
		}
		if slices.Contains(waiting, name) {
			words = append(words, "messages wait")
		}
		if words == nil {
			words = []string{"nothing to do"}
		}
		lines = append(lines, string(name)+": "+strings.Join(words, "; "))
	}
	return strings.Join(lines, "\n"), nil
}
