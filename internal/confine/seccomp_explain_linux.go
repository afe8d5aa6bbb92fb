package confine

import (
	"fmt"
	"strings"
)

// Decide gives what the filter made of rules does with a call, and the rule
// that decides; ok is false if none does, and then the call is allowed. It is
// the table read by a person: the filter itself is compiled from the same rules
// and knows numbers alone.
func Decide(rules []Rule, call string, args [6]uint64) (rule Rule, ok bool) {
	for _, r := range rules {
		if r.Call == call && r.holds(args) {
			return r, true
		}
	}
	return Rule{}, false
}

// NewestCall is the highest number of a system call that exists inside: the
// filter gives ENOSYS beyond it.
func NewestCall() uint32 { return reviewedUpTo }

func (r Rule) holds(args [6]uint64) bool {
	for _, c := range r.When {
		if !c.holds(args[c.Arg]) {
			return false
		}
	}
	return true
}

func (c Check) holds(arg uint64) bool {
	if !c.Wide {
		arg &= lowHalf
	}
	if c.Op == AnyBit {
		return arg&c.Mask != 0
	}
	found := false
	for _, v := range c.Values {
		found = found || arg&c.Mask == v
	}
	return found == (c.Op == OneOf)
}

// String is the check in words: "argument 0 is 1 or 16".
func (c Check) String() string {
	if c.Op == AnyBit {
		return fmt.Sprintf("argument %d has any bit of %#x", c.Arg, c.Mask)
	}
	values := make([]string, len(c.Values))
	for i, v := range c.Values {
		values[i] = fmt.Sprintf("%#x", v)
	}
	is, arg := "is", fmt.Sprint(c.Arg)
	if c.Op == NoneOf {
		is = "is not"
	}
	if c.Mask != lowHalf {
		arg += fmt.Sprintf(" & %#x", c.Mask)
	}
	return fmt.Sprintf("argument %s %s %s", arg, is, strings.Join(values, " or "))
}

// Conditions is what has to hold for the rule, in words, or "always".
func (r Rule) Conditions() string {
	if len(r.When) == 0 {
		return "always"
	}
	parts := make([]string, len(r.When))
	for i, c := range r.When {
		parts[i] = c.String()
	}
	return "if " + strings.Join(parts, " and ")
}
