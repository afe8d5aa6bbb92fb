package config

import (
	"maps"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

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
	for _, n := range []struct{ name, api string }{{"slack", c.Slack.API}, {"telegram", c.Telegram.API}} {
		if n.api != "" && !strings.HasPrefix(n.api, "https://") && !strings.HasPrefix(n.api, "http://127.0.0.1:") {
			v.add(at("channels", n.name, "api"), "an address that begins with https://", quote(n.api), "")
		}
	}
	v.external(c.External, o)
	between(v, at("channels", "files", "size"), c.Files.Size, 0, 1<<30)
	between(v, at("channels", "files", "keep"), c.Files.Keep, c.Files.Size, 1<<40)
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
