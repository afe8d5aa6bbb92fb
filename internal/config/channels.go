package config

import (
	"maps"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Channels are the chat networks beside the owner's terminals. Their tokens are not
// here: nanoclaw channel login NETWORK keeps them, encrypted.
type Channels struct {
	// Slack is one workspace of Slack's.
	Slack Slack `json:"slack"`
	// Telegram is one bot on Telegram.
	Telegram Telegram `json:"telegram"`
	// Discord is one bot on Discord.
	Discord Discord `json:"discord"`
	// Webhook is for programs that send messages over HTTP.
	Webhook Webhook `json:"webhook"`
	// External are networks that a program of its own speaks with, by the name of the
	// channel: see docs/adapters.md. The program runs inside a boundary of its own.
	External map[string]External `json:"external"`
	// Files bound what comes with messages.
	Files Files `json:"files"`
}

// Webhook is the HTTP listener for programs: webhooks, and the HTTP API.
type Webhook struct {
	// Listen is where it listens, as "127.0.0.1:8377". Empty: nowhere. It speaks plain
	// HTTP: what comes from other machines goes through a proxy with TLS.
	Listen string `json:"listen"`
	// Hosts are further names under which it is reached, as that proxy passes them on:
	// "hooks.example.com", with the port if it is not the usual one.
	Hosts []string `json:"hosts"`
	// API serves the HTTP API for the tokens of nanoclaw token add.
	API bool `json:"api"`
	// Hooks are the webhooks, by name, at /hooks/NAME. Their secrets are not here:
	// nanoclaw webhook secret NAME keeps them, encrypted.
	Hooks map[string]Hook `json:"hooks"`
}

// Hook is one webhook: a chat and a sender of its group, both webhook:NAME.
type Hook struct {
	// Group is whose agent gets the messages. It is not main.
	Group string `json:"group"`
	// Form is how requests are signed: "standard" (Standard Webhooks) or "github".
	// Empty: "standard".
	Form string `json:"form,omitempty"`
	// Say is what the agent is told to do with what comes, which is then quoted as
	// somebody else's words. Empty: what comes is the message.
	Say string `json:"say,omitempty"`
	// Answer is where answers are posted to: an address that begins with https://, or
	// with http://127.0.0.1: for a program on this machine. Empty: nowhere.
	Answer string `json:"answer,omitempty"`
	// Private lets the name of Answer lead to a private address.
	Private bool `json:"private,omitempty"`
}

// Files bound what comes with messages and is put into a group's inbox, and what an
// agent sends.
type Files struct {
	// Size is the largest file that is taken, or sent.
	Size Size `json:"size"`
	// Keep is how much a group's inbox may hold: beyond it the oldest files go.
	Keep Size `json:"keep"`
	// Types are the kinds that are taken, as "image/*" or "application/pdf". Empty: all.
	// The type is what the network says of the file.
	Types []string `json:"types"`
	// Transcribe is a command that writes down what is said in a voice note: its
	// arguments, behind which the file's path comes, as ["/usr/local/bin/hear", "-l", "en"].
	// It runs inside the group's boundary, so it has to be there (tools, mounts). Empty:
	// voice notes are files.
	Transcribe []string `json:"transcribe"`
}

// Slack is one workspace of Slack's, in Socket Mode.
type Slack struct {
	// Connect connects it. Chats of it are slack:TEAM/CHANNEL, people slack:TEAM/USER.
	Connect bool `json:"connect"`
	// API is the address of its web API, as "https://slack-gov.com/api". Empty: Slack's
	// usual one.
	API string `json:"api"`
	// HideProgress shows nothing of a run before its answer.
	HideProgress bool `json:"hideProgress"`
}

// Telegram is one bot on Telegram, by long polling.
type Telegram struct {
	// Connect connects it. Chats of it are telegram:NUMBER, people telegram:NUMBER.
	Connect bool `json:"connect"`
	// API is the address of a Bot API server of your own, as "https://bots.example.org".
	// Empty: Telegram's.
	API string `json:"api"`
	// HideProgress shows nothing of a run before its answer.
	HideProgress bool `json:"hideProgress"`
}

// Discord is one bot on Discord, by its gateway.
type Discord struct {
	// Connect connects it. Chats of it are discord:NUMBER, people discord:NUMBER.
	Connect bool `json:"connect"`
	// API is the address of its REST interface. Empty: Discord's.
	API string `json:"api"`
	// HideProgress shows nothing of a run before its answer.
	HideProgress bool `json:"hideProgress"`
}

// External is a network with an adapter of its own. Chats of it are NAME:CHAT, people
// NAME:SENDER.
type External struct {
	// Program is the adapter, as an absolute path or with "~/". Whoever can change it
	// speaks for the network, so nobody but you, root or nanoclaw may be able to, and
	// it may lie in no folder that an agent can write.
	Program string `json:"program"`
	// Args are its arguments. They are no place for secrets.
	Args []string `json:"args,omitempty"`
	// Egress are the hosts that it may reach, in the form of a group's egress. Empty:
	// none.
	Egress []string `json:"egress,omitempty"`
	// Secrets name what nanoclaw channel login NAME asks for, and the adapter is given
	// at its start, as "token". Empty: nothing.
	Secrets []string `json:"secrets,omitempty"`
	// HideProgress does not let it show that an answer is being written.
	HideProgress bool `json:"hideProgress,omitempty"`
}

// Names of channels, and of secrets.
var (
	channelName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,29}$`)
	secretName  = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,29}$`)
)

// builtIn are the names of channels that are no external ones.
var builtIn = []string{"api", "console", "discord", "host", "slack", "telegram", "webhook"}

// external checks the networks with adapters of their own.
func (v *validator) external(all map[string]External, o Options) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		c, here := all[name], at("channels", "external", name)
		if !channelName.MatchString(name) || slices.Contains(builtIn, name) {
			v.add(here, "a name of a-z, 0-9 and '-' that begins with a letter, and is none of "+strings.Join(builtIn, ", "), quote(name), "")
		}
		if v.hostPath(here.plus("program"), c.Program); c.Program == "" {
			v.add(here.plus("program"), "the path of a program", "none", "")
		}
		for i, a := range c.Args {
			if len(a) > 4096 || hasControl(a) {
				v.add(here.plus("args", i), "an argument on one line", quote(a), "")
			}
		}
		for i, s := range c.Secrets {
			if !secretName.MatchString(s) || slices.Contains(c.Secrets[:i], s) {
				v.add(here.plus("secrets", i), "a name of a-z, 0-9, '-' and '_', each once", quote(s), "")
			}
		}
		for i, h := range c.Egress {
			v.entry(here.plus("egress", i), h, hostForm, o.CheckHost)
		}
	}
}

// channels checks the networks.
func (v *validator) channels(c Channels, o Options) {
	for _, n := range []struct{ name, api string }{{"slack", c.Slack.API}, {"telegram", c.Telegram.API}, {"discord", c.Discord.API}} {
		if n.api != "" && !strings.HasPrefix(n.api, "https://") && !strings.HasPrefix(n.api, "http://127.0.0.1:") {
			v.add(at("channels", n.name, "api"), "an address that begins with https://", quote(n.api), "")
		}
	}
	v.external(c.External, o)
	between(v, at("channels", "files", "size"), c.Files.Size, 0, 1<<30)
	between(v, at("channels", "files", "keep"), c.Files.Keep, c.Files.Size, 1<<40)
	for i, a := range c.Files.Transcribe {
		if len(c.Files.Transcribe) > 50 || len(a) > 4096 || strings.ContainsRune(a, 0) || i == 0 && !strings.HasPrefix(a, "/") {
			v.add(at("channels", "files", "transcribe", i), "a program's path in full, and its arguments", quote(a), "")
			break
		}
	}
	for i, t := range c.Files.Types {
		main, sub, ok := strings.Cut(t, "/")
		if !ok || main == "" || sub == "" || len(t) > 100 || strings.ContainsAny(t, " ;\"\\") || hasControl(t) {
			v.add(at("channels", "files", "types", i), `a type such as "image/*" or "application/pdf"`, quote(t), "")
		}
	}
}

// Bounds of webhooks.
const (
	maxHooks   = 100
	maxHookSay = 4 << 10
)

// webhook checks the listener for programs and its hooks.
func (v *validator) webhook(w Webhook, groups map[string]Group) {
	field := at("channels", "webhook")
	if a, err := netip.ParseAddrPort(w.Listen); w.Listen != "" && (err != nil || a.Port() == 0) {
		v.add(field.plus("listen"), "an address and a port, as 127.0.0.1:8377", quote(w.Listen), "")
	}
	for i, h := range w.Hosts {
		if h == "" || len(h) > 260 || strings.ContainsFunc(h, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("/@?#*", r) }) {
			v.add(field.plus("hosts", i), "the name of a host, as hooks.example.com", quote(h), "")
		}
	}
	if w.Listen == "" && (w.API || len(w.Hooks) > 0) {
		v.add(field.plus("listen"), "an address and a port, since there are hooks or the API", "none", "")
	}
	if len(w.Hooks) > maxHooks {
		v.add(field.plus("hooks"), "at most 100 webhooks", "more", "")
	}
	for _, name := range slices.Sorted(maps.Keys(w.Hooks)) {
		if v.full() {
			return
		}
		v.hook(field.plus("hooks", name), name, w.Hooks[name], groups)
	}
}

func (v *validator) hook(field Path, name string, h Hook, groups map[string]Group) {
	if !ProviderName(name) {
		v.addKey(field, "a name of letters a-z, digits and -", quote(name), "")
	}
	_, known := groups[h.Group]
	switch {
	case h.Group == mainGroup:
		v.add(field.plus("group"), "a group other than main", quote(h.Group), "main is your own chat: nobody else speaks there, and no program")
	case !known:
		v.add(field.plus("group"), "one of groups", quote(h.Group), didYouMean(h.Group, slices.Sorted(maps.Keys(groups))))
	}
	if h.Form != "" {
		v.oneOf(field.plus("form"), h.Form, "standard", "github")
	}
	if len(h.Say) > maxHookSay {
		v.add(field.plus("say"), "at most 4 KiB", "more", "")
	}
	u, err := url.Parse(h.Answer)
	local := strings.HasPrefix(h.Answer, "http://127.0.0.1:")
	if h.Answer != "" && (err != nil || !local && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "") {
		v.add(field.plus("answer"), "an address that begins with https://, or with http://127.0.0.1: on this machine", quote(h.Answer), "")
	}
}
