package daemon

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"time"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/channel/httpapi"
	"nanoclaw/internal/channel/webhook"
	"nanoclaw/internal/channel/webserve"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
	"nanoclaw/internal/control"
	"nanoclaw/internal/credential"
	"nanoclaw/internal/egress"
	"nanoclaw/internal/store"
)

// programs are the channels of programs, behind one listener.
type programs struct {
	key []byte // of the hashes of tokens
	mux *http.ServeMux
	// mute are the webhooks without a good secret.
	mute []string
	// listener is made by Run, unless there is one.
	listener net.Listener
}

// tokenKeyMeta is under which the store keeps the key of the hashes of tokens.
const tokenKeyMeta = "api.key"

// openPrograms makes the channels of webhooks and of the API, as far as the
// configuration has them.
func (d *Daemon) openPrograms() error {
	c := d.config.Channels.Webhook
	if c.Listen == "" {
		return nil
	}
	d.programs.mux = http.NewServeMux()
	if len(c.Hooks) > 0 {
		hooks := webhook.New(webhook.Options{Hooks: d.hooks(c), Log: d.log.With("channel", webhook.ID)})
		d.addChannel(hooks)
		d.programs.mux.Handle("/hooks/", hooks.Handler())
	}
	if c.API {
		if err := d.loadTokenKey(context.Background()); err != nil {
			return err
		}
		api := httpapi.New(httpapi.Options{Host: apiHost{d}, Log: d.log.With("channel", httpapi.ID)})
		d.addChannel(api)
		d.programs.mux.Handle("/v1/", api.Handler())
	}
	return nil
}

// hooks are those of the configuration that have a secret. Of the others the owner is
// told, and nothing is taken for them.
func (d *Daemon) hooks(c config.Webhook) []webhook.Hook {
	tokens, err := credential.New(d.opt.Paths, d.opt.Getenv).LoadTokens(string(webhook.ID))
	if err != nil {
		d.log.Error("the secrets of webhooks cannot be read", "err", err)
	}
	var out []webhook.Hook
	for _, name := range slices.Sorted(maps.Keys(c.Hooks)) {
		h := c.Hooks[name]
		form := webhook.Form(h.Form)
		if form == "" {
			form = webhook.Standard
		}
		secret, err := webhook.ParseSecret(tokens[name], form)
		if err != nil {
			d.log.Error("a webhook takes nothing: it has no secret that is good", "hook", name, "err", err)
			d.programs.mute = append(d.programs.mute, name)
			continue
		}
		d.mask.Learn(tokens[name])
		out = append(out, webhook.Hook{Name: name, Form: form, Secret: secret, Say: h.Say, Answer: h.Answer, Reach: egress.Outgoing(h.Private)})
	}
	return out
}

// servePrograms listens until ctx ends.
func (d *Daemon) servePrograms(ctx context.Context) {
	if d.programs.mux == nil {
		return
	}
	for _, name := range d.programs.mute {
		d.tellOwner(ctx, fmt.Sprintf("hook:%s:%d", name, d.started.UnixNano()),
			fmt.Sprintf("The webhook %s takes nothing: it has no secret that is good. Run nanoclaw webhook secret %s, and restart nanoclaw.", name, name))
	}
	c := d.config.Channels.Webhook
	o := webserve.Options{Listen: c.Listen, Hosts: c.Hosts, Log: d.log}
	l, err := d.programs.listener, error(nil)
	if l == nil {
		l, err = webserve.Listen(ctx, o)
	}
	if err == nil {
		d.programChanged(channel.Status{State: channel.Connected, Since: time.Now()})
		err = webserve.Serve(ctx, l, o, d.programs.mux)
	}
	if err != nil && ctx.Err() == nil {
		d.programChanged(channel.Status{State: channel.Ended, Since: time.Now(), Cause: err.Error()})
		d.log.Error("nothing is taken from programs", "err", err)
		d.tellOwner(ctx, fmt.Sprintf("programs:%d", d.started.UnixNano()), fmt.Sprintf("Webhooks and the API are not served: %v", err))
	}
}

// programChanged notes how the listener stands, for each channel behind it. Nothing is
// missed there that could be found: whoever sends is told.
func (d *Daemon) programChanged(s channel.Status) {
	d.networks.mu.Lock()
	defer d.networks.mu.Unlock()
	for _, id := range []chat.ChannelID{webhook.ID, httpapi.ID} {
		if d.channels[id] != nil {
			d.networks.states[id] = s
		}
	}
}

// loadTokenKey reads the key of the hashes, and makes it the first time.
func (d *Daemon) loadTokenKey(ctx context.Context) error {
	if d.programs.key != nil {
		return nil
	}
	text, err := d.store.Meta(ctx, tokenKeyMeta)
	if err == nil && text == "" {
		b := make([]byte, 32)
		rand.Read(b) // never fails: crypto/rand ends the program instead
		text = hex.EncodeToString(b)
		err = d.store.SetMeta(ctx, tokenKeyMeta, text)
	}
	if err != nil {
		return err
	}
	d.programs.key, err = hex.DecodeString(text)
	if err != nil || len(d.programs.key) != 32 {
		d.programs.key = nil
		return fmt.Errorf("the key of the API's tokens in the store is damaged: %w", err)
	}
	return nil
}

// apiHost is the daemon for the API.
type apiHost struct{ d *Daemon }

// Token says whose a token is. It compares with all, so that it takes the same time for
// any that is wrong.
func (h apiHost) Token(secret string) (t httpapi.Token, ok bool) {
	is := []byte(httpapi.Hash(h.d.programs.key, secret))
	for _, r := range h.d.rightsNow() {
		if r.Kind == store.RightToken && hmac.Equal([]byte(r.Hash), is) {
			if a, err := chat.ParseAddress(r.Subject); err == nil {
				t, ok = httpapi.Token{Name: string(a.Chat), Group: r.Group}, true
			}
		}
	}
	return t, ok
}

// Changed is closed when something may have become of messages.
func (h apiHost) Changed() <-chan struct{} { return h.d.changed.wait() }

// Message tells what became of a message of a token, and what was said to it.
func (h apiHost) Message(ctx context.Context, t httpapi.Token, id chat.MessageID) (httpapi.Message, error) {
	a := httpapi.Address(t.Name)
	is, final, err := h.d.answerAt(ctx, t.Group, a, id)
	if errors.Is(err, store.ErrNotFound) {
		return httpapi.Message{}, httpapi.ErrNone
	}
	if err != nil {
		return httpapi.Message{}, err
	}
	m := httpapi.Message{ID: id, State: is.State, Final: final && is.State != "held", Reason: is.Reason, Run: is.Run, Answers: []httpapi.Answer{}}
	said, err := h.d.store.SaidTo(ctx, a, is.Run, commandKey(a, id))
	for _, s := range said {
		m.Answers = append(m.Answers, httpapi.Answer{Kind: s.Kind, Text: s.Text, Failed: s.Failed})
	}
	return m, err
}

// Tokens lists the tokens of the API.
func (d *Daemon) Tokens(context.Context) ([]control.TokenInfo, error) {
	out := []control.TokenInfo{}
	for _, r := range d.rightsNow() {
		if a, err := chat.ParseAddress(r.Subject); r.Kind == store.RightToken && err == nil {
			out = append(out, control.TokenInfo{Name: string(a.Chat), Group: r.Group, At: r.At})
		}
	}
	return out, nil
}

// maxTokens bounds how many there are.
const maxTokens = 200

// TokenAdd makes a token of the API. Whoever is on the socket is the owner.
func (d *Daemon) TokenAdd(ctx context.Context, r control.TokenSpec) (control.TokenMade, error) {
	var made control.TokenMade
	refuse := func(text, hint string) (control.TokenMade, error) {
		return made, &control.Error{Code: control.CodeRefused, Message: text, Hint: hint}
	}
	if err := d.known(r.Group); err != nil {
		return made, err
	}
	d.people.change.Lock()
	defer d.people.change.Unlock()
	all, err := d.Tokens(ctx)
	switch {
	case err != nil:
		return made, err
	case r.Group == chat.Main:
		return refuse("main is your own chat: no program speaks there", "name another group")
	case !config.ProviderName(r.Name):
		return made, &control.Error{Code: control.CodeUsage, Message: fmt.Sprintf("%q is no name for a token", r.Name), Hint: "use 1 to 40 letters, digits, - and _"}
	case slices.ContainsFunc(all, func(t control.TokenInfo) bool { return t.Name == r.Name }):
		return refuse("there is a token "+r.Name+" already", "nanoclaw token remove "+r.Name+", or another name")
	case len(all) >= maxTokens:
		return refuse(fmt.Sprintf("there are %d tokens already", len(all)), "nanoclaw token remove NAME")
	}
	if err := d.loadTokenKey(ctx); err != nil {
		return made, err
	}
	token := httpapi.NewToken()
	right := store.Right{Kind: store.RightToken, Group: r.Group, Subject: httpapi.Address(r.Name).String(), Hash: httpapi.Hash(d.programs.key, token)}
	if err := d.allow(ctx, right, atTheSocket(), "the owner made a token of the API"); err != nil {
		return made, err
	}
	return control.TokenMade{TokenInfo: control.TokenInfo{Name: r.Name, Group: r.Group, At: time.Now().UTC()}, Token: token}, nil
}

// TokenRemove ends a token. When it returns, nothing is taken with it any more, and
// what waits of it is refused.
func (d *Daemon) TokenRemove(ctx context.Context, r control.TokenSpec) error {
	d.people.change.Lock()
	defer d.people.change.Unlock()
	subject := httpapi.Address(r.Name).String()
	for _, right := range d.rightsNow() {
		if right.Kind == store.RightToken && right.Subject == subject {
			if _, err := d.disallow(ctx, right.ID, atTheSocket(), "the owner took it back"); err != nil {
				return err
			}
			return d.store.RefuseWaiting(ctx, store.Stranger{Group: right.Group, Sender: subject, At: time.Now().UTC()})
		}
	}
	return &control.Error{Code: control.CodeNotFound, Message: fmt.Sprintf("there is no token %q", r.Name), Hint: "nanoclaw token list shows those there are"}
}
