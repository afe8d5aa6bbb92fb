package config

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"nanoclaw/internal/chat"
)

// Roles of people.
const (
	roleOwner  = "owner"
	roleAdmin  = "admin"
	roleMember = "member"
)

// people checks who has a role. A terminal's only sender is the owner, and main
// is the owner's alone.
func (v *validator) people(c *Config) {
	for _, id := range slices.Sorted(maps.Keys(c.People)) {
		if v.full() {
			return
		}
		v.person(id, c.People[id], c.Groups)
	}
}

func (v *validator) person(id string, p Person, groups map[string]Group) {
	field := at("people", id)
	switch {
	case !identity(id):
		v.addKey(field, "an identity, as CHANNEL:SENDER", quote(id), "")
	case strings.HasPrefix(id, consoleOf("")):
		v.addKey(field, "somebody on a chat network", quote(id), "who is at your terminals is the owner, and nobody else")
	}
	if a, err := chat.ParseAddress(id); err == nil && a.Channel.Programs() && (p.Role == roleOwner || p.Role == roleAdmin) {
		v.add(field.plus("role"), "no role but that of a member", quote(p.Role), "a program has a secret that can be copied: it is never the owner, an admin, or one who approves")
	}
	if utf8.RuneCountInString(p.Name) > 80 || hasControl(p.Name) {
		v.add(field.plus("name"), "a name of at most 80 characters on one line", quote(p.Name), "")
	}
	if p.Role != "" {
		v.oneOf(field.plus("role"), p.Role, roleOwner, roleAdmin, roleMember)
	}
	switch {
	case p.Role == roleOwner && len(p.Groups) > 0:
		v.add(field.plus("groups"), "no groups", "some", "an owner has all")
	case p.Role != roleOwner && len(p.Groups) == 0:
		v.add(field.plus("groups"), "the groups that the role is about", "none", "")
	}
	for i, g := range p.Groups {
		if v.full() {
			return
		}
		_, known := groups[g]
		switch {
		case g == mainGroup:
			v.add(field.plus("groups", i), "a group other than main", quote(g), "main is your own chat: nobody else speaks there")
		case !known:
			v.add(field.plus("groups", i), "one of groups", quote(g), didYouMean(g, slices.Sorted(maps.Keys(groups))))
		case slices.Contains(p.Groups[:i], g):
			v.add(field.plus("groups", i), "each group once", quote(g)+" again", "")
		}
	}
}
