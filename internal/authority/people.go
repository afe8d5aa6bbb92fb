package authority

import (
	"maps"
	"slices"
	"strings"

	"nanoclaw/internal/chat"
)

// Identity is a sender as configuration and record name them: CHANNEL:SENDER.
func Identity(c chat.ChannelID, s chat.SenderID) string { return string(c) + ":" + string(s) }

// People says who is what. The zero value knows nobody. It is made once and
// then only read.
type People struct {
	owners map[string]bool
	roles  map[chat.Group]map[string]Role
	denied map[chat.Group]map[string]bool
}

// Give gives an identity a role: in a group, or everywhere for the owner's. Of
// two roles in a group the higher holds. Nobody but the owner has one in main. A
// program is at most a member.
func (p *People) Give(id string, r Role, g chat.Group) {
	switch {
	case id == "", r != Member && program(id):
	case r == Owner:
		if p.owners == nil {
			p.owners = map[string]bool{}
		}
		p.owners[id] = true
	case g == chat.Main, r != Admin && r != Member, p.roles[g][id] == Admin:
	default:
		if p.roles == nil {
			p.roles = map[chat.Group]map[string]Role{}
		}
		if p.roles[g] == nil {
			p.roles[g] = map[string]Role{}
		}
		p.roles[g][id] = r
	}
}

// program says that an identity is of a channel of programs.
func program(id string) bool {
	channel, _, _ := strings.Cut(id, ":")
	return chat.ChannelID(channel).Programs()
}

// Deny takes from an identity whatever role it has in a group, unless it is the
// owner's. It holds whoever gives a role, before it or after it.
func (p *People) Deny(id string, g chat.Group) {
	if p.denied == nil {
		p.denied = map[chat.Group]map[string]bool{}
	}
	if p.denied[g] == nil {
		p.denied[g] = map[string]bool{}
	}
	p.denied[g][id] = true
}

// RoleIn is what an identity is to a group.
func (p People) RoleIn(id string, g chat.Group) Role {
	switch {
	case id == "":
		return Nobody
	case p.owners[id]:
		return Owner
	case p.denied[g][id]:
		return Nobody
	}
	return p.roles[g][id]
}

// Denied says that the owner said no to an identity in a group.
func (p People) Denied(id string, g chat.Group) bool { return !p.owners[id] && p.denied[g][id] }

// Owners lists the identities of the owner beside the terminal, sorted.
func (p People) Owners() []string { return slices.Sorted(maps.Keys(p.owners)) }
