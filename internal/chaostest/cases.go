package chaostest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/steps"
)

// cases says for each named step how it comes to be reached while people write.
// Nil is: by that alone. A test fails if a step has no case.
func cases() map[steps.Step]func(c *campaign, ctx context.Context, p *process) {
	return map[steps.Step]func(*campaign, context.Context, *process){
		steps.Recover: nil, steps.Accept: nil,
		steps.Fire:    (*campaign).taskIsDue,
		steps.HostAct: nil, steps.HostDone: nil,
		steps.Paired: (*campaign).letStrangerIn,
		steps.Claim:  nil, steps.Hold: nil, steps.Free: nil, steps.Start: nil, steps.Stand: nil, steps.Running: nil,
		steps.Open: nil, steps.Ask: nil, steps.Join: (*campaign).joinTalk, steps.Finish: nil, steps.End: nil,
		steps.Release:   (*campaign).stopInTheMiddle,
		steps.ToolAsked: nil, steps.ToolActed: nil,
		steps.Put: nil, steps.Sending: nil, steps.Delivery: nil, steps.Sent: nil,
		steps.Retry:         func(c *campaign, _ context.Context, _ *process) { c.net.Refuse(2) },
		steps.Held:          (*campaign).leaveTerminal,
		steps.GiveUp:        nil,
		steps.QuestionAsked: nil, steps.QuestionTold: nil, steps.QuestionEnded: nil, steps.QuestionFollowed: nil, steps.QuestionDropped: nil,
		steps.Sequence: nil,
	}
}

// commands are the steps of programs of their own.
func commands() map[steps.Step]func(c *campaign, ctx context.Context, kill string) error {
	return map[steps.Step]func(*campaign, context.Context, string) error{
		steps.BackupWritten: (*campaign).killBackup,
		steps.BackupPlaced:  (*campaign).killBackup,
		steps.Restored:      (*campaign).killRestore,
	}
}

// everyStep kills at each step, in an order that the seed chooses, so that the
// host that comes up has to deal with what any other step left.
func (c *campaign) everyStep(ctx context.Context) error {
	type stop struct {
		at   steps.Step
		side string
	}
	var all []stop
	for i, s := range steps.All() {
		if c.unreachable(s) || c.Parts > 1 && i%c.Parts != c.Part {
			continue
		}
		sides := c.Sides
		if len(sides) == 0 {
			sides = []string{[]string{"before", "after"}[c.rng.IntN(2)]}
		}
		for _, side := range sides {
			all = append(all, stop{s, side})
		}
	}
	c.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, s := range all {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := c.killAt(ctx, s.at, s.side); err != nil {
			return fmt.Errorf("killing %s %s: %w", s.side, s.at, err)
		}
	}
	return nil
}

// killAt starts a host that ends itself at a step, and sees to it that it comes
// there.
func (c *campaign) killAt(ctx context.Context, at steps.Step, side string) error {
	if run := commands()[at]; run != nil {
		return run(c, ctx, fmt.Sprintf("NANOCLAW_CHAOS_KILL=%s:%s:1", at, side))
	}
	began := time.Now()
	p, err := c.begin(fmt.Sprintf("NANOCLAW_CHAOS_KILL=%s:%s:1", at, side))
	if err != nil {
		return err
	}
	if act := cases()[at]; act != nil {
		act(c, ctx, p)
	}
	select {
	case <-p.over:
	case <-time.After(slow):
		p.kill()
		c.problem("the step %s was never reached", at)
		return nil
	case <-ctx.Done():
		p.kill()
		return ctx.Err()
	}
	if !p.killed() {
		return fmt.Errorf("the daemon ended by itself: %w", p.err)
	}
	c.count(at)
	c.say("killed %-6s %-18s after %4d ms", side, at, time.Since(began).Milliseconds())
	return nil
}

// stopInTheMiddle asks the host to end while commands run.
func (c *campaign) stopInTheMiddle(_ context.Context, p *process) {
	if p.awaitReady(slow) != nil {
		return
	}
	w := c.judge.write("b")
	c.net.Say("b", "ann", chat.MessageID(w.String()), "echo begun >&2; sleep 2; echo "+w.String())
	for until := time.Now().Add(slow); c.net.Stored("b", chat.MessageID(w.String())).IsZero() && time.Now().Before(until); {
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(700 * time.Millisecond) // most often it runs then; if not, another does
	p.signal(syscall.SIGTERM)
}

// scheduled is the room of tasks in the judge's book. Their answers go to a's chat.
const scheduled chat.ChatID = "task"

// taskIsDue has the owner add a task that is soon due.
func (c *campaign) taskIsDue(ctx context.Context, p *process) {
	if p.awaitReady(slow) == nil {
		c.addTask(ctx)
	}
}

// addTask adds a task for one time, to be done once.
func (c *campaign) addTask(ctx context.Context) {
	w := c.judge.write(scheduled)
	at := time.Now().Add(2 * time.Second).UTC().Format("2006-01-02T15:04:05")
	out, err := c.command(ctx, nil, "task", "add", "--group", "a", "--host-mode", "--zone", "UTC", "--once", at, "echo "+w.String())
	if err != nil {
		c.say("a task was not added for certain: %v %s", err, strings.TrimSpace(out))
		c.judge.forget(w)
	}
}

// door is a chat where nobody speaks: people of whom nothing is known give pairing codes
// there. A code is answered once it has let them in.
const (
	door  chat.ChatID = "door"
	letIn string      = "You may speak here now."
)

// letStrangerIn has the owner make a pairing code and somebody unknown give it.
func (c *campaign) letStrangerIn(ctx context.Context, p *process) {
	if p.awaitReady(slow) != nil {
		return
	}
	out, err := c.command(ctx, nil, "people", "pair", "--group", "door", "--json")
	var made struct{ Code string }
	if err == nil {
		err = json.Unmarshal([]byte(out), &made)
	}
	if err != nil {
		c.problem("there is no pairing code: %v %s", err, out)
		return
	}
	w := c.judge.write(door)
	c.net.Say(door, chat.SenderID("new"+strconv.Itoa(w.n)), chat.MessageID(w.String()), "pair "+made.Code)
}

// term is the room of the owner's terminal in the judge's book.
const term chat.ChatID = "term"

// leaveTerminal says something in a terminal and goes away before the answer.
func (c *campaign) leaveTerminal(ctx context.Context, p *process) {
	if p.awaitReady(slow) != nil {
		return
	}
	client, err := control.Dial(ctx, filepath.Join(c.paths.RuntimeDir, control.SocketName))
	if err != nil {
		return
	}
	defer client.Close()
	talk, err := client.Chat(ctx, chat.Main)
	if err != nil {
		return
	}
	defer talk.Close()
	w := c.judge.write(term)
	if talk.Say(1, "sleep 0.5; echo "+w.String(), chat.Ask{}) != nil {
		c.judge.forget(w)
		return
	}
	for {
		e, err := talk.Next()
		if err != nil {
			c.judge.forget(w) // nobody said that it was stored
			return
		}
		if e.Outbound != nil {
			c.net.show(term, *e.Outbound)
		}
		if e.Said != nil {
			return
		}
	}
}

// hearTerminal takes what waits for the owner's terminal.
func (c *campaign) hearTerminal(ctx context.Context) {
	if c.judge.waiting(term) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	client, err := control.Dial(ctx, filepath.Join(c.paths.RuntimeDir, control.SocketName))
	if err != nil {
		return
	}
	defer client.Close()
	talk, err := client.Chat(ctx, chat.Main)
	if err != nil {
		return
	}
	defer talk.Close()
	for {
		e, err := talk.Next()
		if err != nil {
			return
		}
		if e.Outbound != nil {
			c.net.show(term, *e.Outbound)
		}
	}
}

// run performs a command that is to be killed.
func (c *campaign) killCommand(ctx context.Context, kill string, env []string, args ...string) error {
	cmd := exec.CommandContext(ctx, c.program, args...)
	cmd.Env = append(append(append([]string{}, c.env...), env...), kill)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); !killedBy(err) {
		return fmt.Errorf("nanoclaw %s was to be killed: %w %s", strings.Join(args, " "), err, out.String())
	}
	at, _, _ := strings.Cut(strings.TrimPrefix(kill, "NANOCLAW_CHAOS_KILL="), ":")
	c.count(steps.Step(at))
	c.say("killed nanoclaw %s at %s", args[0], kill[strings.IndexByte(kill, '=')+1:])
	return nil
}

// killBackup kills a backup while a daemon works. A file of that name is there
// whole or not at all.
func (c *campaign) killBackup(ctx context.Context, kill string) error {
	p, err := c.begin()
	if err != nil {
		return err
	}
	defer p.kill()
	if err := p.awaitReady(slow); err != nil {
		return err
	}
	file := filepath.Join(c.dir, fmt.Sprintf("backup-%d.tgz", time.Now().UnixNano()))
	if err := c.killCommand(ctx, kill, nil, "backup", file); err != nil {
		return err
	}
	if _, err := os.Lstat(file); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return c.restores(ctx, file, filepath.Join(c.dir, filepath.Base(file)+".restored"))
}

// restores fails if a backup cannot be restored in a place of its own, with a log
// that verifies.
func (c *campaign) restores(ctx context.Context, file, home string, more ...string) error {
	env := []string{"NANOCLAW_HOME=" + home}
	if out, err := c.command(ctx, env, append([]string{"restore", file}, more...)...); err != nil {
		return fmt.Errorf("restoring a backup: %w %s", err, out)
	}
	if out, err := c.command(ctx, env, "audit", "verify"); err != nil {
		return fmt.Errorf("the log of what was restored: %w %s", err, out)
	}
	return os.RemoveAll(home)
}

// killRestore kills a restore while it puts folders into their places. The same
// command, told to put aside what is there, works then.
func (c *campaign) killRestore(ctx context.Context, kill string) error {
	p, err := c.begin()
	if err != nil {
		return err
	}
	defer p.kill()
	if err := p.awaitReady(slow); err != nil {
		return err
	}
	file := filepath.Join(c.dir, fmt.Sprintf("whole-%d.tgz", time.Now().UnixNano()))
	if out, err := c.command(ctx, nil, "backup", file); err != nil {
		return fmt.Errorf("a backup: %w %s", err, out)
	}
	moves := []int{1, 2, 3, 4} // each folder moves once, and what is in its way before it
	if len(c.Sides) == 0 {
		moves = moves[c.rng.IntN(4):][:1]
	}
	for _, n := range moves {
		home := filepath.Join(c.dir, fmt.Sprintf("r%d", n))
		if out, err := c.command(ctx, []string{"NANOCLAW_HOME=" + home}, "restore", file); err != nil {
			return fmt.Errorf("a first restore: %w %s", err, out)
		}
		at := strings.TrimSuffix(kill, ":1") + fmt.Sprint(":", n)
		if err := c.killCommand(ctx, at, []string{"NANOCLAW_HOME=" + home}, "restore", "--replace", file); err != nil {
			return err
		}
		if err := c.restores(ctx, file, home, "--replace"); err != nil {
			return err
		}
	}
	return nil
}
