package telegram

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/go-telegram/bot/models"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/channel/supervise"
)

// answerTime is how much longer than its own wait a request for updates may take.
const answerTime = 15 * time.Second

// question is a request for updates. Source: core.telegram.org/bots/api#getupdates.
type question struct {
	Offset  int64    `json:"offset,omitempty"`
	Timeout int      `json:"timeout"`
	Allowed []string `json:"allowed_updates"`
}

// answer is what comes back.
type answer struct {
	OK          bool              `json:"ok"`
	Result      []json.RawMessage `json:"result"`
	Code        int               `json:"error_code"`
	Description string            `json:"description"`
	Parameters  struct {
		RetryAfter int `json:"retry_after"`
	} `json:"parameters"`
}

// connect asks for updates, one request after the other, until that fails. The first
// does not wait: what came while we were away is there, and so is a refusal.
func (c *Channel) connect(ctx context.Context, l *supervise.Line, sink channel.Sink) error {
	if _, err := c.identify(ctx); err != nil {
		return err
	}
	if err := c.moves.load(ctx); err != nil {
		return fmt.Errorf("which chats have moved is not known: %w", err)
	}
	for wait, first := time.Duration(0), true; ; first = false {
		updates, err := c.poll(ctx, wait)
		if err != nil {
			return err
		}
		if first {
			l.Up()
		}
		l.Alive()
		pause, err := c.takeAll(ctx, updates, sink, l.Alive)
		if err != nil {
			return err
		}
		wait = c.opt.Poll
		if pause > 0 {
			wait = 0 // what waits is there, and a long request would be answered at once
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return ctx.Err()
			}
			l.Alive()
		}
	}
}

// poll asks for updates once. What is below next is confirmed by it. With nothing to
// confirm no number is named: after a quiet week Telegram begins to count at another,
// and a higher one of ours would have it forget what came.
func (c *Channel) poll(ctx context.Context, wait time.Duration) ([]json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, wait+answerTime)
	defer cancel()
	// Edited messages are not among the kinds.
	kinds := []string{models.AllowedUpdateMessage, models.AllowedUpdateChannelPost, models.AllowedUpdateCallbackQuery}
	body, err := json.Marshal(question{Offset: c.next, Timeout: int(wait.Seconds()), Allowed: kinds})
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.opt.API+"/bot"+c.opt.Bot+"/getUpdates", bytes.NewReader(body))
	if err != nil {
		return nil, channel.Permanent(errToken) // it makes no address
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := c.http.Do(r)
	if err != nil {
		return nil, bare(err)
	}
	defer response.Body.Close()
	var a answer
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(&a); err != nil {
		return nil, fmt.Errorf("telegram answered with %s and no updates: %w", response.Status, err)
	}
	if !a.OK {
		return nil, refusal(a)
	}
	c.next = 0
	return a.Result, nil
}

// refusal is why there are no updates.
func refusal(a answer) error {
	switch a.Code {
	case http.StatusUnauthorized, http.StatusNotFound:
		return channel.Permanent(errToken)
	case http.StatusConflict:
		return &supervise.After{Wait: conflictWait, Err: errConflict}
	case http.StatusTooManyRequests:
		return &supervise.After{Wait: retryIn(a.Parameters.RetryAfter), Err: fmt.Errorf("telegram asks to wait")}
	}
	return fmt.Errorf("telegram gives no updates: %d %s", a.Code, channel.OneLine(a.Description, 200))
}
