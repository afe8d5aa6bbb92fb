package grant

import (
	"path"
	"path/filepath"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
)

// AdapterAgent is the agent of a grant that is an adapter's: a program which speaks
// with a chat network.
const AdapterAgent = "adapter"

// AdapterDir holds the adapter's program inside, read-only.
const AdapterDir = "/opt/adapter"

// What an adapter may have of the machine, where a group may have more.
const (
	adapterMemory    = 1 << 30
	adapterProcesses = 256 // threads count
)

// AdapterGroup stands for an adapter where a boundary is recorded under a group's
// name. No group can be called so, see chat.ParseGroup.
func AdapterGroup(name string) chat.Group { return chat.Group("@" + name) }

// StateDir is the host folder with what an adapter keeps. It lies beside the groups'
// folders and in none of them.
func (m Machine) StateDir(name string) string {
	return filepath.Join(filepath.Dir(m.GroupsDir), "adapters", name)
}

// AdapterGrant is what the adapter of a network may touch: the system, its own
// program, a folder of its own, and the hosts that the owner gave to it. It has no
// folder of a group's, no tool of the host's and no model. r needs no group.
func AdapterGrant(r Request, name string) (Grant, error) {
	c, ok := r.Config.Channels.External[name]
	if !ok {
		return Grant{}, &Refusal{"adapter.unknown", "there is no external channel " + name, "name it under channels.external"}
	}
	why := "channels.external." + name
	source := ExpandHome(c.Program, r.Machine.OwnerHome)
	if no := r.apart(source, why+".program"); no != nil {
		return Grant{}, no
	}
	terms, err := r.terms()
	if err != nil {
		return Grant{}, err
	}
	hosts, err := egressHosts("", config.Group{Egress: c.Egress}, terms, nil)
	if err != nil {
		return Grant{}, err
	}
	for i := range hosts {
		hosts[i].Reason = why + ".egress"
	}
	deny, err := denied("", r.Config.Egress.Deny, nil)
	if err != nil {
		return Grant{}, err
	}
	// It lives as long as the daemon, so what bounds a whole life is left out, and it
	// is a small program.
	most := limits(r.Config.Limits)
	most.CPUTime, most.Memory, most.Processes = 0, min(most.Memory, adapterMemory), min(most.Processes, adapterProcesses)
	return Grant{
		Group: AdapterGroup(name), Mode: HostMode, ModeReason: "every adapter", Agent: AdapterAgent,
		Mounts: append(systemMounts(HostMode),
			Mount{Target: path.Join(AdapterDir, name), Source: source, Exec: true, File: true, Reason: why + ".program"},
			Mount{Target: Home, Source: filepath.Join(r.Machine.StateDir(name), "home"), Write: true, Reason: "what the adapter keeps"}),
		Egress: hosts, Denied: deny,
		Env:       append(Request{Config: &config.Config{}, Machine: r.Machine}.environment(AdapterAgent), trust(hosts)...),
		Endpoints: []Endpoint{{"proxy", ProxyPort, "the egress proxy"}},
		Limits:    most,
	}, nil
}

// apart refuses a program that an agent could put another one in the place of: whoever
// can change it speaks for its network.
func (r Request) apart(program, why string) *Refusal {
	in := func(dir string) bool {
		return dir != "" && (within(program, dir) || within(r.Machine.Real[program], dir))
	}
	for _, dir := range []string{r.Machine.GroupsDir, r.Machine.GlobalDir} {
		if in(dir) {
			return &Refusal{"adapter.place", why + " lies in a folder that agents write", "put it where only you can change it"}
		}
	}
	for name, g := range r.Config.Groups {
		for _, m := range g.Mounts {
			dir := ExpandHome(m.Path, r.Machine.OwnerHome)
			if m.Write && (in(dir) || in(r.Machine.Real[dir])) {
				return &Refusal{"adapter.place", why + " lies in a folder that is lent to " + name + " for writing", "put it where only you can change it"}
			}
		}
	}
	return nil
}
