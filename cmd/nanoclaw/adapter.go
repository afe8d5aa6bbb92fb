package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
	"nanoclaw/internal/control"
	"nanoclaw/internal/credential"
	"nanoclaw/internal/qr"
)

// adapterLogin asks for the secrets that the configuration names. Whether they work
// shows when the adapter runs, so there is nothing to try.
func adapterLogin(e config.External) channel.Login {
	var l channel.Login
	for _, name := range e.Secrets {
		l.Secrets = append(l.Secrets, channel.Secret{Name: name, Ask: fmt.Sprintf("Secret %q (it is not shown): ", name)})
	}
	return l
}

// adapterLogin stores the secrets of a network with an adapter of its own, and leads
// through the steps that the adapter gives while it runs.
func (a *app) adapterLogin(ctx context.Context, n network, paths config.Paths, stdin bool) error {
	if len(n.login.Secrets) > 0 {
		values, err := a.readTokens(n, stdin)
		if err != nil {
			return err
		}
		if err := paths.EnsureDirs(); err != nil {
			return err
		}
		tokens := credential.Tokens{}
		for i, s := range n.login.Secrets {
			tokens[s.Name] = values[i]
		}
		if err := credential.New(paths, a.getenv).SaveTokens(n.name, tokens); err != nil {
			return err
		}
		a.say("the secrets of %s are stored; restart nanoclaw, then: nanoclaw channel test %s", n.name, n.name)
		return nil
	}
	err := a.with(ctx, existing, func(s *session) error { return a.followLogin(ctx, n.name, s.ChannelLogin) })
	if errors.Is(err, control.ErrNotRunning) {
		return fmt.Errorf("%w; the adapter logs in while nanoclaw runs: start it, then come again", err)
	}
	return err
}

// loginPoll is how often it is looked how a login stands.
const loginPoll = time.Second

// followLogin shows the steps of a login until the network is connected.
func (a *app) followLogin(ctx context.Context, name string, ask func(context.Context, control.ChannelRequest) (control.ChannelInfo, error)) error {
	ticker := time.NewTicker(loginPoll)
	defer ticker.Stop()
	var shown control.ChannelStep
	var cause string
	for {
		info, err := ask(ctx, control.ChannelRequest{Channel: chat.ChannelID(name)})
		if err != nil {
			return err
		}
		switch {
		case info.State == string(channel.Connected):
			a.say("%s is connected, as %s", name, channel.OneLine(string(info.Self), 100))
			return nil
		case info.State == string(channel.Ended):
			return fmt.Errorf("%s: %s", name, channel.OneLine(info.Cause, 300))
		case info.Step != nil && *info.Step != shown:
			shown = *info.Step
			a.showStep(name, shown)
		case info.Step == nil && info.Cause != cause:
			cause = info.Cause
			a.say("%s: %s", name, channel.OneLine(cause, 300))
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// showStep shows what an adapter asks a person to do. Its words are a stranger's.
func (a *app) showStep(name string, s control.ChannelStep) {
	if s.Text != "" {
		a.say("%s says: %s", name, channel.OneLine(s.Text, 300))
	}
	if s.Copy != "" {
		fmt.Fprintf(a.out, "\n    %s\n\n", channel.OneLine(s.Copy, 300))
	}
	if s.QR == "" {
		return
	}
	code, err := qr.Encode(s.QR)
	if err != nil {
		a.say("%s gave a QR code that cannot be shown: %v", name, err)
		return
	}
	fmt.Fprintf(a.out, "\n%s\n", code.Terminal())
}

// testAdapter says how a network with an adapter of its own stands now, and which chats
// it knows.
func (a *app) testAdapter(ctx context.Context, name string) error {
	return a.with(ctx, existing, func(s *session) error {
		st, err := s.Status(ctx)
		if err != nil {
			return err
		}
		for _, c := range st.Channels {
			switch {
			case string(c.Channel) != name:
			case c.State == string(channel.Connected):
				a.say("%s is connected, as %s", name, channel.OneLine(string(c.Self), 100))
				for _, room := range c.Chats {
					fmt.Fprintf(a.out, "%s  %s\n", channel.OneLine(room.Address, 400), channel.OneLine(room.Name, 100))
				}
				return nil
			default:
				return fmt.Errorf("%s is not connected (%s): %s", name, c.State, channel.OneLine(c.Cause, 300))
			}
		}
		return fmt.Errorf("nanoclaw runs without %s: restart it", name)
	})
}
