package boundary

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"nanoclaw/internal/confine"
	"nanoclaw/internal/grant"
)

// callForm is NAME or NAME(NUMBER,...), as in "socket(1,1,0)".
var callForm = regexp.MustCompile(`^([a-z0-9_]+)(?:\(([0-9a-fxA-FX, ]*)\))?$`)

// ExplainCall answers a question about a system call from the table that the
// filter of every session is made from: "call:mount", or with arguments as
// numbers, "call:socket(1,1,0)". Without arguments a call counts as refused if
// no arguments can make it pass.
func ExplainCall(q grant.Question) grant.Answer {
	a := grant.Answer{Question: q.String()}
	parts := callForm.FindStringSubmatch(q.Name)
	if parts == nil {
		a.Why = "write a call as NAME or NAME(NUMBER,NUMBER)"
		return a
	}
	rules := confine.SeccompRules()
	if !strings.Contains(q.Name, "(") {
		return explainAny(a, rules, parts[1])
	}
	args, err := callArgs(parts[2])
	if err != nil {
		a.Why = err.Error()
		return a
	}
	rule, ok := confine.Decide(rules, parts[1], args)
	if !ok {
		return unnamed(a)
	}
	a.Allowed, a.Line, a.Why = rule.Action == confine.Allow, callLine(rule), rule.Reason
	return a
}

// explainAny answers for a call whose arguments are not named.
func explainAny(a grant.Answer, rules []confine.Rule, name string) grant.Answer {
	var lines []string
	settled := false // a rule without conditions: no later one counts
	for _, r := range rules {
		if r.Call != name || settled {
			continue
		}
		lines = append(lines, callLine(r)+"  # "+r.Reason)
		settled = len(r.When) == 0
		a.Allowed = a.Allowed || r.Action == confine.Allow
	}
	if len(lines) == 0 {
		return unnamed(a)
	}
	if !settled {
		a.Allowed = true
		lines = append(lines, "call "+name+" otherwise: allow")
	}
	if len(lines) == 1 {
		a.Line = lines[0]
		return a
	}
	a.Why = "by its arguments; the first that holds decides:\n" + strings.Join(lines, "\n")
	return a
}

func unnamed(a grant.Answer) grant.Answer {
	a.Allowed, a.Why = true, "no rule of the filter names it with these arguments, and what it does not name is allowed"
	return a
}

// callLine is a rule as a line.
func callLine(r confine.Rule) string {
	return fmt.Sprintf("call %s %s: %s", r.Call, r.Conditions(), r.Action)
}

func callArgs(list string) (args [6]uint64, err error) {
	if strings.TrimSpace(list) == "" {
		return args, nil
	}
	words := strings.Split(list, ",")
	if len(words) > len(args) {
		return args, fmt.Errorf("a system call has at most %d arguments", len(args))
	}
	for i, w := range words {
		if args[i], err = strconv.ParseUint(strings.TrimSpace(w), 0, 64); err != nil {
			return args, fmt.Errorf("argument %d is no number: write 16 or 0x10", i)
		}
	}
	return args, nil
}
