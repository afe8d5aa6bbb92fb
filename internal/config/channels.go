package config

import (
	"maps"
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
	if a := c.Slack.API; a != "" && !strings.HasPrefix(a, "https://") && !strings.HasPrefix(a, "http://127.0.0.1:") {
		v.add(at("channels", "slack", "api"), "an address that begins with https://", quote(a), "")
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
