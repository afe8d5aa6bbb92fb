package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"nanoclaw/internal/approval"
	"nanoclaw/internal/audit"
	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/router"
	"nanoclaw/internal/steps"
	"nanoclaw/internal/store"
)

// Bounds of pairing.
const (
	pairTime     = time.Hour // how long a code is good
	maxPairWrong = 5         // wrong codes of a sender, and in a group
	pairLock     = time.Hour // after that many
	maxPairs     = 32        // open codes
	maxTried     = 32        // tries that are remembered; one is followed at a time
)

// pairings are the open pairing codes, and what was guessed. They are kept in the
// store, outside every grant, so that a restart frees no guesser: codes as their
// hash, since nobody has to read one again.
type pairings struct {
	Codes  map[string]pairing   `json:"codes"`  // by hash
	Wrong  map[string]int       `json:"wrong"`  // by group, and by group and sender
	Locked map[string]time.Time `json:"locked"` // likewise, until when
	Tried  []pairTry            `json:"tried"`  // the last, oldest first
}

// pairTry is what came of a code. It is kept in the transaction that uses the code up or
// counts it as wrong, under the message that gave it: a process that ends before
// it has followed that lets the next one follow it, and neither asks twice.
type pairTry struct {
	Row   int64   `json:"row"`
	State paired  `json:"state"`
	Code  pairing `json:"code,omitzero"` // of a good one
}

// pairing is an open code.
type pairing struct {
	Group chat.Group   `json:"group"`
	Until time.Time    `json:"until"`
	By    approval.Who `json:"by"`
}

// pairingsKey is where the store has them.
const pairingsKey = "pairings"

func hashOf(code string) string {
	sum := sha256.Sum256([]byte(code))
	return hex.EncodeToString(sum[:])
}

// changePairs changes the pairings, with what is to be recorded of that in the same
// transaction. The change counts once it is kept; after an error all is as before.
func (d *Daemon) changePairs(ctx context.Context, do func(*pairings) []audit.Entry) error {
	p := &d.people.pairs
	p.mu.Lock()
	defer p.mu.Unlock()
	if d.store.Shared() { // another node may have had them since
		if err := d.readPairsLocked(ctx); err != nil {
			return err
		}
	}
	next := pairings{Codes: maps.Clone(p.now.Codes), Wrong: maps.Clone(p.now.Wrong), Locked: maps.Clone(p.now.Locked), Tried: slices.Clone(p.now.Tried)}
	entries := do(&next)
	if reflect.DeepEqual(next, p.now) {
		return nil
	}
	text, err := json.Marshal(next)
	if err == nil {
		err = d.store.SetMetaRecorded(ctx, pairingsKey, string(text), entries...)
	}
	if err != nil {
		return fmt.Errorf("keep the pairing codes: %w", err)
	}
	p.now = next
	return nil
}

// loadPairs reads what an earlier process kept.
func (d *Daemon) loadPairs(ctx context.Context) error {
	p := &d.people.pairs
	p.mu.Lock()
	defer p.mu.Unlock()
	return d.readPairsLocked(ctx)
}

func (d *Daemon) readPairsLocked(ctx context.Context) error {
	text, err := d.store.Meta(ctx, pairingsKey)
	if err != nil || text == "" {
		return err
	}
	var kept pairings
	if err := json.Unmarshal([]byte(text), &kept); err != nil {
		return fmt.Errorf("the pairing codes in the store cannot be read: %w", err)
	}
	d.people.pairs.now = kept
	return nil
}

// The outcomes of a try.
type paired string

const (
	pairGood   paired = "used"
	pairWrong  paired = "wrong"
	pairLocked paired = "locked" // by this try
	pairSilent paired = ""       // it is locked, or nothing is open here
)

func senderKey(g chat.Group, sender string) string { return string(g) + " " + sender }

// add opens a code. What was locked in the group is open for it, but for the
// senders who gave too many wrong ones.
func (p *pairings) add(code string, c pairing, now time.Time) bool {
	p.prune(now)
	if len(p.Codes) >= maxPairs {
		return false
	}
	if p.Codes == nil {
		p.Codes = map[string]pairing{}
	}
	delete(p.Wrong, string(c.Group))
	delete(p.Locked, string(c.Group))
	p.Codes[hashOf(code)] = c
	return true
}

// prune forgets what is over.
func (p *pairings) prune(now time.Time) {
	maps.DeleteFunc(p.Codes, func(_ string, c pairing) bool { return !now.Before(c.Until) })
	maps.DeleteFunc(p.Locked, func(_ string, until time.Time) bool { return !now.Before(until) })
}

// try takes a code that somebody gave in a group. A good one is used up. Where
// no code is open there is nothing to guess, and nothing is counted.
func (p *pairings) try(code string, g chat.Group, sender string, now time.Time) (pairing, paired) {
	p.prune(now)
	who := senderKey(g, sender)
	if !p.Locked[string(g)].IsZero() || !p.Locked[who].IsZero() || !p.openIn(g) {
		return pairing{}, pairSilent
	}
	if c, ok := p.Codes[hashOf(code)]; ok && c.Group == g {
		delete(p.Codes, hashOf(code))
		delete(p.Wrong, string(g))
		delete(p.Wrong, who)
		return c, pairGood
	}
	if p.Wrong == nil {
		p.Wrong, p.Locked = map[string]int{}, map[string]time.Time{}
	}
	out := pairWrong
	for _, key := range []string{string(g), who} {
		p.Wrong[key]++
		if p.Wrong[key] >= maxPairWrong {
			delete(p.Wrong, key)
			p.Locked[key] = now.Add(pairLock)
			out = pairLocked
		}
	}
	if !p.Locked[string(g)].IsZero() {
		maps.DeleteFunc(p.Codes, func(_ string, c pairing) bool { return c.Group == g })
	}
	return pairing{}, out
}

// tryFor is try for a message. A try that an earlier process made is not made again.
func (p *pairings) tryFor(row int64, code string, g chat.Group, sender string, now time.Time) (out pairTry, fresh bool) {
	if i := slices.IndexFunc(p.Tried, func(t pairTry) bool { return t.Row == row }); i >= 0 {
		return p.Tried[i], false
	}
	if code == "" { // whoever wrote it may speak by now, and no try of theirs is open
		return pairTry{}, false
	}
	out.Row = row
	if out.Code, out.State = p.try(code, g, sender, now); out.State == pairSilent {
		return out, false
	}
	if p.Tried = append(p.Tried, out); len(p.Tried) > maxTried {
		p.Tried = p.Tried[len(p.Tried)-maxTried:]
	}
	return out, true
}

func (p *pairings) openIn(g chat.Group) bool {
	for _, c := range p.Codes {
		if c.Group == g {
			return true
		}
	}
	return false
}

// Pair makes a pairing code for a group.
func (d *Daemon) Pair(ctx context.Context, r control.PairRequest) (control.PairingCode, error) {
	if err := d.known(r.Group); err != nil {
		return control.PairingCode{}, err
	}
	if r.Group == chat.Main {
		return control.PairingCode{}, errNotHere
	}
	code, until, err := d.newPairing(ctx, r.Group, atTheSocket())
	if err != nil {
		return control.PairingCode{}, err
	}
	return control.PairingCode{Group: r.Group, Code: code, Until: until}, nil
}

// newPairing opens a code that the owner asked for.
func (d *Daemon) newPairing(ctx context.Context, g chat.Group, by approval.Who) (string, time.Time, error) {
	now := time.Now()
	code, until := approval.NewPairing(), now.Add(pairTime)
	err := d.store.Record(ctx, audit.Entry{At: now, Kind: audit.Pairing, Group: g, Data: audit.PairingData{State: "made", From: by.From.String(), Until: until}})
	if err != nil {
		return "", until, err
	}
	added := false
	if err := d.changePairs(ctx, func(p *pairings) []audit.Entry {
		added = p.add(code, pairing{g, until, by}, now)
		return nil
	}); err != nil {
		return "", until, err
	}
	if !added {
		return "", until, &control.Error{Code: control.CodeRefused, Message: fmt.Sprintf("%d pairing codes are open already", maxPairs), Hint: "wait until they are used or over"}
	}
	return code, until, nil
}

// tellPairing makes a code and tells the owner, who answered a question so.
func (d *Daemon) tellPairing(ctx context.Context, g chat.Group, by approval.Who) error {
	code, until, err := d.newPairing(ctx, g, by)
	if err != nil {
		return err
	}
	to, err := d.chatOf(chat.Main)
	if err != nil {
		return err
	}
	_, err = d.outbox.Put(ctx, chat.Outbound{
		To: to, Kind: chat.Notice, Group: chat.Main, Key: fmt.Sprintf("pairing:%s:%d", g, until.UnixNano()),
		Text: fmt.Sprintf("Whoever writes this in a chat of %s before %s may speak there from then on: pair %s\nIt is good once. Pass it on in a way that nobody else reads.", g, until.Local().Format(time.TimeOnly), code),
	})
	d.outbox.Wake()
	return err
}

// pair takes a code that somebody unknown gave. What an earlier process had done of
// it is not done again, and each word about it has a key of its message.
func (d *Daemon) pair(ctx context.Context, in chat.Inbound, v router.Verdict) {
	ctx = context.WithoutCancel(ctx)
	d.people.change.Lock()
	var got pairTry
	steps.Before(steps.Paired)
	err := d.changePairs(ctx, func(p *pairings) []audit.Entry {
		var fresh bool
		if got, fresh = p.tryFor(v.Row, v.Pairing, v.Group, v.Who.Sender, time.Now()); !fresh {
			return nil
		}
		return []audit.Entry{{At: time.Now(), Kind: audit.Pairing, Group: v.Group, Data: audit.PairingData{
			State: string(got.State), Sender: v.Who.Sender, From: in.From.String(),
		}}}
	})
	steps.After(steps.Paired)
	c, state := got.Code, got.State
	if err != nil { // what cannot be counted must not be tried
		d.log.Error("a pairing code cannot be tried", "sender", v.Who.Sender, "group", v.Group, "err", err)
		state = pairSilent
	}
	if state == pairSilent {
		d.people.change.Unlock()
		if v.Unknown {
			d.stranger(ctx, in, v)
		}
		return
	}
	defer d.people.change.Unlock()
	who := store.Stranger{Group: v.Group, Sender: v.Who.Sender, Name: channel.OneLine(in.Sender.Name, askName), From: in.From.String(), At: time.Now().UTC()}
	key, text := fmt.Sprintf("pair:%s:%s", in.From, in.ID), ""
	switch state {
	case pairGood:
		if err := d.letIn(ctx, who, c.By, "they gave a pairing code of the owner's"); err != nil {
			d.log.Error("somebody with a good pairing code could not be let in", "sender", who.Sender, "group", who.Group, "err", err)
			d.notice(ctx, in, key, "The code was good, but the host could not do it. Ask the owner.", true)
			return
		}
		text = "You may speak here now."
		d.tellOwner(ctx, key, fmt.Sprintf("%s (%s) gave your pairing code and may speak in %s now. nanoclaw people remove takes it back.", who.Sender, who.Name, who.Group))
	case pairWrong:
		text = "This pairing code is not good. Ask the owner for one."
	case pairLocked:
		text = "This pairing code is not good. There were too many wrong ones, so the open ones are void. Ask the owner for another."
		d.tellOwner(ctx, key, fmt.Sprintf("%d wrong pairing codes were given in %s, the last by %s. The open codes of the group are void, and who gave them all cannot try again for %v. To let somebody in: nanoclaw people allow, or another nanoclaw people pair.", maxPairWrong, who.Group, who.Sender, pairLock))
	}
	d.notice(ctx, in, key, text, state != pairGood)
}
