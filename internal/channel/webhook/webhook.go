// Package webhook is the channel of programs that send signed HTTP requests, such as a
// build server, a shop or GitHub.
//
// Each hook is one chat, webhook:NAME, of one group, and one sender of the same name.
// Whoever has its secret says what its messages are. Answers go to the hook's own
// address, signed with the same secret, or nowhere.
//
// It promises that nothing of a request without a good signature is read but what the
// check needs; that the check takes the same time whatever is wrong; that a request
// counts once; and that 202 is answered after the message is durable.
//
// # Trust
//
// A sender here is a program, never a person: Sender.Owner is not set, and whatever the
// configuration says, authority gives it no role but that of a member. What is in a
// body may be written by anybody, as is the text of an issue at GitHub: a hook with
// words of its own (Say) has the agent do those, and the body is quoted as somebody
// else's. The client for answers is made by the host, which decides what addresses it
// may reach.
package webhook

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/channel/webserve"
	"nanoclaw/internal/chat"
)

// ID is the channel's name.
const ID = chat.Webhook

// self is who we are: no hook has this name.
const self chat.SenderID = "nanoclaw:host"

// Bounds.
const (
	maxQuote   = 32 << 10 // bytes of a body that are quoted
	maxAnswer  = 64 << 10 // bytes of what an answer is answered with, which are not read further
	answerTime = 30 * time.Second
	burst      = 30 // requests of one hook at once, and then one a second
)

// Hook is one webhook.
type Hook struct {
	Name   string
	Form   Form
	Secret []byte
	// Say is what the agent is told to do with a body. "": the body is the message.
	Say string
	// Answer is where answers are posted to, "" for nowhere, and Reach how.
	Answer string
	Reach  http.RoundTripper
}

// Options configures a channel.
type Options struct {
	Hooks []Hook
	Log   *slog.Logger
	// Now is the clock. nil is time.Now.
	Now func() time.Time
}

// Channel takes requests in.
type Channel struct {
	opt   Options
	hooks map[string]Hook
	rate  webserve.Rate

	mu   sync.Mutex
	sink channel.Sink // nil unless Run runs
}

var _ channel.Channel = (*Channel)(nil)

// New makes a channel. Its Handler is for whoever listens.
func New(o Options) *Channel {
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &Channel{opt: o, hooks: map[string]Hook{}, rate: webserve.Rate{Burst: burst, Every: time.Second}}
	for _, h := range o.Hooks {
		c.hooks[h.Name] = h
	}
	return c
}

// ID gives "webhook".
func (c *Channel) ID() chat.ChannelID { return ID }

// Self is the host. No hook gives back what it was told.
func (c *Channel) Self() chat.SenderID { return self }

// Run takes messages until ctx ends.
func (c *Channel) Run(ctx context.Context, sink channel.Sink) error {
	c.set(sink)
	<-ctx.Done()
	c.set(nil)
	return nil
}

func (c *Channel) set(s channel.Sink) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sink = s
}

// Handler serves POST /hooks/NAME.
func (c *Channel) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /hooks/{name}", c.take)
	return mux
}

func (c *Channel) take(w http.ResponseWriter, r *http.Request) {
	hook, known := c.hooks[r.PathValue("name")]
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		webserve.Refuse(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body was not read: at most %d bytes are", maxBody))
		return
	}
	now := c.opt.Now()
	if !known { // and takes as long as for one that is
		hook.Secret = []byte("of nobody")
	}
	s, err := verify(hook.Form, hook.Secret, r.Header, body, now)
	if err != nil || !known {
		webserve.Refuse(w, http.StatusUnauthorized, errSignature.Error())
		return
	}
	if ok, wait := c.rate.Take(hook.Name, now); !ok {
		w.Header().Set("Retry-After", strconv.Itoa(int(wait.Seconds())+1))
		webserve.Refuse(w, http.StatusTooManyRequests, "too many requests of this webhook")
		return
	}
	if r.Header.Get("Content-Encoding") != "" || !utf8.Valid(body) {
		webserve.Refuse(w, http.StatusUnsupportedMediaType, "a body is text in UTF-8, and not compressed")
		return
	}
	if s.at.IsZero() {
		s.at = now
	}
	c.hand(w, r, hook.inbound(s, r.Header, string(body)))
}

// hand gives a message to the host, and answers once it is durable.
func (c *Channel) hand(w http.ResponseWriter, r *http.Request, in chat.Inbound) {
	c.mu.Lock()
	sink := c.sink
	c.mu.Unlock()
	if sink == nil {
		w.Header().Set("Retry-After", "5")
		webserve.Refuse(w, http.StatusServiceUnavailable, "the host is starting or stopping")
		return
	}
	if err := sink.Receive(context.WithoutCancel(r.Context()), in); err != nil {
		c.opt.Log.Error("a webhook's message could not be stored", "hook", in.From.Chat, "err", err)
		w.Header().Set("Retry-After", "30")
		webserve.Refuse(w, http.StatusServiceUnavailable, "the message could not be stored")
		return
	}
	webserve.Answer(w, http.StatusAccepted, map[string]string{"id": string(in.ID)})
}

// Address is the chat of a hook.
func Address(name string) chat.Address { return chat.Address{Channel: ID, Chat: chat.ChatID(name)} }

// inbound is the message that a request is.
func (h Hook) inbound(s signed, header http.Header, body string) chat.Inbound {
	in := chat.Inbound{
		From: Address(h.Name), ID: s.once, Sent: s.at, Mentioned: true, Text: body,
		Sender: chat.Sender{ID: chat.SenderID(h.Name), Name: "the webhook " + h.Name},
	}
	if h.Say == "" {
		return in
	}
	author := "the webhook " + h.Name
	if event := single(header, "X-GitHub-Event"); h.Form == GitHub && event != "" { // not signed: a word for the reader
		author += ", event " + channel.OneLine(event, 60)
	}
	if len(body) > maxQuote {
		body, in.Truncated = strings.ToValidUTF8(body[:maxQuote], ""), true
	}
	in.Text, in.Quotes = h.Say, []chat.Quote{{Author: author, Text: body}}
	return in
}

// answer is what is posted to a hook's address.
type answer struct {
	Type   string            `json:"type"` // "message"
	Hook   string            `json:"hook"`
	Kind   chat.OutboundKind `json:"kind"`
	Run    chat.RunID        `json:"run,omitempty"`
	Text   string            `json:"text"`
	Failed bool              `json:"failed,omitempty"`
	Last   bool              `json:"last,omitempty"` // it ends its run
}

// unsent is the id of a message to a hook that has no address: it is in the record, and
// went nowhere.
const unsent chat.MessageID = "unsent: the webhook has no answer address"

// Deliver posts a message to the hook's address, signed as Standard Webhooks are. The
// id in it is the same at each attempt, so that whoever takes it can tell.
func (c *Channel) Deliver(ctx context.Context, m chat.Outbound) (chat.MessageID, error) {
	hook, known := c.hooks[string(m.To.Chat)]
	if m.To.Channel != ID || !known {
		return "", channel.Permanent(fmt.Errorf("there is no webhook %s", m.To))
	}
	if hook.Answer == "" {
		return unsent, nil
	}
	body, err := json.Marshal(answer{"message", hook.Name, m.Kind, m.Run, channel.SafeText(m.Text), m.Failed, m.Last})
	if err != nil {
		return "", channel.Permanent(err)
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, hook.Answer, bytes.NewReader(body))
	if err != nil {
		return "", channel.Permanent(err)
	}
	sum := sha256.Sum256([]byte(cmp.Or(m.Key, strconv.FormatInt(m.ID, 10))))
	id, stamp := ownPrefix+hex.EncodeToString(sum[:16]), strconv.FormatInt(c.opt.Now().Unix(), 10)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "nanoclaw")
	r.Header.Set("Webhook-Id", id)
	r.Header.Set("Webhook-Timestamp", stamp)
	r.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(standardMAC(hook.Secret, id, stamp, body)))
	if err := post(hook.Reach, r); err != nil {
		return "", fmt.Errorf("posting to the answer address of webhook %s: %w", hook.Name, err)
	}
	return chat.MessageID(id), nil
}

// post sends a request. No redirect is followed: the address is the one that the owner
// wrote. What can never work is permanent.
func post(by http.RoundTripper, r *http.Request) error {
	if by == nil {
		return channel.Permanent(errors.New("there is no way to it"))
	}
	a, err := by.RoundTrip(r)
	if err != nil {
		return err
	}
	defer a.Body.Close()
	_, _ = io.CopyN(io.Discard, a.Body, maxAnswer)
	switch s := a.StatusCode; {
	case s/100 == 2:
		return nil
	case s == http.StatusRequestTimeout, s == http.StatusTooEarly, s == http.StatusTooManyRequests, s/100 == 5:
		return fmt.Errorf("it answered %d", s)
	default:
		return channel.Permanent(fmt.Errorf("it answered %d", s))
	}
}
