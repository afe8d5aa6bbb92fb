package chaostest

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"nanoclaw/internal/channel/chaosnet"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/runner"
	"nanoclaw/internal/steps"
	"nanoclaw/internal/store"
)

// Options are a campaign.
type Options struct {
	// Program is nanoclaw, built with the tag "chaos".
	Program string
	// Claude is the path of Claude Code, "" to leave out the room where it answers.
	Claude string
	// Dir is an empty folder with a short name. It is left as it is.
	Dir string
	// Seed chooses what happens.
	Seed uint64
	// Length is how long it kills at random after the named steps.
	Length time.Duration
	// Sides are the sides of each step to kill at: "before", "after", or both.
	// None chooses one for each by the seed.
	Sides []string
	// Part and Parts divide the steps between campaigns that run at once: this one kills
	// at each of which the number leaves Part when divided by Parts. No Parts is all.
	Part, Parts int
	// Faults are what it meets beside kills. See AllFaults.
	Faults []string
	// Log is told what is done.
	Log io.Writer
}

// Report is what came of a campaign.
type Report struct {
	Kills   int
	Reached map[steps.Step]int // kills at named steps
	verdict
	Repeats  int // deliveries under an id that the network had already
	Answers  int // how often an answer of the owner had to be given again
	Tools    int // messages of host tools, and how many of them came again
	Again    int
	Audit    string // "ok" or what is wrong
	Problems []string
}

// Line is the last line of a run.
func (r Report) Line() string {
	return fmt.Sprintf("chaos: %d kills, %d messages, %d lost, %d doubled, %d reordered, audit %s",
		r.Kills, r.messages, len(r.lost), len(r.doubled), len(r.reordered), r.Audit)
}

// Failures are all that must not be, in words.
func (r Report) Failures() (out []string) {
	for what, list := range map[string][]string{"lost": r.lost, "doubled": r.doubled, "reordered": r.reordered, "problem": r.Problems} {
		for _, s := range list {
			out = append(out, what+": "+s)
		}
	}
	if r.Audit != "ok" {
		out = append(out, "audit: "+r.Audit)
	}
	return out
}

// String tells the rest.
func (r Report) String() string {
	return fmt.Sprintf("%d messages answered, %d given up in words, %d whose run failed in words; %d deliveries came again under their own id and were shown once; "+
		"%d messages of host tools, %d of them again by a command that was run again; %d answers of the owner had to be repeated",
		r.answered, r.spoken, r.refused, r.Repeats, r.Tools, r.Again, r.Answers)
}

// campaign is one in progress.
type campaign struct {
	Options
	*install
	net   *Network
	model *thinker
	judge *judge
	rng   *rand.Rand
	began time.Time
	clock string // the file that says how far the hosts' clock is ahead

	mu      sync.Mutex // guards all below
	quiet   bool       // nobody writes
	report  Report
	current *process
}

// configuration has shells in three groups, one in which the owner is asked about
// each message, one whose chat is gone, and the owner's own chat.
const configuration = `{
	"version": 1,
	"hostMode": {"enabled": true, "runsPerHour": 100000},
	"agent": {"kind": "shell"},
	"rates": {"group": {"messagesPerMinute": 100000, "runsPerDay": 100000}, "sender": {"messagesPerMinute": 100000, "runsPerDay": 100000},
		"owner": {"messagesPerMinute": 100000, "runsPerDay": 100000}},
	"people": {"chaos:boss": {"role": "owner"}},
	"groups": {
		"main": {"mode": "host", "hostModeAllowed": true, "chats": ["chaos:boss"]},
		"a": {"mode": "host", "hostModeAllowed": true, "confirm": "never", "chats": ["chaos:a"], "senders": ["chaos:ann"], "trigger": "always"},
		"b": {"mode": "host", "hostModeAllowed": true, "confirm": "never", "chats": ["chaos:b"], "senders": ["chaos:ann"], "trigger": "always"},
		"c": {"mode": "host", "hostModeAllowed": true, "confirm": "never", "chats": ["chaos:c"], "senders": ["chaos:ann"], "trigger": "always"},
		"asks": {"mode": "host", "hostModeAllowed": true, "confirm": "each", "chats": ["chaos:asks"], "senders": ["chaos:ann"], "trigger": "always"},
		"burst": {"mode": "host", "hostModeAllowed": true, "confirm": "never", "chats": ["chaos:burst"], "senders": ["chaos:ann"], "trigger": "always"},
		"door": {"mode": "host", "hostModeAllowed": true, "confirm": "never", "chats": ["chaos:door"], "trigger": "always"},
		"lost": {"mode": "host", "hostModeAllowed": true, "confirm": "never", "chats": ["chaos:gone"], "senders": ["chaos:ann"], "trigger": "always"},
	},
}`

// configured adds the group where Claude Code answers.
func configured(claude string) string {
	if claude == "" {
		return configuration
	}
	more := `"talk": {"mode": "host", "hostModeAllowed": true, "confirm": "never", "chats": ["chaos:talk"], "senders": ["chaos:ann"], "trigger": "always", "agent": "claude"},
		"main": `
	out := strings.Replace(configuration, `"main": `, more, 1)
	return strings.Replace(out, `"kind": "shell"`, fmt.Sprintf(`"kind": "shell", "claude": {"path": %q}`, claude), 1)
}

// slow bounds what has to happen at some time. Nothing passes because of it.
const slow = 90 * time.Second

// Run goes through a whole campaign: every named step, then the faults, then
// kills at random, and at the end a quiet host that has to bring everything to
// its end. Its error says that it could not be carried out.
func Run(ctx context.Context, o Options) (Report, error) {
	c, done, err := o.open()
	if err != nil {
		return Report{}, err
	}
	defer done()
	ctx, cancel := context.WithCancel(ctx)
	var people sync.WaitGroup
	defer people.Wait()
	defer cancel()
	people.Go(func() { c.people(ctx) })
	people.Go(func() { c.boss(ctx) })
	for _, stage := range []func(context.Context) error{c.everyStep, c.everyFault, c.atRandom, c.settle} {
		if err := stage(ctx); err != nil {
			c.end()
			return c.report, err
		}
	}
	return c.report, nil
}

// open makes the network, the model and an installation.
func (o Options) open() (c *campaign, done func(), err error) {
	socket := filepath.Join(o.Dir, "net")
	network, err := NewNetwork(socket, o.Seed)
	if err != nil {
		return nil, nil, err
	}
	judge := newJudge()
	model := newThinker(judge)
	i, err := newInstall(filepath.Join(o.Dir, "i"), o.Program, configured(o.Claude),
		"NANOCLAW_CHAOS_NET="+socket, "NANOCLAW_CHAOS_CLOCK="+filepath.Join(o.Dir, "clock"), "ANTHROPIC_BASE_URL="+model.URL, "ANTHROPIC_API_KEY=sk-ant-of-the-test")
	if err != nil {
		model.Close()
		network.Close()
		return nil, nil, err
	}
	c = &campaign{Options: o, install: i, net: network, model: model, judge: judge, rng: rand.New(rand.NewPCG(o.Seed, 2)), began: time.Now(), clock: filepath.Join(o.Dir, "clock")}
	c.report.Reached = map[steps.Step]int{}
	return c, func() {
		i.log.Close()
		model.Close()
		network.Close()
	}, nil
}

// say tells what is done, and when.
func (c *campaign) say(format string, args ...any) {
	fmt.Fprintf(c.Log, "%5.1f s "+format+"\n", append([]any{time.Since(c.began).Seconds()}, args...)...)
}

func (c *campaign) problem(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Problems = append(c.report.Problems, fmt.Sprintf(format, args...))
}

// begin starts a daemon, which is ended with the campaign at the latest.
func (c *campaign) begin(env ...string) (*process, error) {
	p, err := c.start(env...)
	if err == nil {
		c.mu.Lock()
		c.current = p
		c.mu.Unlock()
	}
	return p, err
}

func (c *campaign) end() {
	c.mu.Lock()
	p := c.current
	c.mu.Unlock()
	if p != nil {
		p.kill()
	}
}

// count counts a process that was killed.
func (c *campaign) count(at steps.Step) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Kills++
	if at != "" {
		c.report.Reached[at]++
	}
}

// atRandom kills at random moments, from the first instruction on.
func (c *campaign) atRandom(ctx context.Context) error {
	for until := time.Now().Add(c.Length); time.Now().Before(until) && ctx.Err() == nil; {
		p, err := c.begin()
		if err != nil {
			return err
		}
		var life time.Duration
		if c.rng.IntN(3) == 0 {
			life = time.Duration(c.rng.IntN(150)) * time.Millisecond // while it starts
		} else {
			if err := p.awaitReady(slow); err != nil {
				return err
			}
			if c.rng.IntN(4) == 0 {
				c.addTask(ctx)
			}
			life = time.Duration(c.rng.IntN(1500)) * time.Millisecond
		}
		select {
		case <-time.After(life):
		case <-p.over:
			return fmt.Errorf("the daemon ended by itself: %w", p.err)
		}
		p.kill()
		c.count("")
	}
	return ctx.Err()
}

// busy says that people still write.
func (c *campaign) busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.quiet
}

// people write, a few messages ahead of the answers.
func (c *campaign) people(ctx context.Context) {
	rng := rand.New(rand.NewPCG(c.Seed, 3))
	ahead := map[chat.ChatID]int{"a": 4, "b": 2, "c": 3, "asks": 2}
	gone := time.Now()
	for ctx.Err() == nil {
		_, changed := c.net.Shown(0)
		c.judge.look(c.net)
		quiet := !c.busy()
		for _, room := range []chat.ChatID{"a", "b", "c", "asks"} {
			for !quiet && c.judge.waiting(room) < ahead[room] {
				w := c.judge.write(room)
				c.net.Say(room, "ann", chat.MessageID(w.String()), c.text(rng, w))
			}
		}
		if !quiet && time.Since(gone) > 3*time.Second {
			gone = time.Now()
			c.net.Say(Gone, "ann", chat.MessageID(fmt.Sprint("gone", gone.UnixNano())), "echo nobody reads this")
		}
		select {
		case <-changed:
		case <-time.After(300 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// text is a message: a command whose answer holds its word.
func (c *campaign) text(rng *rand.Rand, w word) string {
	switch rng.IntN(8) {
	case 0:
		return "sleep 0.2; echo " + w.String()
	case 1, 2: // the word comes first, for notices that quote the beginning
		return ": " + w.String() + "; " + toolCall("said "+w.String()) + "; echo " + w.String()
	}
	return "echo " + w.String()
}

// toolCall is a command that has the host send a message.
func toolCall(text string) string {
	return fmt.Sprintf(`curl -sS -o /dev/null -H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream' http://127.0.0.1:%d/mcp `+
		`-d '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"send_message","arguments":{"text":"%s"}}}'`, grant.ToolsPort, text)
}

var approve = regexp.MustCompile(`approve ([0-9a-z]{4}-[0-9a-z]{4})`)

// patience is how long the owner waits before they answer a question again.
const patience = 6 * time.Second

// boss answers the questions of the host, as its owner, and commands it.
func (c *campaign) boss(ctx context.Context) {
	seen, last, since, tries := 0, "", time.Time{}, 0
	for ctx.Err() == nil {
		more, changed := c.net.Shown(seen)
		seen += len(more)
		for _, s := range more {
			if m := approve.FindStringSubmatch(s.Text); s.To.Chat == "boss" && m != nil {
				last, since, tries = m[1], time.Now(), 0
				c.net.Say("boss", "boss", chat.MessageID("yes-"+last), "approve "+last)
			}
		}
		c.judge.look(c.net)
		if c.busy() && c.judge.waiting("boss") < 2 { // a command that is told in words that hold its own
			w := c.judge.write("boss")
			c.net.Say("boss", "boss", chat.MessageID(w.String()), "/stop "+w.String())
		}
		if last != "" && c.judge.waiting("asks") > 0 && time.Since(since) > patience {
			tries, since = tries+1, time.Now()
			c.mu.Lock()
			c.report.Answers++
			c.mu.Unlock()
			c.net.Say("boss", "boss", chat.MessageID(fmt.Sprint("yes-", last, "-", tries)), "approve "+last)
		}
		select {
		case <-changed:
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

// settle lets a daemon bring everything to its end, in peace, and judges.
func (c *campaign) settle(ctx context.Context) error {
	c.mu.Lock()
	c.quiet = true
	c.mu.Unlock()
	c.net.Calm(true)
	c.say("nobody writes any more")
	p, err := c.begin()
	if err != nil {
		return err
	}
	if err := p.awaitReady(slow); err != nil {
		return err
	}
	reader, err := store.OpenReader(ctx, c.paths.DataDir)
	if err != nil {
		return err
	}
	defer reader.Close()
	fate := func(w word) (bool, string) { return c.fate(ctx, reader, w) }
	var v verdict
	for until := time.Now().Add(slow); ; {
		_, changed := c.net.Shown(0)
		c.hearTerminal(ctx)
		c.judge.look(c.net)
		if v = c.judge.conclude(fate); len(v.lost) == 0 && c.net.Untaken() == 0 || time.Now().After(until) {
			break
		}
		select {
		case <-changed:
		case <-time.After(500 * time.Millisecond):
		}
	}
	c.say("all that was written has its end")
	if n := c.net.Untaken(); n > 0 {
		c.problem("the host never took %d messages", n)
	}
	if err := p.stop(slow); err != nil {
		c.problem("the last daemon did not stop: %v", err)
	}
	c.conclude(ctx, v)
	return nil
}

// fate tells what the store says of a message that no reply and no notice names:
// it has an end if the failure of its run was said.
func (c *campaign) fate(ctx context.Context, r *store.Reader, w word) (bool, string) {
	f, err := r.Fate(ctx, chat.Address{Channel: chaosnet.ID, Chat: w.room}, chat.MessageID(w.String()))
	if err != nil {
		return false, err.Error()
	}
	if f.Run == "" {
		return false, "it is " + f.State + " " + f.Reason
	}
	run, err := r.Run(ctx, f.Run)
	if err != nil {
		return false, err.Error()
	}
	said := c.judge.runs[f.Run] && run.State != runner.Succeeded
	return said && f.State == "done", fmt.Sprintf("it is %s, and its run %s is %s %s", f.State, f.Run, run.State, run.Error)
}

func (c *campaign) conclude(ctx context.Context, v verdict) {
	audit := "ok"
	if out, err := c.command(ctx, nil, "audit", "verify"); err != nil {
		audit = fmt.Sprintf("does not verify: %v %s", err, strings.TrimSpace(out))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	c.report.verdict, c.report.Audit, c.report.Repeats = v, audit, c.net.repeats
	c.report.doubled = append(c.report.doubled, c.net.confused...)
	for _, n := range c.judge.tools {
		c.report.Tools++
		if n > 1 {
			c.report.Again++
		}
	}
}

// ShortDir makes a folder whose name leaves room for a socket's.
func ShortDir() (string, error) { return os.MkdirTemp("", "nx") }
