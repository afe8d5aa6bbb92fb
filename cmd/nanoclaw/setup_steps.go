package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"nanoclaw/internal/authority"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
	"nanoclaw/internal/control"
	"nanoclaw/internal/credential"
	"nanoclaw/internal/egress"
	"nanoclaw/internal/install"
)

// steps are the parts of a set-up, in their order. The service comes before the
// boundary is tried, so that it is tried under what the service runs under.
func (s *setup) steps() []step {
	return []step{
		{"claude", "Claude Code, the agent program", s.claudeState, s.doClaude, s.undoClaude, s.wanted(!s.o.noClaude, "--no-claude", "Fetch Claude Code (175 MB; its licence is between you and Anthropic)?")},
		{"login", "the credential for the model", s.loginState, s.doLogin, s.undoLogin, s.skipLogin},
		{"service", "the service, which runs nanoclaw from now on", s.serviceState, s.doService, s.undoService, s.skipService},
		{"boundary", "the boundary of this machine", s.undone, s.doBoundary, nil, s.always},
		{"channel", "a chat network", s.channelState, s.doChannel, s.undoChannel, s.skipChannel},
		{"main", "main, the chat that is yours", s.mainState, s.doMain, s.undoMain, s.skipMain},
		{"message", "a first message", s.undone, s.doMessage, nil, s.skipMessage},
	}
}

// undone is the state of what is done each time.
func (s *setup) undone(context.Context) (bool, string, error) { return false, "done each time", nil }

func (s *setup) always() (string, error) { return "", nil }

// wanted asks whether a part is wanted, unless its flag says no.
func (s *setup) wanted(want bool, flag, question string) func() (string, error) {
	return func() (string, error) {
		if !want {
			return flag, nil
		}
		yes, err := s.confirm(question)
		if err != nil || yes {
			return "", err
		}
		return "you said no", nil
	}
}

// asOwner does something to the installation as whoever it belongs to: for root's
// service that is its system user. Root is taken up again afterwards. Nothing else
// runs in this process meanwhile.
func (s *setup) asOwner(f func() error) (err error) {
	paths, err := s.app.paths()
	if err != nil || os.Geteuid() != 0 {
		return cmp.Or(err, errOr(err, f))
	}
	owner, ok, err := s.app.serviceUser(paths)
	if err != nil || !ok {
		return errOr(err, f)
	}
	if err := errors.Join(syscall.Setegid(owner.GID), syscall.Seteuid(owner.UID)); err != nil {
		return fmt.Errorf("act as the system user of the service: %w", err)
	}
	defer func() { err = errors.Join(err, syscall.Seteuid(0), syscall.Setegid(0)) }()
	getenv := s.app.getenv
	s.app.apart = true
	s.app.getenv = func(name string) string {
		if name == "NANOCLAW_SYSTEM" {
			return "1"
		}
		return getenv(name)
	}
	defer func() { s.app.getenv, s.app.apart = getenv, false }()
	return f()
}

// change is asOwner for what a running daemon has to be told.
func (s *setup) change(f func() error) error {
	err := s.asOwner(f)
	s.changed = s.changed || err == nil
	return err
}

// refresh restarts a service that runs with what was before. Another daemon is its
// owner's to restart.
func (s *setup) refresh(ctx context.Context) error {
	if !s.changed {
		return nil
	}
	s.changed = false
	if st, err := s.app.services().Status(ctx); err == nil && st.Installed && st.Running {
		s.tell("the service begins again with what was changed")
		return s.app.services().Restart(ctx)
	}
	paths, err := s.app.paths()
	if err != nil {
		return err
	}
	if c, err := control.Dial(ctx, socket(paths)); err == nil {
		c.Close()
		s.tell("the daemon that runs is no service: restart it")
	}
	return nil
}

// errOr is err, or what f gives.
func errOr(err error, f func() error) error {
	if err != nil {
		return err
	}
	return f()
}

func (s *setup) claudeState(context.Context) (done bool, words string, err error) {
	err = s.asOwner(func() error {
		paths, err := s.app.paths()
		if err != nil {
			return err
		}
		p, err := s.app.findClaude(paths)
		done, words = err == nil && p.NewEnough(), cmp.Or(p.Missing, p.Path+" "+p.Version)
		return err
	})
	return done, words, err
}

func (s *setup) doClaude(context.Context) error {
	return s.asOwner(func() error { return s.app.installClaude(s.cmd, false) })
}

func (s *setup) undoClaude(context.Context) error {
	return s.asOwner(func() error {
		paths, err := s.app.paths()
		if err != nil {
			return err
		}
		return removeAll(install.Dir(paths.DataDir))
	})
}

// model says which credential would be used, nil if there is none.
func (s *setup) model() (u *egress.Upstream, err error) {
	err = s.asOwner(func() error {
		paths, err := s.app.paths()
		if err != nil {
			return err
		}
		source, err := s.app.modelSource(paths, "")
		if err != nil {
			return err
		}
		if source.Stored, err = credential.New(paths, s.app.getenv).Load(""); err != nil {
			return err
		}
		u, err = egress.NewUpstream(source)
		return err
	})
	return u, err
}

func (s *setup) loginState(context.Context) (bool, string, error) {
	u, err := s.model()
	if err != nil || u == nil {
		return false, "no credential for a model", err
	}
	defer u.Close()
	return u.HasCredential(), u.String(), nil
}

func (s *setup) skipLogin() (string, error) {
	if !s.o.noLogin && !s.o.login.stdin && !s.asking() {
		return "nobody can be asked for a credential; later: nanoclaw login claude", nil
	}
	return s.wanted(!s.o.noLogin, "--no-login", "Store an API key, or a token of \"claude setup-token\"?")()
}

func (s *setup) doLogin(ctx context.Context) error {
	return s.change(func() error { return s.app.login(ctx, s.o.login) })
}

func (s *setup) undoLogin(ctx context.Context) error {
	return s.change(func() error { return s.app.logout(ctx, "") })
}

func (s *setup) serviceState(ctx context.Context) (bool, string, error) {
	st, err := s.app.services().Status(ctx)
	switch {
	case err != nil:
		return false, err.Error(), nil // a machine without systemd is told by skip
	case !st.Installed || !st.Running:
		return false, st.Why, nil
	}
	return true, "it runs: " + st.File, nil
}

func (s *setup) skipService() (string, error) {
	if !s.o.noService && !s.app.services().Manages() {
		return "this machine has no service manager that nanoclaw knows; keep \"nanoclaw run\" running by what it has", nil
	}
	return s.wanted(!s.o.noService, "--no-service", "Install it, and start it now?")()
}

func (s *setup) doService(ctx context.Context) error {
	o, err := s.app.serviceOptions(s.o.asRoot)
	if err != nil {
		return err
	}
	h := s.app.services()
	changed, err := h.Install(ctx, o)
	for _, c := range changed {
		s.tell(c)
	}
	if err != nil {
		return serviceError(err)
	}
	if err := h.Start(ctx); err != nil {
		return fmt.Errorf("%w\nfix: nanoclaw service status, nanoclaw service logs", err)
	}
	s.changed = false // it began with what was set up before
	s.tell("it is ready")
	return nil
}

func (s *setup) undoService(ctx context.Context) error {
	paths, err := s.app.paths()
	if err != nil {
		return err
	}
	changed, err := s.app.services().Remove(ctx, paths)
	for _, c := range changed {
		s.tell(c)
	}
	return err
}

// doBoundary has the boundary tried, by the daemon if one runs. Where it does not
// stand nothing may run, and what to do about it is said.
func (s *setup) doBoundary(ctx context.Context) error {
	return s.app.with(ctx, reading, func(sess *session) error {
		r, err := sess.Doctor(ctx, control.DoctorQuery{Probe: true})
		if err != nil {
			return err
		}
		bad := slices.DeleteFunc(slices.Clone(r.Checks), func(c control.Check) bool { return c.State != "fail" })
		held := slices.ContainsFunc(r.Checks, func(c control.Check) bool { return c.Name == "probe" && c.State != "fail" })
		if err := printChecks(s.app.out, bad); err != nil {
			return err
		}
		if !held {
			return &control.Error{Code: control.CodeBoundary, Message: "no boundary stands on this machine, so nothing can run", Hint: "do what is said above, then: nanoclaw setup"}
		}
		s.tell("it holds: " + firstWords(r.Checks))
		return nil
	})
}

// firstWords is what the probe says, up to its first semicolon.
func firstWords(checks []control.Check) string {
	for _, c := range checks {
		if c.Name == "probe" {
			text, _, _ := strings.Cut(c.Detail, ";")
			return text
		}
	}
	return ""
}

// channelState looks for the network that is meant, or for any that is connected.
func (s *setup) channelState(context.Context) (done bool, words string, err error) {
	err = s.asOwner(func() error {
		c, paths, err := s.config()
		if err != nil {
			return err
		}
		words = "none but your terminals"
		for _, n := range networkNames() {
			tokens, err := credential.New(paths, s.app.getenv).LoadTokens(n)
			if err != nil {
				return err
			}
			if tokens != nil && connects(c, n) && (s.o.channel == "" || s.o.channel == n) {
				done, words = true, n
			}
		}
		return nil
	})
	return done, words, err
}

func (s *setup) config() (*config.Config, config.Paths, error) {
	paths, err := s.app.paths()
	if err != nil {
		return nil, paths, err
	}
	c, err := s.app.configOrDefault(paths)
	return c, paths, err
}

// connects says that the configuration connects a network.
func connects(c *config.Config, name string) bool {
	switch name {
	case "slack":
		return c.Channels.Slack.Connect
	case "discord":
		return c.Channels.Discord.Connect
	case "telegram":
		return c.Channels.Telegram.Connect
	}
	return false
}

func (s *setup) skipChannel() (string, error) {
	if s.o.channel == "" {
		name, err := s.ask("Which network ("+strings.Join(networkNames(), ", ")+")? Empty for none, later: nanoclaw setup --channel NAME", "")
		if err != nil {
			return "", err
		}
		s.o.channel = name
	}
	if s.o.channel == "" {
		return "your terminals are connected, and no network", nil
	}
	return "", nil
}

func (s *setup) doChannel(ctx context.Context) error {
	return s.change(func() error {
		n, paths, err := s.app.network(s.o.channel)
		if err != nil {
			return err
		}
		if n.login.Try == nil {
			return fmt.Errorf("%s is an adapter of your own\nfix: nanoclaw channel login %s", n.name, n.name)
		}
		tokens, err := credential.New(paths, s.app.getenv).LoadTokens(n.name)
		if err == nil && tokens == nil {
			if s.asking() {
				s.app.printSteps(n.login)
			}
			err = s.app.channelLogin(ctx, n, paths, !s.asking(), false)
		}
		if err != nil {
			return err
		}
		return s.edit(ctx, func(d *config.Document) error { return d.Set("/channels/"+n.name+"/connect", true) })
	})
}

// edit changes the configuration, which a first start has written by now.
func (s *setup) edit(ctx context.Context, f func(*config.Document) error) error {
	return s.app.change(ctx, authority.ConfigChange, chat.Main, f)
}

func (s *setup) undoChannel(ctx context.Context) error {
	return s.change(func() error {
		c, paths, err := s.config()
		if err != nil {
			return err
		}
		for _, n := range networkNames() {
			if s.o.channel != "" && s.o.channel != n || !connects(c, n) {
				continue
			}
			if _, err := credential.New(paths, s.app.getenv).RemoveTokens(n); err != nil {
				return err
			}
			if err := s.edit(ctx, func(d *config.Document) error { return d.Set("/channels/"+n+"/connect", false) }); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *setup) mainState(context.Context) (done bool, words string, err error) {
	err = s.asOwner(func() error {
		c, _, err := s.config()
		if err != nil {
			return err
		}
		chats := c.Groups[string(chat.Main)].Chats
		done = len(chats) > 0 && (s.o.main == "" || slices.Contains(chats, s.o.main))
		words = cmp.Or(strings.Join(chats, " "), "your terminals alone: nanoclaw chat")
		return nil
	})
	return done, words, err
}

func (s *setup) skipMain() (string, error) {
	if s.o.channel == "" && s.o.main == "" {
		return "main is in your terminals: nanoclaw chat", nil
	}
	var err error
	if s.o.main == "" {
		s.o.main, err = s.ask("Which chat is main, as "+s.o.channel+":CHAT? Empty: later, when you know it", "")
	}
	if err == nil && s.o.main != "" && s.o.owner == "" {
		s.o.owner, err = s.ask("Who are you there, as "+s.o.channel+":SENDER? Nobody else may speak in main", "")
	}
	if s.o.main == "" {
		return "write to the assistant once, then: nanoclaw setup --main CHANNEL:CHAT --owner CHANNEL:SENDER", err
	}
	return "", err
}

func (s *setup) doMain(ctx context.Context) error {
	return s.change(func() error {
		return s.edit(ctx, func(d *config.Document) error {
			if err := d.Append("/groups/main/chats", s.o.main); err != nil || s.o.owner == "" {
				return err
			}
			return d.Set("/people/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(s.o.owner), config.Person{Role: "owner"})
		})
	})
}

func (s *setup) undoMain(ctx context.Context) error {
	return s.change(func() error {
		return s.edit(ctx, func(d *config.Document) error { return d.Set("/groups/main/chats", []string{}) })
	})
}

func (s *setup) skipMessage() (string, error) {
	if s.o.message == "" {
		return "none was wanted", nil
	}
	return "", nil
}

// doMessage sends the first message through the daemon and shows the answer.
func (s *setup) doMessage(ctx context.Context) error {
	if err := s.refresh(ctx); err != nil {
		return err
	}
	s.tell("you: " + s.o.message)
	return s.app.with(ctx, running, func(sess *session) error {
		talk, err := sess.Chat(ctx, chat.Main)
		if err != nil {
			return err
		}
		defer talk.Close()
		return s.app.pipe(talk, chat.Ask{}, oneLine(s.o.message))
	})
}
