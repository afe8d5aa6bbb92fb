package confine

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// platform is what a filter must know of a processor.
type platform struct {
	arch   uint32 // AUDIT_ARCH_*
	newest uint32 // the highest number that was reviewed
}

// Offsets in struct seccomp_data, see seccomp(2). An argument is 64 bits, low
// half first on the processors we know.
const (
	dataNumber = 0
	dataArch   = 4
	dataArgs   = 16
)

// assemble makes the filter. It runs for each system call, so:
//
//   - The number is found by a binary search, at most eight compares deep.
//   - Calls without argument checks only load the number and the architecture.
//     The kernel (since 5.11) recognises such a path when the filter is
//     installed, and then lets the call pass without running the filter at all.
//
// A call of another architecture kills the process: nothing that we run makes
// one by accident. An unknown number gives ENOSYS, as an older kernel would, so
// that programs fall back; so do the calls of x32, which come as this
// architecture's with bit 30 set in the number.
func assemble(p platform, rules []Rule) ([]bpf.RawInstruction, error) {
	segments, err := split(p.newest, rules)
	if err != nil {
		return nil, err
	}
	var c code
	c.add(bpf.LoadAbsolute{Off: dataArch, Size: 4})
	c.add(bpf.JumpIf{Cond: bpf.JumpEqual, Val: p.arch, SkipTrue: 1})
	c.add(bpf.RetConstant{Val: unix.SECCOMP_RET_KILL_PROCESS})
	c.add(bpf.LoadAbsolute{Off: dataNumber, Size: 4})
	c.search(segments)
	return c.out, c.err
}

// segment is a range of numbers, from first to the next segment, to which the
// same rules apply.
type segment struct {
	first uint32
	rules []Rule
}

// plain returns the action of a segment that depends on no argument.
func (s segment) plain() (Action, bool) {
	return s.rules[0].Action, len(s.rules[0].When) == 0
}

// split divides all numbers into segments: those of rules, and what lies
// between, which is allowed.
func split(newest uint32, rules []Rule) ([]segment, error) {
	rules = slices.Clone(rules)
	slices.SortStableFunc(rules, func(a, b Rule) int { return cmp.Compare(a.Number, b.Number) })
	var segments []segment
	add := func(s segment) {
		if len(segments) > 0 {
			before, plainBefore := segments[len(segments)-1].plain()
			if action, plain := s.plain(); plain && plainBefore && action == before {
				return // it continues the one before
			}
		}
		segments = append(segments, s)
	}
	var next uint32
	for len(rules) > 0 {
		r := rules[0]
		if r.Number > newest {
			return nil, fmt.Errorf("seccomp: rule for %s, number %d, beyond the newest reviewed %d", r.Call, r.Number, newest)
		}
		n := 1
		for n < len(rules) && rules[n].Number == r.Number {
			n++
		}
		if r.Number > next {
			add(segment{next, []Rule{{Action: Allow}}})
		}
		add(segment{r.Number, rules[:n]})
		rules, next = rules[n:], r.Number+1
	}
	if next <= newest {
		add(segment{next, []Rule{{Action: Allow}}})
	}
	add(segment{newest + 1, []Rule{{Action: NoSuchCall}}})
	return segments, nil
}

// code is a program in the making.
type code struct {
	out []bpf.RawInstruction
	err error // the first one
	// misses are the jumps taken when a check of the current rule does not hold;
	// where they lead is known at the rule's end.
	misses []miss
}

type miss struct {
	at     int
	onTrue bool
}

func (c *code) fail(err error) {
	if c.err == nil {
		c.err = fmt.Errorf("seccomp: %w", err)
	}
}

func (c *code) add(in bpf.Instruction) {
	raw, err := in.Assemble()
	if err != nil {
		c.fail(err)
	}
	c.out = append(c.out, raw)
}

// distance is how far a jump at one place skips to reach another. A conditional
// jump reaches 255 instructions.
func (c *code) distance(from, to int) uint8 {
	n := to - from - 1
	if n > 255 {
		c.fail(errors.New("a jump is too long"))
	}
	return uint8(n)
}

// search adds a binary search over the segments, with the number in A.
func (c *code) search(segments []segment) {
	if len(segments) == 1 {
		c.rules(segments[0].rules)
		return
	}
	mid := len(segments) / 2
	at := len(c.out)
	c.search(segments[:mid])
	c.insertBranch(at, segments[mid].first)
	c.search(segments[mid:])
}

// insertBranch inserts, before what was added since at, a jump over it for
// numbers from first on. Jumps are relative, so what moves stays right.
func (c *code) insertBranch(at int, first uint32) {
	over := len(c.out) - at
	branch := []bpf.Instruction{bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: first, SkipTrue: uint8(over)}}
	if over > 255 { // further than a conditional jump reaches
		branch = []bpf.Instruction{
			bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: first, SkipFalse: 1},
			bpf.Jump{Skip: uint32(over)},
		}
	}
	raw, err := bpf.Assemble(branch)
	if err != nil {
		c.fail(err)
	}
	c.out = slices.Insert(c.out, at, raw...)
}

// rules adds the rules of one call, in order: the first that holds decides, and
// if none does the call is allowed.
func (c *code) rules(rules []Rule) {
	for _, r := range rules {
		c.misses = c.misses[:0]
		for _, k := range r.When {
			c.check(k)
		}
		c.add(bpf.RetConstant{Val: r.Action.ret()})
		if len(r.When) == 0 {
			return
		}
		for _, m := range c.misses {
			if n := c.distance(m.at, len(c.out)); m.onTrue {
				c.out[m.at].Jt = n
			} else {
				c.out[m.at].Jf = n
			}
		}
	}
	c.add(bpf.RetConstant{Val: Allow.ret()})
}

// check adds the test of one argument.
func (c *code) check(k Check) {
	low := uint32(dataArgs + 8*k.Arg)
	switch {
	case k.Arg < 0 || k.Arg > 5:
		c.fail(fmt.Errorf("there is no argument %d", k.Arg))
	case k.Op == AnyBit:
		c.anyBit(k, low)
	case k.Wide || len(k.Values) == 0:
		c.fail(errors.New("there must be values, and they are only compared in the low half"))
	default:
		c.values(k, low)
	}
}

func (c *code) values(k Check, low uint32) {
	c.add(bpf.LoadAbsolute{Off: low, Size: 4})
	if k.Mask != lowHalf {
		c.add(bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: uint32(k.Mask)})
	}
	end := len(c.out) + len(k.Values)
	for i, v := range k.Values {
		jump := bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(v)}
		switch {
		case k.Op == NoneOf:
			c.misses = append(c.misses, miss{len(c.out), true})
		case i == len(k.Values)-1:
			c.misses = append(c.misses, miss{len(c.out), false})
		default:
			jump.SkipTrue = c.distance(len(c.out), end)
		}
		c.add(jump)
	}
}

// anyBit tests whether a bit of the mask is set, in both halves if the kernel
// takes 64 bits.
func (c *code) anyBit(k Check, low uint32) {
	if k.Wide {
		c.add(bpf.LoadAbsolute{Off: low + 4, Size: 4})
		c.add(bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: uint32(k.Mask >> 32), SkipTrue: 2})
	}
	c.add(bpf.LoadAbsolute{Off: low, Size: 4})
	c.misses = append(c.misses, miss{len(c.out), false})
	c.add(bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: uint32(k.Mask)})
}
