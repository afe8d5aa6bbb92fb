// Package httpapi is the channel of programs that speak with a group over HTTP and come
// back for the answer. docs/api.md is for whoever writes one.
//
// Each token is one chat and one sender, api:NAME, of one group. A request says in no
// other way than by its token whose it is.
//
// It promises that a message is durable before 202 is answered, that the same id counts
// once, that a token sees its own messages and answers and nothing else, and that what
// is read of a request without a good token is its head alone.
//
// # Trust
//
// A sender here is a program with a secret that can be copied, never a person: as for
// webhooks, it is a member of its group at most, whatever is configured. Which token is
// good is the host's to say: it keeps no token, only what each hashes to.
package httpapi

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
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
const ID = chat.API

// self is who we are: no token has this name.
const self chat.SenderID = "nanoclaw:host"

// Bounds.
const (
	maxBody  = 256 << 10
	maxID    = 100
	burst    = 60 // requests of one token at once, and then one a second
	failures = 30 // requests without a good token, of all together, likewise
	maxWaits = 8  // requests of one token that wait for an answer at once
	// maxAllWaits are those of all tokens: connections are left for who sends.
	maxAllWaits = 32
	maxWait     = webserve.WaitTime - 5*time.Second
)

// Token is what the host knows of a good one.
type Token struct {
	Name  string
	Group chat.Group
}

// Message is what became of one.
type Message struct {
	ID chat.MessageID `json:"id"`
	// State is that of the stored message (waiting, held, claimed, taken, ignored, refused,
	// dead), or how its run ended; Final says that it will not change.
	State  string     `json:"state"`
	Final  bool       `json:"final"`
	Reason string     `json:"reason,omitempty"`
	Run    chat.RunID `json:"run,omitempty"`
	// Answers are what was said to the token because of it, in order.
	Answers []Answer `json:"answers"`
}

// Answer is one message to a token.
type Answer struct {
	Kind   chat.OutboundKind `json:"kind"`
	Text   string            `json:"text"`
	Failed bool              `json:"failed,omitempty"`
}

// ErrNone says that a token has no such message.
var ErrNone = errors.New("there is no such message")

// Host is what the channel asks of the host.
type Host interface {
	// Token says whose a secret is. It is called with anything, and takes the same
	// time whatever is nearly right.
	Token(secret string) (Token, bool)
	// Message tells what became of a message of a token, or ErrNone.
	Message(ctx context.Context, t Token, id chat.MessageID) (Message, error)
	// Changed is closed when something may have become of messages.
	Changed() <-chan struct{}
}

// Options configures a channel.
type Options struct {
	Host Host
	Log  *slog.Logger
	// Now is the clock. nil is time.Now.
	Now func() time.Time
}

// Channel serves the API.
type Channel struct {
	opt            Options
	rate, failures webserve.Rate
	flows          flows

	mu    sync.Mutex // guards all below
	sink  channel.Sink
	waits map[string]int
	all   int // of waits
}

var (
	_ channel.Channel  = (*Channel)(nil)
	_ channel.Progress = (*Channel)(nil)
)

// New makes a channel. Its Handler is for whoever listens.
func New(o Options) *Channel {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Channel{
		opt: o, waits: map[string]int{},
		rate: webserve.Rate{Burst: burst, Every: time.Second}, failures: webserve.Rate{Burst: failures, Every: time.Second},
	}
}

// ID gives "api".
func (c *Channel) ID() chat.ChannelID { return ID }

// Self is the host.
func (c *Channel) Self() chat.SenderID { return self }

// Address is the chat of a token.
func Address(name string) chat.Address { return chat.Address{Channel: ID, Chat: chat.ChatID(name)} }

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

// Deliver says that a message can be fetched: it is durable already, and the program
// comes for it.
func (c *Channel) Deliver(ctx context.Context, m chat.Outbound) (chat.MessageID, error) {
	if m.To.Channel != ID {
		return "", channel.Permanent(fmt.Errorf("the API cannot deliver to %s", m.To))
	}
	return chat.MessageID(fmt.Sprintf("a%d", m.ID)), ctx.Err()
}

// Handler serves /v1/groups/NAME/messages and /v1/messages/ID.
func (c *Channel) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/groups/{group}/messages", c.with(c.post))
	mux.HandleFunc("GET /v1/messages/{id}", c.with(c.get))
	return mux
}

// with lets a request with a good token through, so many of each.
func (c *Channel) with(next func(http.ResponseWriter, *http.Request, Token)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		now := c.opt.Now()
		t, ok := c.token(r.Header)
		rate, name := &c.rate, t.Name
		if !ok {
			rate, name = &c.failures, ""
		}
		if free, wait := rate.Take(name, now); !free {
			w.Header().Set("Retry-After", strconv.Itoa(int(wait.Seconds())+1))
			webserve.Refuse(w, http.StatusTooManyRequests, "too many requests")
			return
		}
		if !ok {
			w.Header().Set("WWW-Authenticate", `Bearer realm="nanoclaw"`)
			webserve.Refuse(w, http.StatusUnauthorized, "a good token is needed: nanoclaw token add")
			return
		}
		next(w, r, t)
	}
}

// token finds the token of a request in the one place where it may stand: an address
// ends up in logs.
func (c *Channel) token(h http.Header) (Token, bool) {
	all := h.Values("Authorization")
	if len(all) != 1 {
		return Token{}, false
	}
	scheme, secret, ok := strings.Cut(all[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") || !WellFormed(secret) {
		return Token{}, false
	}
	return c.opt.Host.Token(secret)
}

// request is what is posted.
type request struct {
	Text string `json:"text"`
	// ID makes the message known again: the same counts once. "" has the host choose.
	ID string `json:"id"`
}

func (c *Channel) post(w http.ResponseWriter, r *http.Request, t Token) {
	if r.PathValue("group") != string(t.Group) { // and so is a group that is not there
		webserve.Refuse(w, http.StatusNotFound, "this token has no group of that name")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		webserve.Refuse(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body was not read: at most %d bytes are", maxBody))
		return
	}
	q, err := parse(body)
	if err != nil {
		webserve.Refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	if q.ID == "" {
		q.ID = rand.Text()
	}
	c.mu.Lock()
	sink := c.sink
	c.mu.Unlock()
	if sink == nil {
		w.Header().Set("Retry-After", "5")
		webserve.Refuse(w, http.StatusServiceUnavailable, "the host is starting or stopping")
		return
	}
	in := chat.Inbound{
		From: Address(t.Name), ID: chat.MessageID(q.ID), Sent: c.opt.Now(), Mentioned: true, Text: q.Text,
		Sender: chat.Sender{ID: chat.SenderID(t.Name), Name: "the program " + t.Name},
	}
	if err := sink.Receive(context.WithoutCancel(r.Context()), in); err != nil {
		c.opt.Log.Error("a message of the API could not be stored", "token", t.Name, "err", err)
		w.Header().Set("Retry-After", "30")
		webserve.Refuse(w, http.StatusServiceUnavailable, "the message could not be stored")
		return
	}
	w.Header().Set("Location", "/v1/messages/"+q.ID)
	webserve.Answer(w, http.StatusAccepted, map[string]string{"id": q.ID})
}

// parse reads a body as one object with known fields.
func parse(body []byte) (request, error) {
	var q request
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	switch err := d.Decode(&q); {
	case !utf8.Valid(body):
		return q, errors.New("the body is not in UTF-8")
	case err != nil:
		return q, errors.New(`the body is no object with "text", and perhaps "id"`)
	case d.More():
		return q, errors.New("something follows the object")
	case strings.TrimSpace(q.Text) == "":
		return q, errors.New("text is empty")
	case q.ID != "" && !plainID(q.ID):
		return q, fmt.Errorf("an id has at most %d characters, of a-z, A-Z, 0-9, - and _", maxID)
	}
	return q, nil
}

func plainID(s string) bool {
	return s != "" && len(s) <= maxID && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	})
}

// get tells what became of a message, and waits for its end if it is asked to, or tells
// what goes on until then.
func (c *Channel) get(w http.ResponseWriter, r *http.Request, t Token) {
	id := r.PathValue("id")
	wait, err := waitOf(r)
	events := streams(r)
	switch {
	case err != nil:
		webserve.Refuse(w, http.StatusBadRequest, err.Error())
		return
	case !plainID(id):
		webserve.Refuse(w, http.StatusNotFound, ErrNone.Error())
		return
	case (wait > 0 || events) && !c.enter(t.Name):
		webserve.Refuse(w, http.StatusTooManyRequests, fmt.Sprintf("at most %d requests of a token wait at once, and %d of all", maxWaits, maxAllWaits))
		return
	case wait > 0 || events:
		defer c.leave(t.Name)
	}
	if events {
		wait = 0
	}
	changed := c.opt.Host.Changed()
	m, err := c.await(r.Context(), t, chat.MessageID(id), wait)
	switch {
	case errors.Is(err, ErrNone):
		webserve.Refuse(w, http.StatusNotFound, ErrNone.Error())
	case err != nil:
		c.opt.Log.Error("a message of the API could not be read", "token", t.Name, "err", err)
		webserve.Refuse(w, http.StatusInternalServerError, "the message could not be read")
	case events:
		c.stream(w, r, t, m, changed)
	default:
		webserve.Answer(w, http.StatusOK, safe(m))
	}
}

// safe is a message without what a terminal would obey.
func safe(m Message) Message {
	for i := range m.Answers {
		m.Answers[i].Text = channel.SafeText(m.Answers[i].Text)
	}
	return m
}

// waitOf is how long a request wants to wait for the end, "?wait=30" in seconds.
func waitOf(r *http.Request) (time.Duration, error) {
	text := r.URL.Query().Get("wait")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0, errors.New("wait is a number of seconds")
	}
	return min(time.Duration(n)*time.Second, maxWait), nil
}

// await gives a message once it is final, or as it is after a time.
func (c *Channel) await(ctx context.Context, t Token, id chat.MessageID, wait time.Duration) (Message, error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		changed := c.opt.Host.Changed()
		m, err := c.opt.Host.Message(ctx, t, id)
		if err != nil || m.Final || wait == 0 {
			return m, err
		}
		select {
		case <-changed:
		case <-timer.C:
			return m, nil
		case <-ctx.Done():
			return m, ctx.Err()
		}
	}
}

func (c *Channel) enter(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waits[name] >= maxWaits || c.all >= maxAllWaits {
		return false
	}
	c.waits[name]++
	c.all++
	return true
}

func (c *Channel) leave(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if c.waits[name]--; c.waits[name] == 0 {
		delete(c.waits, name)
	}
}

// prefix begins a token, so that people and scanners know one.
const prefix = "nanoclaw_"

// NewToken makes a token of 256 bits.
func NewToken() string {
	b := make([]byte, 32)
	rand.Read(b) // never fails: crypto/rand ends the program instead
	return prefix + base64.RawURLEncoding.EncodeToString(b)
}

// WellFormed says that a text can be a token.
func WellFormed(s string) bool {
	text, ok := strings.CutPrefix(s, prefix)
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	return ok && err == nil && len(b) == 32
}

// Hash is what is kept of a token. The key is the installation's, so that a copy of the
// store says nothing about a token that somebody has.
func Hash(key []byte, token string) string {
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "nanoclaw api token v1\n%s", token)
	return hex.EncodeToString(mac.Sum(nil))
}
