package watch

import (
	"net/url"
	"path"
	"strings"
)

// Bounds of the arguments that rules look at, in bytes. Longer ones count as
// matched.
const (
	maxCommand = 64 << 10
	maxName    = 16 << 10
)

// matchText matches a text with a pattern whose stars stand for any characters.
// Going back to the last star is enough, so it takes at most len·len steps.
func matchText(pattern, s string) bool {
	p, i, back, from := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			back, from = p, i
			p++
		case p < len(pattern) && pattern[p] == s[i]:
			p++
			i++
		case back >= 0:
			from++
			p, i = back+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// matchSite matches the host of an address. What is no address matches.
func matchSite(pattern, address string) bool {
	u, err := url.Parse(strings.TrimSpace(address))
	if err != nil || u.Hostname() == "" {
		return true
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if below, ok := strings.CutPrefix(pattern, "*."); ok {
		return strings.HasSuffix(host, "."+below)
	}
	return matchText(pattern, host)
}

// matchFile matches the file that a call names, or a folder above it, with a
// pattern as in a .gitignore file. "//x" is the path /x, "~/x" lies in the home,
// "/x", "./x" and "x" in the working directory; a pattern without a slash
// matches in every folder. Links are not followed: nothing is opened here.
func matchFile(pattern string, a args, tool, dir, home string) bool {
	name := a.File + a.Notebook
	if name == "" {
		name = a.Path
	}
	if tool == "Glob" && strings.HasPrefix(a.Pattern, "/") {
		name = a.Pattern
	}
	abs := absolute(name, dir, home)
	switch {
	case strings.HasPrefix(pattern, "//"):
		pattern = pattern[1:]
	case strings.HasPrefix(pattern, "~/"):
		pattern = path.Join(home, pattern[2:])
	case !strings.Contains(strings.TrimSuffix(pattern, "/"), "/"):
		pattern = path.Join("/**", pattern)
	default:
		pattern = path.Join(dir, pattern)
	}
	want, have := strings.Split(path.Clean(pattern)[1:], "/"), strings.Split(abs[1:], "/")
	for n := len(have); n > 0; n-- {
		if matchPath(want, have[:n]) {
			return true
		}
	}
	return false
}

func absolute(name, dir, home string) string {
	switch {
	case name == "~" || strings.HasPrefix(name, "~/"):
		return path.Join("/", home, name[1:])
	case strings.HasPrefix(name, "/"):
		return path.Clean(name)
	}
	return path.Join("/", dir, name)
}

// matchPath matches folder by folder; "**" stands for any number of them.
func matchPath(want, have []string) bool {
	p, i, back, from := 0, 0, -1, 0
	for i < len(have) {
		switch {
		case p < len(want) && want[p] == "**":
			back, from = p, i
			p++
		case p < len(want) && matchText(want[p], have[i]):
			p++
			i++
		case back >= 0:
			from++
			p, i = back+1, from
		default:
			return false
		}
	}
	for p < len(want) && want[p] == "**" {
		p++
	}
	return p == len(want)
}
