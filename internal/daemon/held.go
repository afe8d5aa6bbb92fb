package daemon

import (
	"context"
	"fmt"
	"strings"
	"time"

	"nanoclaw/internal/approval"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/runner"
	"nanoclaw/internal/steps"
	"nanoclaw/internal/store"
)

// heldMessages lists what waits for a time or an answer, with the reason in words.
// What only waits for its turn is not held.
func (d *Daemon) heldMessages(ctx context.Context) ([]control.HeldMessages, error) {
	held, err := d.store.HeldMessages(ctx, steps.Now())
	if err != nil {
		return nil, err
	}
	resting, err := d.resting(ctx)
	if err != nil || len(held)+len(resting) == 0 {
		return nil, err
	}
	r, err := d.holdReasons(ctx)
	if err != nil {
		return nil, err
	}
	out := resting
	for _, h := range held {
		why, code := r.why(h.Hold)
		out = append(out, control.HeldMessages{Group: h.Group, Count: h.Count, Why: why, Until: h.Until, Code: code})
	}
	return out, nil
}

// resting are the groups that are paused and have messages waiting.
func (d *Daemon) resting(ctx context.Context) (out []control.HeldMessages, err error) {
	waiting, err := d.store.DueMessages(ctx, steps.Now())
	for _, w := range waiting {
		if why := d.queue.Rests(w.Group); why != "" {
			out = append(out, control.HeldMessages{Group: w.Group, Count: w.Count, Why: why})
		}
	}
	return out, err
}

// holdReasons are what may stand behind a hold.
type holdReasons struct {
	questions []approval.Asked
	troubles  []runner.Trouble
}

func (d *Daemon) holdReasons(ctx context.Context) (holdReasons, error) {
	troubles, err := d.store.Troubles(ctx)
	return holdReasons{d.desk.Open(), troubles}, err
}

// why tells a hold in words, with the code of the question that ends it, "" for none.
func (r holdReasons) why(hold string) (words, code string) {
	kind, of, _ := strings.Cut(hold, "/")
	switch kind {
	case confirmHold:
		for _, a := range r.questions {
			if a.Hash == of {
				return "you are asked about a run in host mode", a.Code
			}
		}
		return "you are to be asked about a run in host mode", ""
	case "budget":
		return "the budget of " + accountWords(of) + " is used up", ""
	case behindHold:
		return "an earlier question about this group is open", ""
	case "messages":
		if _, sender, ok := strings.Cut(of, "/"); ok {
			return "messages of " + sender + " came too fast (rates.sender.messagesPerMinute)", ""
		}
		return "messages of this group came too fast (rates.group.messagesPerMinute)", ""
	case "host":
		return "enough runs in host mode were made within an hour (hostMode.runsPerHour)", ""
	case "runs":
		return "the runs of the day of " + accountWords(of) + " are used up", ""
	}
	for _, t := range r.troubles {
		if t.Key == hold {
			return t.Text, ""
		}
	}
	return hold, ""
}

// accountWords names the account of a budget by its key.
func accountWords(key string) string {
	kind, of, _ := strings.Cut(key, "/")
	return strings.TrimSpace(kind + " " + of)
}

// whyHeld says in a line why a message waits and until when, "" if it does not.
func (d *Daemon) whyHeld(ctx context.Context, f store.Named, id chat.MessageID) (string, error) {
	if f.State != "waiting" {
		return "", nil
	}
	hold, until, err := d.store.HeldUntil(ctx, f.From, id)
	if err != nil {
		return "", err
	}
	if hold == "" || !until.After(steps.Now()) {
		if rests := d.queue.Rests(d.router.Rules().GroupOf(f.From)); rests != "" {
			return "it waits: " + rests + "\n", nil
		}
		return "", nil
	}
	r, err := d.holdReasons(ctx)
	if err != nil {
		return "", err
	}
	why, code := r.why(hold)
	text := fmt.Sprintf("it waits, since %s, until %s at the latest\n", why, until.Local().Format(time.DateTime))
	if code != "" {
		text += "your answer: nanoclaw approve " + code + "\n"
	}
	return text, nil
}
