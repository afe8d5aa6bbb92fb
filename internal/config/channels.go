package config

import "strings"

// channels checks the networks.
func (v *validator) channels(c Channels) {
	for _, n := range []struct{ name, api string }{{"slack", c.Slack.API}, {"telegram", c.Telegram.API}} {
		if n.api != "" && !strings.HasPrefix(n.api, "https://") && !strings.HasPrefix(n.api, "http://127.0.0.1:") {
			v.add(at("channels", n.name, "api"), "an address that begins with https://", quote(n.api), "")
		}
	}
	between(v, at("channels", "files", "size"), c.Files.Size, 0, 1<<30)
	between(v, at("channels", "files", "keep"), c.Files.Keep, c.Files.Size, 1<<40)
	for i, t := range c.Files.Types {
		main, sub, ok := strings.Cut(t, "/")
		if !ok || main == "" || sub == "" || len(t) > 100 || strings.ContainsAny(t, " ;\"\\") || hasControl(t) {
			v.add(at("channels", "files", "types", i), `a type such as "image/*" or "application/pdf"`, quote(t), "")
		}
	}
}
