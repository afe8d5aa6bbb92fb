package grant

import (
	"errors"
	"strings"
	"testing"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
)

// lending is a list as version 1 wrote it, below a home of the owner.
func lending() *config.MountAllowlist {
	return &config.MountAllowlist{
		AllowedRoots: []config.AllowedRoot{
			{Path: "/home/ann/projects/read"}, {Path: "/home/ann/projects", AllowReadWrite: true}, {Path: "/data/photos"},
		},
		BlockedPatterns: []string{"private", "vault/keys", "*.bak"},
	}
}

func TestAllowlist(t *testing.T) {
	tests := []struct {
		name   string
		group  chat.Group
		mount  config.Mount
		real   map[string]string
		change func(*config.MountAllowlist)
		want   string // "ro", "rw", or the rule of the refusal
		says   string // in the reason or the refusal
	}{
		{name: "below a root", mount: config.Mount{Path: "~/projects/site"}, want: "ro"},
		{name: "the root itself", mount: config.Mount{Path: "/data/photos"}, want: "ro"},
		{name: "writing where it is allowed", mount: config.Mount{Path: "~/projects/site", Write: true}, want: "rw"},
		{name: "writing where it is not", mount: config.Mount{Path: "/data/photos/2024", Write: true}, want: "ro", says: "allows no writing below /data/photos"},
		{name: "the first root counts", mount: config.Mount{Path: "~/projects/read/x", Write: true}, want: "ro", says: "/home/ann/projects/read"},
		{name: "another group writes", group: "family", mount: config.Mount{Path: "~/projects/site", Write: true}, want: "rw"},
		{name: "nonMainReadOnly", group: "family", mount: config.Mount{Path: "~/projects/site", Write: true}, want: "ro", says: "nonMainReadOnly",
			change: func(l *config.MountAllowlist) { l.NonMainReadOnly = true }},
		{name: "nonMainReadOnly is not about main", mount: config.Mount{Path: "~/projects/site", Write: true}, want: "rw",
			change: func(l *config.MountAllowlist) { l.NonMainReadOnly = true }},
		{name: "below no root", mount: config.Mount{Path: "/data/music"}, want: "mount.root", says: "is below no folder that mount-allowlist.json allows"},
		{name: "a neighbour of a root", mount: config.Mount{Path: "/data/photos2"}, want: "mount.root"},
		{name: "above a root", mount: config.Mount{Path: "/data"}, want: "mount.root"},
		{name: "no roots", mount: config.Mount{Path: "/data/photos"}, want: "mount.root", change: func(l *config.MountAllowlist) { l.AllowedRoots = nil }},
		{name: "blocked by the list", mount: config.Mount{Path: "~/projects/private/x"}, want: "mount.blocked", says: `"private"`},
		{name: "whatever its case", mount: config.Mount{Path: "~/projects/Private"}, want: "mount.blocked"},
		{name: "a name within a part is nothing", mount: config.Mount{Path: "~/projects/privateer"}, want: "ro"},
		{name: "several parts", mount: config.Mount{Path: "~/projects/vault/keys/x"}, want: "mount.blocked"},
		{name: "one of them", mount: config.Mount{Path: "~/projects/vault/key"}, want: "ro"},
		{name: "a star", mount: config.Mount{Path: "~/projects/site.bak"}, want: "mount.blocked"},
		{name: "blocked in any case", mount: config.Mount{Path: "~/projects/.aws"}, want: "mount.path", says: "credentials"},
		{name: ".env is no part of this", mount: config.Mount{Path: "~/projects/.environment"}, want: "ro"},
		{name: "a link out", mount: config.Mount{Path: "~/projects/out"}, real: map[string]string{"/home/ann/projects/out": "/data/music"}, want: "mount.root", says: `which is "/data/music",`},
		{name: "a link in", mount: config.Mount{Path: "/link"}, real: map[string]string{"/link": "/data/photos/2024"}, want: "ro"},
		{name: "a link to what is blocked", mount: config.Mount{Path: "~/projects/p"}, real: map[string]string{"/home/ann/projects/p": "/home/ann/projects/private"}, want: "mount.blocked"},
		{name: "a link to credentials", mount: config.Mount{Path: "~/projects/p"}, real: map[string]string{"/home/ann/projects/p": "/home/ann/projects/.ssh"}, want: "mount.path"},
		{name: "a link to a root for reading", mount: config.Mount{Path: "~/projects/p", Write: true}, real: map[string]string{"/home/ann/projects/p": "/data/photos"}, want: "ro"},
		{name: "not there", mount: config.Mount{Path: "/data/photos/x"}, real: map[string]string{"/data/photos/x": ""}, want: "mount.missing"},
		{name: "a colon", mount: config.Mount{Path: "/data/photos/a:b"}, want: "mount.path", says: "cannot carry safely"},
		{name: "a comma", mount: config.Mount{Path: "/data/photos/a,b"}, want: "mount.path", says: "cannot carry safely"},
		{name: "a newline", mount: config.Mount{Path: "/data/photos/a\nb"}, want: "mount.path", says: "cannot carry safely"},
		{name: "a colon behind a link", mount: config.Mount{Path: "/link"}, real: map[string]string{"/link": "/data/photos/a:b"}, want: "mount.path"},
		{name: "broken", mount: config.Mount{Path: "/data/photos"}, want: "mount.allowlist", says: "no folder can be lent: torn",
			change: func(l *config.MountAllowlist) { *l = config.MountAllowlist{Broken: "torn"} }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.group == "" {
				tt.group = chat.Main
			}
			g, err := Decide(request(func(r *Request) {
				r.Group, r.Machine.Allowed, r.Machine.Real = tt.group, lending(), tt.real
				if tt.change != nil {
					tt.change(r.Machine.Allowed)
				}
				edit(r, string(tt.group), func(g *config.Group) { g.Mounts = []config.Mount{tt.mount} })
			}))
			got, words := "", ""
			if no, ok := errors.AsType[*Refusal](err); ok {
				got, words = no.Rule, no.Error()
			} else if err != nil {
				t.Fatal(err)
			} else {
				m := g.Mounts[len(g.Mounts)-1]
				if got = "ro"; m.Write {
					got = "rw"
				}
				if !strings.HasPrefix(m.Target, Extra+"/") {
					t.Fatalf("the last mount is %+v", m)
				}
				words = m.Reason
			}
			if got != tt.want || !strings.Contains(words, tt.says) {
				t.Errorf("%s: %s, want %s with %q", got, words, tt.want, tt.says)
			}
		})
	}
}

// What the boundary opened is judged again, by where it lies then.
func TestCheckLent(t *testing.T) {
	m := request(nil).Machine
	m.Allowed = lending()
	read := Mount{Target: Extra + "/x", Source: "/home/ann/projects/x"}
	write := read
	write.Write = true
	tool := Mount{Target: "/opt/node", Source: "/opt/node"}
	for _, tt := range []struct {
		name  string
		mount Mount
		at    string
		want  string
	}{
		{"as decided", write, "/home/ann/projects/x", ""},
		{"another place below the root", write, "/home/ann/projects/y", ""},
		{"swapped for a folder of no root", read, "/data/music", "mount.root"},
		{"swapped for one that is blocked", read, "/home/ann/projects/private", "mount.blocked"},
		{"swapped for one with credentials", read, "/home/ann/projects/.ssh", "mount.path"},
		{"swapped for one of the system", read, "/etc", "mount.path"},
		{"writing, swapped for one to read", write, "/data/photos", "mount.root"},
		{"reading, swapped for one to read", read, "/data/photos", ""},
		{"the list is not about tools", tool, "/opt/node-22", ""},
	} {
		got := ""
		if no := m.CheckLent(tt.mount, tt.at); no != nil {
			got = no.Rule
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
