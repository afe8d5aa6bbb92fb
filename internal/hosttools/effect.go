package hosttools

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// A call that has an effect is written down before it is done and after. A run that
// takes up the messages of one that was cut off makes the same calls again: what
// happened then is answered as done, and what may have happened is done under the
// same key, by which the host does it once. So an effect is repeated only by an agent
// that asks for it once more than before.

// Effect is a call that has an effect.
type Effect struct {
	Tool string
	// Hash stands for the arguments, however they are written. Brief tells them.
	Hash, Brief string
}

// Begun is what the host knows of an effect before it is done.
type Begun struct {
	// Key names it, the same for each run that asks for it.
	Key string
	// Done says that an earlier run did it, at that time, and was told Answer.
	Done   bool
	Answer string
	At     time.Time
	// End writes down what came of it. Nil if it is done.
	End func(ctx context.Context, did bool, answer string) error
}

type effectKey struct{}

// EffectKey is the key of the effect that a call of Host is part of, "" for none.
// What is done under a key that was used before is not to be done again.
func EffectKey(ctx context.Context) string {
	key, _ := ctx.Value(effectKey{}).(string)
	return key
}

// effectOf is a call as it is known again: by its arguments in the form that
// encoding/json gives them, with keys in order.
func effectOf(tool string, args json.RawMessage) Effect {
	var value any
	form := []byte(args)
	if json.Unmarshal(args, &value) == nil {
		if canonical, err := json.Marshal(value); err == nil {
			form = canonical
		}
	}
	sum := sha256.Sum256(form)
	return Effect{Tool: tool, Hash: hex.EncodeToString(sum[:16]), Brief: clip(string(form), 300)}
}

// once does a call whose effect must not be repeated.
func (s *Server) once(ctx context.Context, t tool, args json.RawMessage, do func(context.Context) (string, error)) (string, error) {
	if !t.effect || s.id.Run == nil {
		return do(ctx)
	}
	b, err := s.host.Begin(ctx, s.id, effectOf(t.name, args))
	if err != nil {
		return "", err
	}
	if b.Done {
		return fmt.Sprintf("This was done at %s already, before your work was cut off, and is not done twice: %s (The same call once more would do it again.)",
			b.At.UTC().Format("15:04:05 UTC"), b.Answer), nil
	}
	text, err := do(context.WithValue(ctx, effectKey{}, b.Key))
	// If this fails the effect counts as one that may have happened, and its key
	// still keeps it from happening twice.
	_ = b.End(context.WithoutCancel(ctx), err == nil, clip(text, 2000))
	return text, err
}
