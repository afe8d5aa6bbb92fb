package watch

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"sync"
)

// Policy says how the calls of a session are judged.
type Policy struct {
	// Rules of every level. Their order does not matter.
	Rules []Rule
	// AskAll is the permission mode "ask": the owner is asked about every call
	// that no rule and not ReadOnly lets pass.
	AskAll bool
	// Calls is how many a run may make in all. 0 is no bound, here and below.
	Calls int
	// Same is how often a run may make the same call, and InARow how often without
	// another one in between.
	Same, InARow int
	// Dir is the working directory of the agent, Home its home.
	Dir, Home string
}

// ReadOnly says whether a tool changes nothing and tells nobody anything: in
// permission mode "ask" it passes. What a subagent does is judged call by call,
// so that one is started is no more than a thought.
func ReadOnly(tool string) bool {
	switch tool {
	case "Read", "Grep", "Glob", "LS", "NotebookRead", "TodoWrite", "ToolSearch", "Agent", "Task", "ReportFindings":
		return true
	}
	return false
}

// Verdict is the decision about one call.
type Verdict struct {
	// Level is Allow, Ask or Deny.
	Level Level
	// Rule is what decided, for the audit: a rule as it was written, "limits.…",
	// "permissionMode", or "" where nothing did.
	Rule string
	// Reason tells the agent why a call is denied and what to do instead.
	Reason string
	// Stop says that the agent does not heed the denials, so that the run must end.
	Stop bool
}

// Judge judges the calls of one session and counts them by run. It may be used
// from several goroutines.
type Judge struct {
	policy Policy

	mu      sync.Mutex // guards all below
	run     string
	calls   int
	blown   int // denied by a fuse
	seen    map[[sha256.Size]byte]int
	streaks map[string]streak // by subagent
}

// streak is a call made again and again.
type streak struct {
	call [sha256.Size]byte
	n    int
}

// Bounds of what is remembered of a run, whose calls may have no bound.
const (
	maxSeen    = 4096
	maxStreaks = 256
)

// heedless is how many calls a fuse denies before it ends the run.
const heedless = 20

// New makes the judge of a session.
func New(p Policy) *Judge { return &Judge{policy: p} }

// Judge decides about one call of a run. Every call counts, whatever comes of it.
func (j *Judge) Judge(run string, c Call) Verdict {
	if v, blown := j.fuses(run, c); blown {
		return v
	}
	return j.policy.decide(c)
}

// Calls is how many calls the run made so far.
func (j *Judge) Calls(run string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.run != run {
		return 0
	}
	return j.calls
}

// decide applies rules and mode: the strictest level with a rule that matches.
func (p Policy) decide(c Call) Verdict {
	for _, level := range []Level{Deny, Ask, Allow} {
		for _, r := range p.Rules {
			if r.level == level && r.matches(c, p.Dir, p.Home) {
				return Verdict{Level: level, Rule: r.text, Reason: denied(level, r)}
			}
		}
	}
	if p.AskAll && !ReadOnly(c.Tool) {
		return Verdict{Level: Ask, Rule: "permissionMode"}
	}
	return Verdict{Level: Allow}
}

func denied(level Level, r Rule) string {
	if level != Deny {
		return ""
	}
	return fmt.Sprintf("The owner's rule %q refuses this call. Do not look for a way around it: do without, or say in your answer what you would need and why.", r.text)
}

// fuses counts the call and says whether it is one too many.
func (j *Judge) fuses(run string, c Call) (v Verdict, blown bool) {
	id := identity(c)
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.run != run || j.seen == nil {
		j.run, j.calls, j.blown = run, 0, 0
		j.seen, j.streaks = map[[sha256.Size]byte]int{}, map[string]streak{}
	}
	j.calls++
	same, row := j.again(id, c.Subagent)
	p := j.policy
	switch {
	case p.Calls > 0 && j.calls > p.Calls:
		v = Verdict{Rule: "limits.toolCalls", Reason: fmt.Sprintf("This run has used up its %d tool calls. Use no more tools: answer with what you have, and say what is left to do.", p.Calls)}
	case p.InARow > 0 && row > p.InARow:
		v = Verdict{Rule: "limits.sameCallsInARow", Reason: fmt.Sprintf("You made this same call %d times in a row, so it is not made again. Its result will not change: do something else, or say in your answer what stops you.", p.InARow)}
	case p.Same > 0 && same > p.Same:
		v = Verdict{Rule: "limits.sameCalls", Reason: fmt.Sprintf("You made this same call %d times in this run, so it is not made again. Go on without it, or say in your answer what stops you.", p.Same)}
	default:
		return Verdict{}, false
	}
	j.blown++
	v.Level, v.Stop = Deny, j.blown > heedless
	return v, true
}

// again counts how often a call was made: in the run, and by its agent without
// another one in between.
func (j *Judge) again(id [sha256.Size]byte, subagent string) (same, row int) {
	if n, known := j.seen[id]; known || len(j.seen) < maxSeen {
		j.seen[id] = n + 1
	}
	if _, known := j.streaks[subagent]; !known && len(j.streaks) >= maxStreaks {
		subagent = "" // subagents have names of the agent's choice
	}
	s := j.streaks[subagent]
	if s.call != id {
		s = streak{call: id}
	}
	s.n++
	j.streaks[subagent] = s
	return j.seen[id], s.n
}

// identity is the same for calls that do the same. The words with which an agent
// describes a command change nothing.
func identity(c Call) [sha256.Size]byte {
	input := []byte(c.Input)
	var fields map[string]json.RawMessage
	if c.Tool == "Bash" && json.Unmarshal(input, &fields) == nil {
		delete(fields, "description")
		input, _ = json.Marshal(fields) // made of JSON that was read just now
	}
	var tight bytes.Buffer
	if json.Compact(&tight, input) == nil {
		input = tight.Bytes()
	}
	h := sha256.New()
	fmt.Fprintf(h, "%d %s ", len(c.Tool), c.Tool)
	h.Write(input)
	return [sha256.Size]byte(h.Sum(nil))
}
