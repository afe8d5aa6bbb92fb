package daemon

import (
	"context"
	"fmt"
	"strings"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/queue"
	"nanoclaw/internal/router"
)

// modes tells of groups in which mode they are, what enforces it, and what the
// other mode would be. Containers are asked about only where a group needs one.
func (d *Daemon) modes(ctx context.Context, groups []chat.Group) []control.GroupMode {
	live, _ := d.live()
	m := d.machineNow()
	hostOff := d.proven(ctx, "").Off
	out := make([]control.GroupMode, 0, len(groups))
	for _, g := range groups {
		r := grant.Request{Config: live, Group: g, Machine: m, HostModeOff: hostOff, Reached: d.reached(g),
			Trigger: grant.Trigger{Kind: "message", Owner: true, Terminal: true}}
		r.Machine.Real = d.real(lentPaths(live.Groups[string(g)], r.Trigger))
		mode := grant.Mode(d.modeOf(g))
		if mode == grant.ContainerMode {
			d.fit(ctx, &r, "")
		}
		s := grant.Stand(r)
		info := control.GroupMode{
			Group: g, Mode: string(s.Mode), Reason: s.Reason, Refusal: s.Refusal,
			Other: string(s.Other.Mode), OtherRefusal: s.Other.Refusal, Loses: s.Other.Loses, Gains: s.Other.Gains,
		}
		d.enforced(ctx, g, mode, &info)
		out = append(out, info)
	}
	return out
}

// enforced adds what builds a group's boundary, and what is known of that.
func (d *Daemon) enforced(ctx context.Context, g chat.Group, mode grant.Mode, info *control.GroupMode) {
	if info.Refusal != "" && mode == grant.ContainerMode {
		return
	}
	m, err := d.engineFor(ctx, "", mode)
	if err != nil {
		return
	}
	shape, err := d.probeGrant()
	if mode == grant.ContainerMode {
		shape, err = d.containerGrant(g)
	}
	if err != nil {
		return
	}
	if h := d.attested(ctx, m, shape); h.Off == "" {
		info.Engine, info.Layers, info.Missing = m.name, h.Layers, h.Missing
	}
}

// modeWish parts a command about a mode from the mode that is wished for: "/mode
// family host".
func modeWish(c router.Command) (router.Command, grant.Mode) {
	if c.Verb != router.Mode {
		return c, ""
	}
	words := strings.Fields(c.Target)
	if len(words) == 0 {
		return c, ""
	}
	wish := grant.Mode(strings.ToLower(words[len(words)-1]))
	if wish != grant.HostMode && wish != grant.ContainerMode {
		return c, ""
	}
	c.Target = strings.Join(words[:len(words)-1], " ")
	return c, wish
}

// modeWords tells the owner of the mode of a group, or of all. A wish for another
// one changes nothing: a mode is part of the policy, which is changed in the
// configuration and accepted by a restart, and host mode gives rights.
func (d *Daemon) modeWords(ctx context.Context, g chat.Group, wish grant.Mode) (string, error) {
	groups := []chat.Group{g}
	if g == queue.AllGroups {
		groups = d.groupNames()
	}
	var lines []string
	for _, m := range d.modes(ctx, groups) {
		by := "no engine"
		if m.Engine != "" {
			by = m.Engine
		}
		lines = append(lines, fmt.Sprintf("%s: %s mode (%s), by %s", m.Group, m.Mode, m.Reason, by))
		if m.Refusal != "" {
			lines = append(lines, "It cannot run: "+m.Refusal)
		}
		if len(groups) == 1 {
			lines = append(lines, listed("In "+m.Other+" mode it would lose: ", m.Loses), listed("In "+m.Other+" mode it would gain: ", m.Gains))
		}
		if wish != "" && string(wish) != m.Mode {
			lines = append(lines, fmt.Sprintf("A mode is not changed in a chat: at the terminal, nanoclaw group set %s --mode %s, and restart nanoclaw.", m.Group, wish))
			if wish == grant.HostMode {
				lines = append(lines, "That is the group's opt-in to host mode, and gives it rights on this machine.")
			}
		}
	}
	return strings.TrimSpace(strings.Join(lines, "\n")), nil
}

func listed(what string, list []string) string {
	if len(list) == 0 {
		return what + "nothing"
	}
	return what + strings.Join(list, "; ")
}
