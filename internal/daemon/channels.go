package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"nanoclaw/internal/approval"
	"nanoclaw/internal/channel"
	"nanoclaw/internal/channel/discord"
	"nanoclaw/internal/channel/slack"
	"nanoclaw/internal/channel/telegram"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/credential"
	"nanoclaw/internal/router"
)

// networks are the connections that can be lost.
type networks struct {
	mu     sync.Mutex
	states map[chat.ChannelID]channel.Status
	// came gets a channel that has connected.
	came chan chat.ChannelID
}

// chatNetwork is one that the configuration can connect.
type chatNetwork struct {
	id           chat.ChannelID
	connect      bool
	hideProgress bool
	// open makes its channel, which connects to nothing yet.
	open func(credential.Tokens) channel.Channel
}

// networksOf are all that there are.
func (d *Daemon) networksOf() []chatNetwork {
	c, name := d.config.Channels, func() string { return d.router.Rules().Name }
	log := func(id chat.ChannelID) *slog.Logger { return d.log.With("channel", id) }
	return []chatNetwork{
		{slack.ID, c.Slack.Connect, c.Slack.HideProgress, func(t credential.Tokens) channel.Channel {
			return slack.New(slack.Options{App: t[slack.AppToken], Bot: t[slack.BotToken], API: c.Slack.API, Log: log(slack.ID), Assistant: name})
		}},
		{discord.ID, c.Discord.Connect, c.Discord.HideProgress, func(t credential.Tokens) channel.Channel {
			return discord.New(discord.Options{Bot: t[discord.BotToken], API: c.Discord.API, Log: log(discord.ID), Assistant: name})
		}},
		{telegram.ID, c.Telegram.Connect, c.Telegram.HideProgress, func(t credential.Tokens) channel.Channel {
			return telegram.New(telegram.Options{
				Bot: t[telegram.BotToken], API: c.Telegram.API, Log: log(telegram.ID), Assistant: name, Notes: d.store,
				Registered: func(a chat.Address) bool { return d.router.Rules().GroupOf(a) != "" }, Moved: d.chatMoved,
			})
		}},
	}
}

// openChannels makes the channels of the configuration. One that has no tokens is
// said to be so, and the others go on.
func (d *Daemon) openChannels() error {
	d.networks.states, d.networks.came = map[chat.ChannelID]channel.Status{}, make(chan chat.ChannelID, 16)
	d.openAdapters()
	if err := d.openPrograms(); err != nil {
		return err
	}
	for _, n := range d.networksOf() {
		if !n.connect {
			continue
		}
		tokens, err := credential.New(d.opt.Paths, d.opt.Getenv).LoadTokens(string(n.id))
		if err == nil && tokens == nil {
			err = fmt.Errorf("it has no tokens: nanoclaw channel login %s, then restart nanoclaw", n.id)
		}
		if err != nil {
			d.log.Error("a network is not connected", "channel", n.id, "err", err)
			d.networks.states[n.id] = channel.Status{State: channel.Ended, Since: time.Now(), Cause: err.Error()}
			continue
		}
		for _, secret := range tokens {
			d.mask.Learn(secret)
		}
		d.addChannel(n.open(tokens))
	}
	return nil
}

// chatMoved tells the owner that a chat has another address. What it was works on.
func (d *Daemon) chatMoved(from, to chat.Address) {
	d.tellOwner(context.Background(), fmt.Sprintf("moved:%s", to), fmt.Sprintf("The chat %s is %s now. It goes on as before; write the new address into the configuration when it suits you.", from, to))
}

// addChannel adds a channel before Run.
func (d *Daemon) addChannel(c channel.Channel) {
	d.channels[c.ID()] = c
	if s, ok := c.(channel.Supervised); ok {
		s.OnStatus(func(st channel.Status) { d.networkChanged(c.ID(), st) })
	}
}

// networkChanged notes how a connection stands. It does not block.
func (d *Daemon) networkChanged(id chat.ChannelID, s channel.Status) {
	d.log.Info("channel "+string(s.State), "channel", id, "cause", s.Cause)
	d.networks.mu.Lock()
	d.networks.states[id] = s
	d.networks.mu.Unlock()
	if s.State == channel.Connected {
		select {
		case d.networks.came <- id:
		default: // that many wait already, this one among them
		}
	}
	d.changed.fire()
}

// state is how one stands.
func (n *networks) state(id chat.ChannelID) channel.Status {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.states[id]
}

// channelStates tells of all of them.
func (d *Daemon) channelStates() []control.ChannelInfo {
	d.networks.mu.Lock()
	defer d.networks.mu.Unlock()
	var out []control.ChannelInfo
	for _, id := range slices.Sorted(maps.Keys(d.networks.states)) {
		s := d.networks.states[id]
		info := control.ChannelInfo{Channel: id, State: string(s.State), Since: s.Since, Cause: s.Cause}
		if c := d.channels[id]; c != nil {
			info.Self = c.Self()
			if l, ok := c.(channel.Lister); ok {
				for _, r := range l.Rooms() {
					info.Chats = append(info.Chats, control.ChannelChat{Address: chat.Address{Channel: id, Chat: r.Chat}.String(), Name: r.Name})
				}
			}
		}
		out = append(out, info)
	}
	return out
}

// shows is the channel that shows progress, nil if it does not.
func (d *Daemon) shows(id chat.ChannelID) channel.Progress {
	if slices.ContainsFunc(d.networksOf(), func(n chatNetwork) bool { return n.id == id && n.hideProgress }) {
		return nil
	}
	if d.config.Channels.External[string(id)].HideProgress {
		return nil
	}
	p, _ := d.channels[id].(channel.Progress)
	return p
}

// seenKey is under which the store knows when a channel was connected last.
func seenKey(id chat.ChannelID) string { return "channel.seen:" + string(id) }

// seenEvery is how often that is noted while it is connected.
const seenEvery = time.Minute

// watchNetworks notes when channels are connected, and finds what was said while one
// was not.
func (d *Daemon) watchNetworks(ctx context.Context) {
	ticker := time.NewTicker(seenEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			d.noteSeen(context.WithoutCancel(ctx))
			return
		case <-ticker.C:
			d.noteSeen(ctx)
		case id := <-d.networks.came:
			if err := d.catchUp(ctx, id); err != nil && ctx.Err() == nil {
				d.log.Error("what was said meanwhile could not be found", "channel", id, "err", err)
				d.tellOwner(ctx, fmt.Sprintf("missed:%s:%d", id, time.Now().UnixNano()), fmt.Sprintf("%s is connected again, but what was said meanwhile could not be found: %v", id, err))
			}
		}
	}
}

func (d *Daemon) noteSeen(ctx context.Context) {
	d.networks.mu.Lock()
	states := maps.Clone(d.networks.states)
	d.networks.mu.Unlock()
	for id, s := range states {
		if s.State != channel.Connected {
			continue
		}
		if err := d.store.SetMeta(ctx, seenKey(id), time.Now().UTC().Format(time.RFC3339Nano)); err != nil {
			d.log.Error("it could not be noted that a channel is connected", "channel", id, "err", err)
		}
	}
}

// Bounds of catching up.
const (
	// shortGap is how long a channel may have been away for its messages to be worked
	// on as if it had not: nobody wants to be asked about an interruption.
	shortGap = 5 * time.Minute
	// longGap is how far back is looked.
	longGap   = 7 * 24 * time.Hour
	maxMissed = 200 // of one chat
	// overlap is for clocks that differ and for what was on its way.
	overlap = time.Minute
)

// catchUp finds what was said in the groups' chats of a channel while it was not
// connected. After a short while it is taken in as it would have been; after a longer
// one the chat is asked first.
func (d *Daemon) catchUp(ctx context.Context, id chat.ChannelID) error {
	h, ok := d.channels[id].(channel.Historian)
	if !ok {
		return nil
	}
	until := time.Now()
	from, err := d.lastSeen(ctx, id)
	if err != nil {
		return err
	}
	d.noteSeen(ctx)
	if from.IsZero() {
		return nil // the first connection: what was said before was not said to us
	}
	if until.Sub(from) > longGap {
		from = until.Add(-longGap)
	}
	for _, g := range d.groupNames() {
		for _, a := range d.addressesOf(g) {
			if a.Channel != id {
				continue
			}
			if err := d.catchUpChat(ctx, h, g, a, from, until); err != nil {
				return err
			}
		}
	}
	return nil
}

// lastSeen is when a channel was connected last, in this process or an earlier one.
func (d *Daemon) lastSeen(ctx context.Context, id chat.ChannelID) (time.Time, error) {
	text, err := d.store.Meta(ctx, seenKey(id))
	if err != nil || text == "" {
		return time.Time{}, err
	}
	seen, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, nil // nothing that we wrote: as at the first connection
	}
	if lost := d.networks.state(id).Lost; lost.After(seen) {
		seen = lost
	}
	return seen, nil
}

func (d *Daemon) catchUpChat(ctx context.Context, h channel.Historian, g chat.Group, a chat.Address, from, until time.Time) error {
	said, err := h.Since(ctx, a, from.Add(-overlap), maxMissed)
	if err != nil {
		return err
	}
	var unanswered []chat.Inbound
	for _, in := range said {
		known, err := d.store.Known(ctx, in.From, in.ID)
		if err != nil {
			return err
		}
		switch {
		case known || in.Sender.Self:
		case until.Sub(from) > shortGap && d.router.Rules().Decide(in).Action == router.Run:
			unanswered = append(unanswered, in)
		default:
			if err := (sink{d}).Receive(ctx, in); err != nil {
				return err
			}
		}
	}
	if len(unanswered) == 0 {
		return nil
	}
	return d.askMissed(ctx, g, a, from, until, unanswered)
}

// actMissed is the question whether messages are worked on that came while a channel
// was away.
const actMissed = "missed"

// The parts of such a question.
const (
	partChat  = "chat"
	partSince = "since"
	partIDs   = "messages"
)

// askMissed asks in the chat itself. The answer is taken from whoever may approve
// there.
func (d *Daemon) askMissed(ctx context.Context, g chat.Group, a chat.Address, from, until time.Time, in []chat.Inbound) error {
	ids := make([]string, len(in))
	for i, m := range in {
		ids[i] = string(m.ID)
	}
	zoned := zone(d.machine.TimeZone)
	form := "15:04"
	if from.In(zoned).YearDay() != until.In(zoned).YearDay() {
		form = "2 Jan 15:04"
	}
	what, them := fmt.Sprintf("%d messages are unanswered", len(in)), "them"
	if len(in) == 1 {
		what, them = "1 message is unanswered", "it"
	}
	e := approval.Effect{
		Act: actMissed, Group: g, Key: until.Format(time.RFC3339Nano),
		Title: fmt.Sprintf("I was away %s–%s; %s: run %s?", from.In(zoned).Format(form), until.In(zoned).Format(form), what, them),
		Parts: []approval.Part{{Name: partChat, Value: a.String()}, {Name: partSince, Value: from.UTC().Format(time.RFC3339)}, {Name: partIDs, Value: strings.Join(ids, " ")}},
	}
	d.demand(&e)
	_, err := d.desk.Put(ctx, e, time.Duration(d.config.Approvals.Wait), func(q approval.Asked) error {
		_, err := d.outbox.Put(ctx, chat.Outbound{To: a, Kind: chat.Question, Text: q.Text, Code: q.Code, Group: g, Key: fmt.Sprintf("question:%d", q.ID)})
		return err
	})
	return err
}

// missedAnswered takes the messages in, for which the owner said yes. They come from
// the network again, and are judged as if they had just come.
func (d *Daemon) missedAnswered(ctx context.Context, e approval.Effect, s approval.State, _ approval.Who) error {
	if s != approval.Approved {
		return nil
	}
	a, err := chat.ParseAddress(e.Part(partChat))
	if err != nil {
		return err
	}
	since, err := time.Parse(time.RFC3339, e.Part(partSince))
	if err != nil {
		return err
	}
	h, ok := d.channels[a.Channel].(channel.Historian)
	if !ok {
		return fmt.Errorf("the channel %s is not connected any more", a.Channel)
	}
	said, err := h.Since(ctx, a, since.Add(-overlap), maxMissed)
	if err != nil {
		return err
	}
	ids := strings.Fields(e.Part(partIDs))
	for _, in := range said {
		if slices.Contains(ids, string(in.ID)) {
			if err := (sink{d}).Receive(ctx, in); err != nil {
				return err
			}
		}
	}
	return nil
}
