package why

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
)

// Account is one run, told.
type Account struct {
	Run     chat.RunID     `json:"run"`
	Group   chat.Group     `json:"group"`
	Session chat.SessionID `json:"session,omitempty"`
	// First and Last are the ids of its entries.
	First   int64 `json:"first"`
	Last    int64 `json:"last"`
	Asked   Asked `json:"asked"`
	Decided `json:"decided"`
	Granted Granted `json:"granted"`
	// Boundary is what stood around it, zero for a warm session's later runs.
	Boundary audit.SessionStartedData `json:"boundary,omitzero"`
	// Did are the agent's own tools, Asks what it asked of the host, Reached the
	// hosts, each with how often.
	Did     []Use                 `json:"did,omitempty"`
	Asks    []Use                 `json:"asks,omitempty"`
	Reached []Use                 `json:"reached,omitempty"`
	Changed []audit.ChangedFolder `json:"changed,omitempty"`
	// Found are files that run code later, which were moved away.
	Found []string `json:"found,omitempty"`
	Sent  []Sent   `json:"sent,omitempty"`
	Ended Ended    `json:"ended,omitzero"`
	// Erased is how many entries have lost their words.
	Erased int         `json:"erased,omitempty"`
	parts  []audit.Row // of the next entry
}

// Asked is who asked, as the channel proved it.
type Asked struct {
	At       time.Time     `json:"at,omitzero"`
	Kind     string        `json:"kind,omitempty"` // "message"
	From     string        `json:"from,omitempty"` // the chat
	Sender   chat.SenderID `json:"sender,omitempty"`
	Owner    bool          `json:"owner,omitempty"`
	Terminal bool          `json:"terminal,omitempty"`
}

// Decided is which rule let it run, or did not.
type Decided struct {
	Mode        string `json:"mode,omitempty"`
	ModeReason  string `json:"modeReason,omitempty"`
	Agent       string `json:"agent,omitempty"`
	AgentReason string `json:"agentReason,omitempty"`
	Warm        bool   `json:"warm,omitempty"`
	// Rule and Refusal are of a run that was not allowed.
	Rule    string `json:"rule,omitempty"`
	Refusal string `json:"refusal,omitempty"`
}

// Granted is what the grant held beside the system's own programs.
type Granted struct {
	Writes []string `json:"writes,omitempty"`
	Reads  []string `json:"reads,omitempty"`
	Hosts  []string `json:"hosts,omitempty"`
	Tools  []string `json:"tools,omitempty"`
}

// Use is one thing that was used, and how often.
type Use struct {
	Name    string `json:"name"`
	Times   int    `json:"times"`
	Refused int    `json:"refused,omitempty"`
	// Reason is why it was refused the first time, Allow the command that would
	// allow it.
	Reason string `json:"reason,omitempty"`
	Allow  string `json:"allow,omitempty"`
	// Up and Down are bytes.
	Up   int64 `json:"up,omitempty"`
	Down int64 `json:"down,omitempty"`
}

// Sent is a message that the run left.
type Sent struct {
	Kind  chat.OutboundKind `json:"kind"`
	To    string            `json:"to"`
	Bytes int               `json:"bytes"`
	// State is "waiting", "delivered" or "given up".
	State string `json:"state"`
	Cause string `json:"cause,omitempty"`
	id    int64
}

// Ended is how it ended, zero if it did not yet.
type Ended struct {
	State   string    `json:"state,omitempty"`
	At      time.Time `json:"at,omitzero"`
	Error   string    `json:"error,omitempty"`
	Ms      int64     `json:"ms,omitempty"`
	CostUSD float64   `json:"costUsd,omitempty"`
	// Model is what the model's provider counted, nil if it was not asked.
	Model *audit.ModelUse `json:"model,omitempty"`
}

// These bound an account.
const (
	maxUses  = 100
	maxSent  = 100
	maxParts = 256
)

// Add takes the run's next entry.
func (a *Account) Add(r audit.Row) {
	if a.First == 0 {
		a.First, a.Run, a.Group = r.ID, r.Run, r.Group
	}
	a.Last, a.Session = r.ID, cmp.Or(a.Session, r.Session)
	if r.Erased() {
		a.Erased++
		return
	}
	if r.Kind == audit.Part {
		if len(a.parts) < maxParts {
			a.parts = append(a.parts, r)
		}
		return
	}
	if take := takers[r.Kind]; take != nil {
		take(a, a.whole(r))
	}
	a.parts = nil
}

// whole puts an entry together that was stored in parts. Its brief stays where
// they are not all there.
func (a *Account) whole(r audit.Row) audit.Row {
	if p, ok := audit.PartedOf(r.Payload); ok {
		if whole, err := p.Join(a.parts); err == nil {
			r.Payload = whole
		}
	}
	return r
}

// taking reads a payload as T for f. A payload that is no T is left out.
func taking[T any](f func(*Account, audit.Row, T)) func(*Account, audit.Row) {
	return func(a *Account, r audit.Row) {
		var d T
		if json.Unmarshal(r.Payload, &d) == nil {
			f(a, r, d)
		}
	}
}

// takers take the entries of each kind. Read-only.
var takers = map[audit.Kind]func(*Account, audit.Row){
	audit.RunStarted: taking(func(a *Account, r audit.Row, d started) {
		a.Asked = Asked{r.At, d.Trigger.Kind, d.Trigger.From, d.Trigger.Sender, d.Trigger.Owner, d.Trigger.Terminal}
		a.Mode, a.Agent, a.AgentReason, a.Warm = d.Mode, d.Agent, d.Trigger.AgentReason, d.Trigger.Warm
		a.ModeReason, a.Granted = d.Grant.ModeReason, granted(d.Grant)
	}),
	audit.RunRefused: taking(func(a *Account, r audit.Row, d audit.RunRefusedData) {
		a.Rule, a.Refusal = d.Rule, d.Text
		a.Ended = Ended{State: "refused", At: r.At}
	}),
	audit.SessionStarted: taking(func(a *Account, _ audit.Row, d audit.SessionStartedData) { a.Boundary = d }),
	audit.ToolCalled: taking(func(a *Account, _ audit.Row, d verdict) {
		a.Did = use(a.Did, Use{Name: d.Tool, Reason: d.Reason}, d.Verdict != "allowed")
	}),
	audit.HostToolCalled: taking(func(a *Account, _ audit.Row, d verdict) {
		a.Asks = use(a.Asks, Use{Name: d.Tool, Reason: d.Reason}, d.Verdict != "allowed")
	}),
	audit.MCPCalled: taking(func(a *Account, _ audit.Row, d audit.MCPCalledData) {
		a.Asks = use(a.Asks, Use{Name: strings.TrimSpace("MCP " + d.Server + " " + d.Method + " " + d.Tool), Reason: d.Reason}, d.Verdict != "allowed")
	}),
	audit.EgressTried: taking(func(a *Account, _ audit.Row, d tried) {
		if d.Phase == "open" {
			return // its close tells it all
		}
		a.Reached = use(a.Reached, Use{Name: d.name(), Reason: d.Reason, Allow: d.Allow, Up: d.Up, Down: d.Down}, d.Verdict != "allowed")
	}),
	audit.FilesChanged: taking(func(a *Account, _ audit.Row, d audit.FilesChangedData) { a.Changed = d.Folders }),
	audit.RunEnded: taking(func(a *Account, r audit.Row, d audit.RunEndedData) {
		a.Ended, a.Found = Ended{d.State, r.At, d.Error, d.Ms, d.CostUSD, d.Model}, d.Found
	}),
	audit.Outbox: taking(func(a *Account, _ audit.Row, d audit.OutboxData) {
		if len(a.Sent) < maxSent {
			a.Sent = append(a.Sent, Sent{Kind: d.Kind, To: d.To.String(), Bytes: d.Bytes, State: "waiting", id: d.ID})
		}
	}),
	audit.Delivered: taking(func(a *Account, _ audit.Row, d audit.OutboxData) { a.sent(d, "delivered") }),
	audit.GivenUp:   taking(func(a *Account, _ audit.Row, d audit.OutboxData) { a.sent(d, "given up") }),
}

func (a *Account) sent(d audit.OutboxData, state string) {
	for i := range a.Sent {
		if a.Sent[i].id == d.ID {
			a.Sent[i].State, a.Sent[i].Cause = state, d.Cause
		}
	}
}

// use counts u among the uses of its name.
func use(all []Use, u Use, refused bool) []Use {
	u.Name, u.Reason = clip(u.Name), clip(u.Reason)
	i := slices.IndexFunc(all, func(o Use) bool { return o.Name == u.Name })
	if i < 0 {
		if len(all) == maxUses {
			return all
		}
		i, all = len(all), append(all, Use{Name: u.Name})
	}
	o := &all[i]
	o.Times++
	o.Up, o.Down = o.Up+u.Up, o.Down+u.Down
	if refused {
		o.Refused++
		o.Reason, o.Allow = cmp.Or(o.Reason, u.Reason), cmp.Or(o.Allow, u.Allow)
	}
	return all
}

// clip bounds what an agent chose.
func clip(s string) string {
	const most = 300
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// granted is what of a grant tells this group from another.
func granted(g grant.Grant) Granted {
	var out Granted
	for _, m := range g.Mounts {
		switch {
		case m.Held:
		case m.Write:
			out.Writes = append(out.Writes, m.Target)
		case m.Foreign || inWorkspace(m.Target):
			out.Reads = append(out.Reads, m.Target)
		}
	}
	for _, h := range g.Egress {
		out.Hosts = append(out.Hosts, host(h.Pattern, h.Port))
	}
	for _, t := range g.Tools {
		out.Tools = append(out.Tools, t.Name)
	}
	return out
}
