package audit

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"

	"nanoclaw/internal/chat"
)

// Describe tells an entry in one plain line, for people who read the log. It
// never fails: what it does not understand it leaves out, and an erased payload
// says so. The line holds no control characters, whoever wrote the words in it.
func Describe(kind Kind, payload []byte) string {
	if payload == nil {
		return string(kind) + " (erased)"
	}
	tell, ok := tellers[kind]
	if !ok {
		return oneLine(string(kind)+" "+string(payload), 160)
	}
	text, err := tell(payload)
	if err != nil {
		return oneLine(string(kind)+" "+string(payload), 160)
	}
	return oneLine(text, 200)
}

// teller makes a sentence of a payload.
type teller func(payload []byte) (string, error)

// as reads the payload as T for f.
func as[T any](f func(T) string) teller {
	return func(payload []byte) (string, error) {
		var d T
		if err := json.Unmarshal(payload, &d); err != nil {
			return "", err
		}
		return f(d), nil
	}
}

// tellers hold the words for each kind. Read-only.
var tellers = map[Kind]teller{
	HostStarted: as(func(d HostStartedData) string {
		return "nanoclaw" + pre(" ", d.Version) + fmt.Sprintf(" started as uid %d", d.UID) + list(", missing here: ", d.Missing)
	}),
	StoreRestored: as(func(d StoreRestoredData) string {
		return "everything was restored from the backup of " + d.Made.Format(time.RFC3339) + "; what happened after it is not in this log"
	}),
	StorePruned: as(func(d StorePrunedData) string {
		what := d.What
		if what == "words" {
			what = "entries lost their words"
		} else {
			what += " were removed"
		}
		return fmt.Sprintf("%d %s, from before %s", d.Count, what, d.Before.Format(time.DateOnly))
	}),
	HostStopped:    as(func(d HostStoppedData) string { return "nanoclaw stopped" + pre(": ", d.Reason) }),
	ConfigChanged:  as(func(d ConfigChangedData) string { return "the config changed while running; new runs are held" }),
	ConfigRestored: as(func(d ConfigChangedData) string { return "the config is in order again; runs go on" }),
	ConfigAccepted: as(func(d ConfigAcceptedData) string { return "the owner accepted a changed config" + pre(" by ", d.By) }),
	ProbeRan: as(func(d ProbeData) string {
		switch {
		case d.Held && d.Cached:
			return "the boundary" + pre(" ", d.Engine) + " held when it was tried before, attestation " + d.Attestation + "; nothing it depends on changed"
		case d.Held:
			return "the probe could not break out of the boundary" + pre(" ", d.Engine) + ": it held" + pre(", attestation ", d.Attestation)
		}
		return "THE PROBE BROKE OUT" + pre(": ", d.Finding)
	}),
	Inbound: as(func(d InboundData) string {
		return "message from " + sender(d.Sender) + " in " + or(d.From.String(), "?") + ": " + d.Verdict + why(d.Reason) + quote(d.Text)
	}),
	RunStarted: as(func(d RunStartedData) string {
		return "run started" + pre(", agent ", d.Agent) + pre(", mode ", d.Mode)
	}),
	SessionPrepared: as(func(d SessionPreparedData) string {
		return "a session is prepared, before anybody wrote" + pre(", agent ", d.Agent) + pre(", mode ", d.Mode)
	}),
	SessionStarted: as(func(d SessionStartedData) string {
		return "boundary " + d.Engine + pre(" of the MCP server ", d.Server) + " stands" + list(" with ", d.Layers) + list(", without ", d.Missing) + fmt.Sprintf(", init %d", d.InitPID)
	}),
	SessionEnded: as(func(d SessionEndedData) string { return "boundary ended" + pre(": ", d.Reason) }),
	ToolCalled: as(func(d ToolCalledData) string {
		return "agent used " + d.Tool + pre(": ", d.Verdict) + why(d.Rule) + quote(compact(d.Input))
	}),
	ApprovalAsked: as(func(d ApprovalData) string { return "the owner was asked: " + d.Title }),
	ApprovalEnded: as(func(d ApprovalData) string {
		return d.State + pre(" ", d.Choice) + ": " + d.Title + why(d.Reason) + pre(", by ", string(d.By)) + pre(" in ", d.From)
	}),
	RightAllowed: as(func(d RightData) string {
		return "from now on allowed: " + d.Right + " " + d.Subject + why(d.Reason) + pre(", by ", d.By) + pre(" in ", d.From)
	}),
	RightEnded: as(func(d RightData) string {
		return "no longer allowed: " + d.Right + " " + d.Subject + why(d.Reason) + pre(", by ", d.By) + pre(" in ", d.From)
	}),
	Pairing: as(func(d PairingData) string {
		return "pairing code " + d.State + pre(", by ", d.Sender) + pre(" in ", d.From)
	}),
	HostToolCalled: as(func(d HostToolCalledData) string {
		return "agent asked the host for " + d.Tool + ": " + d.Verdict + why(d.Reason)
	}),
	MCPCalled: as(func(d MCPCalledData) string {
		return "agent asked the MCP server " + d.Server + " for " + d.Method + pre(" ", d.Tool) + ": " + d.Verdict + why(d.Reason)
	}),
	MCPTools: as(func(d MCPToolsData) string {
		if d.Was == "" {
			return fmt.Sprintf("the MCP server %s has %d tools", d.Server, len(d.Tools))
		}
		return "the MCP server " + d.Server + " changed its tools" + pre(": ", d.Change)
	}),
	RunJoined: as(func(d RunJoinedData) string {
		return fmt.Sprintf("%d messages joined the run that goes on", len(d.Rows))
	}),
	AgentUnasked: as(func(d AgentUnaskedData) string {
		return "agent spoke without being asked" + why(d.Origin) + quote(d.Text)
	}),
	EgressTried: as(func(d EgressData) string {
		if d.Host == "" {
			return "a connection that names no host: " + d.Verdict + why(d.Reason)
		}
		what := fmt.Sprintf("connection to %s:%d", d.Host, d.Port)
		if d.Path != "" {
			what = fmt.Sprintf("%s %s:%d%s", d.Method, d.Host, d.Port, d.Path)
		}
		return what + ": " + d.Verdict + why(d.Reason) + traffic(d) + usage(d)
	}),
	FilesChanged: as(func(d FilesChangedData) string {
		var words []string
		for _, f := range d.Folders {
			words = append(words, fmt.Sprintf("%d in %s", len(f.Files)+f.More, f.Folder))
		}
		return "files changed" + list(": ", words)
	}),
	RunEnded: as(func(d RunEndedData) string {
		return "run " + d.State + after(d.Ms) + used(d.Model) + cost(d.CostUSD) + pre(": ", d.Error) + list("; files that run code later: ", d.Found)
	}),
	RunHeld: as(func(d RunHeldData) string {
		return fmt.Sprintf("%d messages wait until %s by %s", len(d.Rows), d.Until.UTC().Format(time.DateTime), d.Rule) + pre(": ", d.Text)
	}),
	Trouble: as(func(d TroubleData) string {
		return fmt.Sprintf("trouble with %s (%s): %s", d.Key, d.Class, d.State) + pre(": ", d.Text)
	}),
	BudgetExtended: as(func(d BudgetExtendedData) string {
		return fmt.Sprintf("the budget of %s was extended for %s by %s", d.Account, d.Day, d.By)
	}),
	RunRefused:  as(func(d RunRefusedData) string { return "run refused by " + d.Rule + pre(": ", d.Text) }),
	Outbox:      as(func(d OutboxData) string { return outbound(d) + " waits for delivery to " + d.To.String() }),
	Delivered:   as(func(d OutboxData) string { return outbound(d) + " delivered to " + d.To.String() }),
	GivenUp:     as(func(d OutboxData) string { return outbound(d) + " given up, to " + d.To.String() + pre(": ", d.Cause) }),
	ExecStarted: as(func(d ExecStartedData) string { return "the owner ran" + quote(strings.Join(d.Argv, " ")) }),
	ExecEnded: as(func(d ExecEndedData) string {
		if d.Signal != "" {
			return "the owner's command ended by " + d.Signal + after(d.Ms) + pre(": ", d.Error)
		}
		return fmt.Sprintf("the owner's command ended with %d", d.Exit) + after(d.Ms) + pre(": ", d.Error)
	}),
	DelayedOdd: as(func(d DelayedData) string {
		return "in " + d.Folder + " some files reach elsewhere" + list(": ", d.Odd)
	}),
	DelayedFound: as(func(d DelayedData) string {
		return "left in " + d.Folder + list(": ", d.Files) + pre("; the search was not complete: ", d.Short)
	}),
	DelayedMoved: as(func(d DelayedData) string {
		return fmt.Sprintf("moved %d of them", len(d.Files)) + pre(" to ", d.Quarantine) + list("; NOT MOVED: ", d.Failed)
	}),
	DelayedExpired: as(func(d DelayedData) string {
		return "the quarantine gave up" + list(" ", d.Files) + list("; NOT REMOVED: ", d.Failed)
	}),
	Part:        as(func(d PartData) string { return fmt.Sprintf("part %d of an entry that follows", d.Part) }),
	WireFailed:  as(func(d WireFailedData) string { return "a session's wire failed" + pre(": ", d.Reason) }),
	TaskChanged: as(describeTask),
	TaskDue: as(func(d TaskDueData) string {
		return "task " + string(d.Task) + fmt.Sprintf(" was due: %d to run", len(d.Run)) + list(", left out: ", d.Skipped)
	}),
	TaskChecked: as(func(d TaskCheckedData) string {
		s := "the script of task " + string(d.Task) + " said not to wake the agent"
		if d.Wake {
			s = "the script of task " + string(d.Task) + " woke the agent"
		}
		return s + pre(": ", d.Error)
	}),
	OwnerActed: as(func(d OwnerActedData) string {
		who := "the owner"
		if d.By != "" {
			who = or(d.Role, "somebody") + " " + d.By + pre(" in ", d.From)
		}
		s := who + ": " + d.Act + pre(" ", d.Target) + why(d.Detail)
		if n := len(d.Entries); n > 0 {
			s += fmt.Sprintf(", %d entries from %d", n, d.Entries[0])
		}
		return s
	}),
}

// Names reports whether an entry is of a message that a sender wrote, or of a run
// that one of their messages began.
func Names(r Row, id chat.SenderID) bool {
	var d struct {
		Sender  chat.Sender `json:"sender"`
		Trigger struct {
			Sender chat.SenderID `json:"sender"`
		} `json:"trigger"`
	}
	if r.Kind != Inbound && r.Kind != RunStarted || json.Unmarshal(r.Payload, &d) != nil {
		return false
	}
	return d.Sender.ID == id || d.Trigger.Sender == id
}

func sender(s chat.Sender) string {
	if s.Owner {
		return "owner"
	}
	return or(or(s.Name, string(s.ID)), "?")
}

func outbound(d OutboxData) string {
	return fmt.Sprintf("%s %d (%d bytes)", or(string(d.Kind), "message"), d.ID, d.Bytes)
}

func traffic(d EgressData) string {
	if d.Up == 0 && d.Down == 0 {
		return ""
	}
	return fmt.Sprintf(", %d bytes up, %d down", d.Up, d.Down) + after(d.Ms)
}

func after(ms int64) string {
	if ms == 0 {
		return ""
	}
	return " after " + (time.Duration(ms) * time.Millisecond).String()
}

func cost(usd float64) string {
	if usd == 0 {
		return ""
	}
	return fmt.Sprintf(", %.4f USD as the agent says", usd)
}

// used is what a run's answers cost, in words.
func used(m *ModelUse) string {
	if m == nil {
		return ""
	}
	s := fmt.Sprintf(", %d answers, %d tokens in (%d cached), %d out", m.Answers, m.Input+m.CacheRead+m.CacheWrite, m.CacheRead, m.Output)
	if m.Searches+m.Fetches > 0 {
		s += fmt.Sprintf(", %d searches and %d fetches of the provider", m.Searches, m.Fetches)
	}
	return s
}

// usage is what one answer cost.
func usage(d EgressData) string {
	if d.Usage == nil {
		return ""
	}
	return fmt.Sprintf(", %d tokens in, %d out", d.Usage.Input+d.Usage.Read+d.Usage.Write, d.Usage.Output) + pre(" of ", d.Usage.Model)
}

// compact is what a tool was given, in one line: the command where that is all, but for
// what the agent calls it, else JSON as people write it.
func compact(v any) string {
	if m, ok := v.(map[string]any); ok {
		s, ok := m["command"].(string)
		rest := len(m) - 1
		if _, called := m["description"]; called {
			rest--
		}
		if ok && rest == 0 {
			return s
		}
	}
	if v == nil {
		return ""
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // "\u003c" for "<" is for browsers, which do not read this as a page
	if e.Encode(v) != nil {
		return ""
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func or(s, other string) string {
	if s == "" || s == ":" {
		return other
	}
	return s
}

// pre puts before in front of s if there is an s.
func pre(before, s string) string {
	if s == "" {
		return ""
	}
	return before + s
}

func why(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}

func quote(s string) string {
	if s == "" {
		return ""
	}
	return ": “" + oneLine(s, 80) + "”"
}

func list(before string, words []string) string { return pre(before, strings.Join(words, ", ")) }

// oneLine makes words safe to print: one line, no control or formatting
// characters (a sender could otherwise repaint the owner's terminal or turn the
// reading direction), and not too long.
func oneLine(s string, limit int) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n == limit {
			b.WriteString("…")
			break
		}
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			r = ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r):
			r = '\uFFFD'
		}
		b.WriteRune(r)
		n++
	}
	return b.String()
}
