package chaostest

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"nanoclaw/internal/agent/agenttest"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/steps"
)

// talk is the room of the real Claude Code, whose model this process plays.
const talk chat.ChatID = "talk"

// hold in a message has the model be silent until it is let go.
const hold = "please wait"

// thinker is the model: it answers each message with its word.
type thinker struct {
	*agenttest.Model
	judge *judge

	mu   sync.Mutex    // guards all below
	held chan struct{} // closed when the model began to hold
	goOn chan struct{} // closed when it may go on
}

func newThinker(j *judge) *thinker {
	t := &thinker{judge: j}
	t.Model = agenttest.NewModel(t.answer)
	return t
}

// expect makes the next message that asks for it be held, until free is called.
func (t *thinker) expect() (held <-chan struct{}, free func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held, t.goOn = make(chan struct{}), make(chan struct{})
	goOn := t.goOn
	return t.held, sync.OnceFunc(func() { close(goOn) })
}

func (t *thinker) answer(r agenttest.Request) agenttest.Step {
	text := asked(r.UserText)
	found := wordsIn(text, talk)
	step := agenttest.Step{}
	if len(found) == 0 { // a note of the host: nobody saw the answer
		for _, w := range wordsIn(people(r.Body), talk) {
			if !t.judge.ended(w) && !slices.Contains(found, w) {
				found = append(found, w)
			}
		}
	}
	step.Text = "Answered:"
	for _, w := range found {
		step.Text += " " + w.String()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if strings.Contains(text, hold) && t.goOn != nil {
		step.Until = t.goOn
		select {
		case <-t.held:
		default:
			close(t.held)
		}
	}
	return step
}

// asked is what the last prompt asks. Claude Code puts before it, in the same turn, those
// of earlier starts that were killed before an answer to them was on its disk, though the
// answer itself may have been given since.
func asked(text string) string {
	if i := strings.LastIndex(text, "<messages>"); i >= 0 {
		return text[i:]
	}
	return text
}

// people is what people wrote in the conversation that a request carries.
func people(body []byte) string {
	var b struct {
		Messages []struct {
			Role    string          `json:"role"`
			Content json.RawMessage `json:"content"`
		} `json:"messages"`
	}
	if json.Unmarshal(body, &b) != nil {
		return ""
	}
	var out strings.Builder
	for _, m := range b.Messages {
		if m.Role == "user" {
			out.Write(m.Content)
		}
	}
	return out.String()
}

// ended says that a message had its end.
func (j *judge) ended(w word) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return !slices.Contains(j.open[w.room], w)
}

// joinTalk has a message come while Claude Code works on another.
func (c *campaign) joinTalk(_ context.Context, p *process) {
	held, free := c.model.expect()
	go func() {
		<-p.over
		free()
	}()
	for range 3 { // what an earlier kill left is answered first, and holds nothing
		w := c.judge.write(talk)
		c.net.Say(talk, "ann", chat.MessageID(w.String()), hold+" "+w.String())
		select {
		case <-held:
			w := c.judge.write(talk)
			c.net.Say(talk, "ann", chat.MessageID(w.String()), w.String())
			return
		case <-p.over:
			return
		case <-time.After(slow / 4):
		}
	}
}

// unreachable are the steps that cannot be reached without Claude Code.
func (c *campaign) unreachable(s steps.Step) bool { return s == steps.Join && c.Claude == "" }
