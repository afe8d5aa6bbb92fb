package daemon

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"nanoclaw/internal/approval"
	"nanoclaw/internal/audit"
	"nanoclaw/internal/authority"
	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/router"
	"nanoclaw/internal/store"
)

// Bounds of the questions about unknown senders.
const (
	askSender     = "sender"       // the act of such a question
	askSenderTime = 24 * time.Hour // silence is a no by then
	askSenderOpen = 4              // at once: the desk has other questions of the group too
	askPerHour    = 3
	askName       = 60 // characters of what they call themselves
)

// people is what is known of senders beside the configuration and the rights.
type people struct {
	change sync.Mutex // held while something is decided about them; taken before mu

	mu        sync.Mutex // guards all below
	strangers []store.Stranger
	hour      time.Time // when the first question of this hour was asked
	asked     int       // in this hour
	// kept are those of whom the owner was not asked, by group and identity, to
	// be counted; more are not told apart.
	kept map[string]bool

	pairs struct {
		mu  sync.Mutex // taken last
		now pairings
	}
}

// maxKept bounds how many senders are told apart.
const maxKept = 1000

// loadPeople reads what was decided about senders, and gives the router rules of it.
func (d *Daemon) loadPeople(ctx context.Context) error {
	all, err := d.store.Strangers(ctx)
	if err != nil {
		return err
	}
	d.people.mu.Lock()
	d.people.strangers = all
	d.people.mu.Unlock()
	if err := d.loadPairs(ctx); err != nil {
		return err
	}
	return d.newRules()
}

// newRules gives the router the rules of now. When it returns, no message is
// decided by others.
func (d *Daemon) newRules() error {
	if d.router == nil {
		return nil // it gets them when it is made
	}
	rules, err := router.NewRules(d.config, d.decisions())
	if err != nil {
		return err
	}
	rules.Name = d.router.Rules().Name // it may have been changed since the start
	d.router.SetRules(rules)
	return nil
}

// decisions are the owner's about senders.
func (d *Daemon) decisions() []router.Decision {
	var out []router.Decision
	for _, r := range d.rightsNow() {
		if r.Kind == store.RightSender {
			out = append(out, router.Decision{Group: r.Group, Sender: r.Subject})
		}
		if r.Kind == store.RightToken {
			out = append(out, router.Decision{Group: r.Group, Sender: r.Subject, Chat: true})
		}
	}
	d.people.mu.Lock()
	defer d.people.mu.Unlock()
	for _, s := range d.people.strangers {
		if s.Denied {
			out = append(out, router.Decision{Group: s.Group, Sender: s.Sender, Deny: true})
		}
	}
	return out
}

// stranger is told of a message of somebody of whom nothing is decided. The
// owner is asked once about them in this group; nothing that they wrote is in
// the question but the name that they gave themselves.
func (d *Daemon) stranger(ctx context.Context, in chat.Inbound, v router.Verdict) {
	d.people.change.Lock()
	defer d.people.change.Unlock()
	ctx = context.WithoutCancel(ctx)
	who := store.Stranger{
		Group: v.Group, Sender: v.Who.Sender, Name: channel.OneLine(in.Sender.Name, askName), From: in.From.String(), At: time.Now().UTC(),
	}
	if !d.mayAsk(ctx, who) {
		return
	}
	_, err := d.desk.Put(ctx, senderEffect(who, in.From), askSenderTime, nil)
	if err == nil {
		err = d.store.NoteStranger(ctx, who)
	}
	if err == nil {
		err = d.loadPeople(ctx)
	}
	if err != nil {
		d.log.Error("the owner could not be asked about a sender", "sender", who.Sender, "group", who.Group, "err", err)
	}
}

// senderEffect is what a yes about somebody would do.
func senderEffect(who store.Stranger, from chat.Address) approval.Effect {
	return approval.Effect{
		Act: askSender, Group: who.Group, From: from, Grows: true,
		Title: "Somebody new wants to speak in " + string(who.Group) + ".",
		Choices: []approval.Choice{
			{Word: "allow", Says: "for good"},
			{Word: "pair", Says: "if they give a code that you pass on to them yourself"},
		},
		Parts: []approval.Part{
			{Name: "sender", Value: who.Sender}, {Name: "calls themselves", Value: who.Name}, {Name: "chat", Value: from.String()},
		},
	}
}

// mayAsk says whether the owner is asked about somebody now. A flood of
// strangers costs them a few questions an hour and a word about the rest.
func (d *Daemon) mayAsk(ctx context.Context, who store.Stranger) bool {
	open := 0
	for _, a := range d.desk.Open() {
		if a.Act == askSender {
			open++
		}
	}
	p := &d.people
	p.mu.Lock()
	defer p.mu.Unlock()
	if slices.ContainsFunc(p.strangers, func(s store.Stranger) bool { return s.Group == who.Group && s.Sender == who.Sender }) {
		return false
	}
	kept := 0
	if who.At.Sub(p.hour) >= time.Hour {
		kept = len(p.kept)
		p.hour, p.asked, p.kept = who.At, 0, nil
	}
	if kept > 0 {
		d.tellOwner(ctx, fmt.Sprintf("strangers:%d", p.hour.UnixNano()),
			fmt.Sprintf("In the last hour I kept back questions about %s other unknown senders. What they wrote is refused. Whoever writes again is asked about. nanoclaw people allow lets somebody in.", atLeast(kept)))
	}
	if p.asked < askPerHour && open < askSenderOpen {
		p.asked++
		return true
	}
	if p.kept == nil {
		p.kept = map[string]bool{}
		d.tellOwner(ctx, fmt.Sprintf("strangers:%d:more", p.hour.UnixNano()),
			fmt.Sprintf("More unknown senders write than I ask you about (%d an hour, %d at once; now also in %s). What they write is refused, and I say in an hour how many they were.", askPerHour, askSenderOpen, who.Group))
	}
	if len(p.kept) < maxKept {
		p.kept[string(who.Group)+":"+who.Sender] = true
	}
	return false
}

func atLeast(n int) string {
	if n >= maxKept {
		return fmt.Sprintf("%d or more", n)
	}
	return fmt.Sprint(n)
}

// senderDecided follows the answer to a question about a sender. Silence leaves
// them refused, and the owner is not asked again. So does a question that ended
// for another reason than the owner's own word, such as too many wrong codes.
func (d *Daemon) senderDecided(ctx context.Context, e approval.Effect, s approval.State, by approval.Who) error {
	who := store.Stranger{Group: e.Group, From: e.From.String(), At: time.Now().UTC()}
	for _, p := range e.Parts {
		switch p.Name {
		case "sender":
			who.Sender = p.Value
		case "calls themselves":
			who.Name = p.Value
		}
	}
	d.people.change.Lock()
	defer d.people.change.Unlock()
	switch {
	case s == approval.Approved && by.Choice == "pair":
		return d.tellPairing(ctx, who.Group, by)
	case s == approval.Approved:
		return d.letIn(ctx, who, by, "the owner was asked, and said yes")
	case s == approval.Denied && by.Role == approval.Owner:
		return d.shutOut(ctx, who, by)
	}
	return nil
}

// letIn lets somebody speak in a group from now on. people.change is held.
func (d *Daemon) letIn(ctx context.Context, who store.Stranger, by approval.Who, why string) error {
	err := d.allow(ctx, store.Right{Kind: store.RightSender, Group: who.Group, Subject: who.Sender}, by, why)
	if err == nil { // an earlier no would hold otherwise
		_, err = d.store.ForgetStranger(ctx, who, false, peopleEntry(who, by, "forget sender"))
	}
	if err != nil {
		return err
	}
	return d.loadPeople(ctx)
}

// shutOut keeps the owner's no, and takes back a right that was there.
func (d *Daemon) shutOut(ctx context.Context, who store.Stranger, by approval.Who) error {
	if err := d.takeRight(ctx, who, by); err != nil {
		return err
	}
	if err := d.store.DenyStranger(ctx, who, peopleEntry(who, by, "deny sender")); err != nil {
		return err
	}
	if err := d.loadPeople(ctx); err != nil {
		return err
	}
	// What was decided by the old rules while this went on is stored by now.
	return d.store.RefuseWaiting(ctx, who)
}

// takeRight takes somebody's right to speak back, if there is one.
func (d *Daemon) takeRight(ctx context.Context, who store.Stranger, by approval.Who) error {
	r, ok := d.right(store.RightSender, who.Group, who.Sender)
	if !ok {
		return nil
	}
	_, err := d.disallow(ctx, r.ID, by, "the owner took it back")
	return err
}

func peopleEntry(who store.Stranger, by approval.Who, act string) audit.Entry {
	data := audit.OwnerActedData{Act: act, Target: who.Sender, Detail: "group " + string(who.Group)}
	if !terminal(by) {
		data.By, data.Role, data.From = authority.Identity(by.From.Channel, by.Sender.ID), string(authority.Owner), by.From.String()
	}
	return audit.Entry{At: time.Now(), Kind: audit.OwnerActed, Group: who.Group, Data: data}
}

func terminal(by approval.Who) bool {
	return chat.Inbound{From: by.From, Sender: by.Sender}.Terminal()
}

// People lists who may speak, who is asked about, and who was denied.
func (d *Daemon) People(context.Context) ([]control.Person, error) {
	out := []control.Person{}
	for id, p := range d.config.People {
		person := control.Person{Sender: id, Name: p.Name, Role: p.Role, State: control.PersonAllowed, Origin: "configuration"}
		if p.Role == string(authority.Owner) {
			out = append(out, person)
		}
		for _, g := range p.Groups {
			person.Group, person.Role = chat.Group(g), orMember(p.Role)
			out = append(out, person)
		}
	}
	for g, c := range d.config.Groups {
		for _, s := range c.Senders {
			if !slices.ContainsFunc(out, func(p control.Person) bool { return p.Sender == s && p.Group == chat.Group(g) }) && g != string(chat.Main) {
				out = append(out, control.Person{Sender: s, Name: d.config.People[s].Name, Group: chat.Group(g), Role: string(authority.Member), State: control.PersonAllowed, Origin: "configuration"})
			}
		}
	}
	for _, r := range d.rightsNow() {
		if r.Kind == store.RightSender {
			out = append(out, control.Person{Sender: r.Subject, Name: d.config.People[r.Subject].Name, Group: r.Group, Role: string(authority.Member), State: control.PersonAllowed, Origin: "decision", At: r.At})
		}
	}
	d.people.mu.Lock()
	defer d.people.mu.Unlock()
	for _, s := range d.people.strangers {
		person := control.Person{Sender: s.Sender, Name: s.Name, Group: s.Group, State: control.PersonAsked, Origin: "decision", At: s.At}
		if s.Denied {
			person.State = control.PersonDenied
		}
		out = append(out, person)
	}
	slices.SortStableFunc(out, control.Person.Compare)
	return out, nil
}

func orMember(role string) string {
	if role == "" {
		return string(authority.Member)
	}
	return role
}

// errNotHere are the words for what people cannot be given in main.
var errNotHere = &control.Error{Code: control.CodeUsage, Message: "main is your own chat: nobody else speaks there", Hint: "give yourself the role owner in the configuration's people, if it is you"}

// PeopleAct decides about somebody in a group.
func (d *Daemon) PeopleAct(ctx context.Context, r control.PeopleAct) (control.Person, error) {
	if err := d.known(r.Group); err != nil {
		return control.Person{}, err
	}
	if _, err := chat.ParseAddress(r.Sender); err != nil || len(r.Sender) > 512 || channel.OneLine(r.Sender, 512) != r.Sender {
		return control.Person{}, &control.Error{Code: control.CodeUsage, Message: "a sender is written as CHANNEL:SENDER", Hint: "nanoclaw people list shows who was asked about"}
	}
	if r.Group == chat.Main {
		return control.Person{}, errNotHere
	}
	who := store.Stranger{Group: r.Group, Sender: r.Sender, At: time.Now().UTC()}
	d.people.change.Lock()
	defer d.people.change.Unlock()
	var err error
	state := ""
	switch r.Act {
	case control.PersonAllow:
		state, err = control.PersonAllowed, d.letIn(ctx, who, atTheSocket(), "the owner allowed it in the terminal")
	case control.PersonDeny:
		state, err = control.PersonDenied, d.deny(ctx, who)
	case control.PersonRemove:
		state, err = control.PersonUnknown, d.forgetSender(ctx, who)
	default:
		err = &control.Error{Code: control.CodeUsage, Message: fmt.Sprintf("%q is nothing that is done about people", r.Act)}
	}
	return control.Person{Sender: r.Sender, Group: r.Group, State: state, At: who.At}, err
}

// deny is shutOut for the owner in the terminal, whose own identities are none
// that can be denied.
func (d *Daemon) deny(ctx context.Context, who store.Stranger) error {
	if slices.Contains(d.owners(), who.Sender) {
		return &control.Error{Code: control.CodeRefused, Message: who.Sender + " is you", Hint: "people in the configuration gives it the role owner: take that away first"}
	}
	return d.shutOut(ctx, who, atTheSocket())
}

// owners are the owner's identities on channels.
func (d *Daemon) owners() []string {
	var out []string
	for id, p := range d.config.People {
		if p.Role == string(authority.Owner) {
			out = append(out, id)
		}
	}
	return out
}

// forgetSender makes somebody unknown again: refused, and the owner is asked when they
// write.
func (d *Daemon) forgetSender(ctx context.Context, who store.Stranger) error {
	p := d.config.People[who.Sender]
	if slices.Contains(d.config.Groups[string(who.Group)].Senders, who.Sender) || p.Role == string(authority.Owner) || slices.Contains(p.Groups, string(who.Group)) {
		return &control.Error{
			Code: control.CodeRefused, Message: who.Sender + " is in the configuration",
			Hint: "take them out of it there, or keep them out now: nanoclaw people deny --group " + string(who.Group) + " " + who.Sender,
		}
	}
	_, had := d.right(store.RightSender, who.Group, who.Sender)
	if err := d.takeRight(ctx, who, atTheSocket()); err != nil {
		return err
	}
	found, err := d.store.ForgetStranger(ctx, who, had, peopleEntry(who, atTheSocket(), "forget sender"))
	if err != nil {
		return err
	}
	if !found && !had {
		return &control.Error{Code: control.CodeNotFound, Message: who.Sender + " is not known in " + string(who.Group), Hint: "nanoclaw people list shows who is"}
	}
	return d.loadPeople(ctx)
}
