package config

import "time"

// toolForm is what a rule about tools looks like, in words.
const toolForm = "the name of a tool, or a name with what it is about in brackets"

// permissions checks the rules of all levels.
func (v *validator) permissions(field Path, p Permissions, o Options) {
	for _, l := range []struct {
		level string
		rules []string
	}{{"deny", p.Deny}, {"ask", p.Ask}, {"allow", p.Allow}} {
		for i, rule := range l.rules {
			if v.full() {
				return
			}
			var check func(string) error
			if o.CheckRule != nil {
				check = func(rule string) error { return o.CheckRule(l.level, rule) }
			}
			v.entry(field.plus(l.level, i), rule, toolForm, check)
		}
	}
}

// approvals checks what a yes needs. The time is said once, for all groups.
func (v *validator) approvals(c *Config) {
	between(v, at("approvals", "wait"), c.Approvals.Wait, Duration(time.Minute), Duration(30*24*time.Hour))
}

func (v *validator) toolLimits(l Limits) {
	v.between(at("limits", "toolCalls"), l.ToolCalls, 0, 1_000_000)
	v.between(at("limits", "sameCalls"), l.SameCalls, 0, 1_000_000)
	v.between(at("limits", "sameCallsInARow"), l.SameCallsInARow, 0, 1_000_000)
	between(v, at("limits", "askTime"), l.AskTime, Duration(10*time.Second), Duration(24*time.Hour))
}
