package imports

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/tailscale/hujson"
)

// SenderListFile is the list of versions 1.2 of who may call the agent.
const SenderListFile = "sender-allowlist.json"

// SenderLists are who may call the agent, by chat.
type SenderLists struct {
	Default *SenderList           `json:"default"`
	Chats   map[string]SenderList `json:"chats"`
}

// SenderList is one list. Others' messages were dropped, or kept as context.
type SenderList struct {
	All  bool
	IDs  []string
	Mode string
}

// UnmarshalJSON reads {"allow": "*" or a list, "mode": …}.
func (l *SenderList) UnmarshalJSON(data []byte) error {
	var raw struct {
		Allow json.RawMessage `json:"allow"`
		Mode  string          `json:"mode"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	var star string
	if json.Unmarshal(raw.Allow, &star) == nil {
		if star != "*" {
			return errors.New(`allow is a text and not "*"`)
		}
		*l = SenderList{All: true, Mode: raw.Mode}
		return nil
	}
	l.Mode = raw.Mode
	return json.Unmarshal(raw.Allow, &l.IDs)
}

func parseSenders(data []byte) (*SenderLists, error) {
	var l SenderLists
	if err := json.Unmarshal(data, &l); err != nil {
		return nil, fmt.Errorf("it is not the JSON that NanoClaw 1 read")
	}
	return &l, nil
}

// of is the list of a chat. Without any list everybody could call the agent.
func (l *SenderLists) of(jid string) SenderList {
	if l == nil {
		return SenderList{All: true}
	}
	if one, ok := l.Chats[jid]; ok {
		return one
	}
	if l.Default != nil {
		return *l.Default
	}
	return SenderList{}
}

// ForkFile is the configuration of the fork that ran agents on the host.
const ForkFile = "nanoclaw.config.jsonc"

// Fork is that configuration.
type Fork struct {
	Mode     string                `json:"executionMode"`
	Security *ForkSecurity         `json:"hostSecurity"`
	Servers  map[string]ForkServer `json:"mcpServers"`
	Unknown  []string              `json:"-"`
}

// ForkSecurity is what the fork held in host mode.
type ForkSecurity struct {
	Sandbox *bool    `json:"sandbox"`
	Tools   []string `json:"tools"`
}

// ForkServer is an MCP server.
type ForkServer struct {
	Type    string            `json:"type,omitempty"`
	Command string            `json:"command,omitempty"`
	Args    []string          `json:"args,omitempty"`
	Env     map[string]string `json:"env,omitempty"`
	URL     string            `json:"url,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	Modes   []string          `json:"modes,omitempty"`
}

// variables says whether any text refers to a variable of the old environment.
func (s ForkServer) variables() bool {
	all := slices.Concat([]string{s.Command, s.URL}, s.Args, slices.Collect(maps.Values(s.Env)), slices.Collect(maps.Values(s.Headers)))
	return slices.ContainsFunc(all, func(t string) bool { return strings.Contains(t, "${") })
}

// fork reads the fork's configuration, nil if there is none.
func (in *Installation) fork() *Fork {
	data, ok := in.small(ForkFile)
	if !ok {
		return nil
	}
	plain, err := hujson.Standardize(data)
	var f Fork
	var fields map[string]json.RawMessage
	if err == nil {
		err = errors.Join(json.Unmarshal(plain, &f), json.Unmarshal(plain, &fields))
	}
	if err != nil {
		in.left(ForkFile, "it is not the JSON that the fork read")
		return nil
	}
	for _, name := range slices.Sorted(mapKeys(fields)) {
		if !slices.Contains([]string{"executionMode", "hostSecurity", "mcpServers"}, name) {
			f.Unknown = append(f.Unknown, name)
		}
	}
	return &f
}

func mapKeys[V any](m map[string]V) iter.Seq[string] { return maps.Keys(m) }
