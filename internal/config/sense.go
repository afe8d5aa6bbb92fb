package config

import (
	"reflect"
	"slices"
	"strings"
)

// rule says how a change of a field is read.
type rule string

const (
	gives   rule = "gives"   // a list: what is added is a right
	takes   rule = "takes"   // a list: what is added takes rights
	only    rule = "only"    // a list of the only ones; empty is all
	more    rule = "more"    // a number: a higher one is a right
	bounded rule = "bounded" // a number that bounds; 0 is no bound
	less    rule = "less"    // a number: a lower one is a right
	on      rule = "on"      // true is a right
	off     rule = "off"     // false is a right
	rank    rule = "rank"    // one of the words in ranks: a later one is a right
)

// rules are the fields whose changes can be read. The rest Turns.
func rules() map[string]rule {
	return map[string]rule{
		"hostMode.enabled": on, "hostMode.runsPerHour": more, "executionMode": rank, "permissionMode": rank,
		"boundary.landlockFloor": less, "tools": gives, "model.allowHTTP": on, "providers.*.allowHTTP": on,
		"permissions.deny": takes, "permissions.ask": takes, "permissions.allow": gives,
		"limits.runTime": more, "limits.idleTime": more, "limits.warmSessions": more, "limits.concurrentRuns": more, "limits.memory": more,
		"limits.cpus": bounded, "limits.cpuTime": bounded, "limits.processes": more, "limits.openFiles": more,
		"limits.fileSize": more, "limits.tmpSize": more, "limits.disk": more, "limits.output": more,
		"limits.contextMessages": more, "limits.messageSize": more, "limits.queuedMessages": more, "limits.tasks": more, "limits.taskInterval": less,
		"limits.toolCalls": bounded, "limits.sameCalls": bounded, "limits.sameCallsInARow": bounded, "limits.askTime": more,
		"egress.deny": takes, "egress.upload": bounded, "egress.download": bounded, "egress.connections": bounded,
		"egress.hosts.*.private": on, "egress.hosts.*.raw": on, "egress.hosts.*.ech": on, "egress.hosts.*.inspect": off,
		"egress.hosts.*.rules": only, "egress.hosts.*.webSocket": on,
		"groups.*.egressHosts.*.private": on, "groups.*.egressHosts.*.raw": on, "groups.*.egressHosts.*.ech": on,
		"groups.*.egressHosts.*.inspect": off, "groups.*.egressHosts.*.rules": only, "groups.*.egressHosts.*.webSocket": on,
		"channels.slack.connect": on, "channels.slack.hideProgress": off, "channels.telegram.connect": on, "channels.telegram.hideProgress": off, "channels.webhook.hosts": gives, "channels.webhook.api": on, "channels.webhook.hooks.*": gives, "channels.webhook.hooks.*.private": on,
		"channels.files.size": more, "channels.files.keep": more,
		"channels.external.*": gives, "channels.external.*.egress": gives, "channels.external.*.secrets": gives, "channels.external.*.hideProgress": off,
		"channels.files.types": only, "mcpServers.*": gives, "mcpServers.*.modes": gives, "mcpServers.*.groups": gives, "mcpServers.*.own": off,
		"mcpServers.*.egress": gives, "mcpServers.*.workspace": rank, "mcpServers.*.secretsInside": on,
		"mcpServers.*.tools": only, "mcpServers.*.env.*": gives, "mcpServers.*.headers.*": gives,
		"people.*": gives, "people.*.role": rank, "people.*.groups": gives,
		"groups.*": gives, "groups.*.mode": rank, "groups.*.hostModeAllowed": on, "groups.*.chats": gives,
		"groups.*.trigger": rank, "groups.*.senders": gives, "groups.*.mounts": gives, "groups.*.egress": gives,
		"groups.*.egressDeny": takes, "groups.*.permissionMode": rank,
		"groups.*.permissions.deny": takes, "groups.*.permissions.ask": takes, "groups.*.permissions.allow": gives,
		"groups.*.maxTurns": bounded, "agent.claude.maxTurns": bounded, "groups.*.serverTools": gives, "groups.*.prepared": on,
		"mountAllowlist.allowedRoots": gives, "mountAllowlist.blockedPatterns": takes, "mountAllowlist.nonMainReadOnly": off,
	}
}

// ranks order words by what they permit. "" is the word of another field, so a
// change from or to it Turns, unless it is listed.
func ranks() [][]string {
	return [][]string{
		{modeContainer, modeHost}, {permissionAsk, permissionBypass}, {"mention", "always"}, {"", "read", "write"},
		{roleMember, roleAdmin, roleOwner},
	}
}

func ruleOf(place []string) rule { return rules()[strings.Join(place, ".")] }

// added and removed are the senses of an element of a list or a dictionary.
func (r rule) added() Sense {
	switch r {
	case gives, only:
		return Grows
	case takes:
		return Shrinks
	}
	return Turns
}

func (r rule) removed() Sense {
	switch r {
	case gives, only:
		return Shrinks
	case takes:
		return Grows
	}
	return Turns
}

// sense is that of a single value.
func sense(place []string, a, b reflect.Value) Sense {
	up := func(yes bool) Sense {
		if yes {
			return Grows
		}
		return Shrinks
	}
	r := ruleOf(place)
	switch {
	case (r == on || r == off) && a.Kind() == reflect.Bool:
		return up(b.Bool() == (r == on))
	case a.CanInt() && (r == more || r == less):
		return up((b.Int() > a.Int()) == (r == more))
	case a.CanInt() && r == bounded:
		return up(b.Int() == 0 || a.Int() != 0 && b.Int() > a.Int())
	case r == rank && a.Kind() == reflect.String:
		for _, words := range ranks() {
			i, j := slices.Index(words, a.String()), slices.Index(words, b.String())
			if i >= 0 && j >= 0 {
				return up(j > i)
			}
		}
	}
	return Turns
}
