package telegram

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"time"

	"github.com/go-telegram/bot"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/channel/supervise"
)

// token is the form of a bot's token. Anything else is sent to nobody: it would become
// a part of an address.
var token = regexp.MustCompile(`^[0-9]{1,20}:[A-Za-z0-9_-]{1,100}$`)

// maxAnswer bounds the answer to one request: a hundred updates have some 2 MB.
const maxAnswer = 16 << 20

// newClient makes what requests go through. A redirection would carry the token away,
// which stands in the address.
func newClient() *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// bounded is a client whose answers end somewhere: the library reads them whole.
type bounded struct{ client *http.Client }

// Do makes a request.
func (b bounded) Do(r *http.Request) (*http.Response, error) {
	response, err := b.client.Do(r)
	if err != nil {
		return nil, bare(err)
	}
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(response.Body, maxAnswer), response.Body}
	return response, nil
}

// bare takes the address, which holds the token, out of an error of a request.
func bare(err error) error {
	var at *url.Error
	if errors.As(err, &at) {
		return fmt.Errorf("telegram cannot be reached: %w", at.Err)
	}
	return err
}

// call does one request to the Bot API, within its limits.
func (c *Channel) call(ctx context.Context, method string, do func(context.Context) error) error {
	return c.gates.Call(ctx, c.opt.Log, method, func(ctx context.Context) error { return judge(do(ctx)) })
}

// errToken is said of a token that does not work.
var errToken = errors.New("telegram does not take the bot's token (any more): log in again with nanoclaw channel login telegram")

// errConflict is said where somebody else asks for our updates.
var errConflict = errors.New("another program asks Telegram for this bot's updates, or it has a webhook: end that, or make a bot of its own with @BotFather")

// conflictWait is the pause after errConflict: two that ask end each other's requests.
const conflictWait = 30 * time.Second

// judge says of an error of the Bot API what it means to us.
func judge(err error) error {
	var limit *bot.TooManyRequestsError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &limit):
		return &supervise.After{Wait: retryIn(limit.RetryAfter), Err: err}
	case errors.Is(err, bot.ErrorUnauthorized), errors.Is(err, bot.ErrorNotFound):
		return channel.Permanent(errToken)
	case errors.Is(err, bot.ErrorConflict):
		return &supervise.After{Wait: conflictWait, Err: errConflict}
	case errors.Is(err, bot.ErrorForbidden), errors.Is(err, bot.ErrorBadRequest):
		return channel.Permanent(err)
	}
	return err
}

// retryIn is what a number of seconds of Telegram's says.
func retryIn(seconds int) time.Duration { return time.Duration(seconds) * time.Second }
