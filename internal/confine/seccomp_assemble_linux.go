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
	program := []bpf.Instruction{
		bpf.LoadAbsolute{Off: dataArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: p.arch, SkipTrue: 1},
		bpf.RetConstant{Val: unix.SECCOMP_RET_KILL_PROCESS},
		bpf.LoadAbsolute{Off: dataNumber, Size: 4},
	}
	return bpf.Assemble(append(program, search(segments)...))
}

// segment is a range of numbers that starts at first and has the same code.
type segment struct {
	first uint32
	code  []bpf.Instruction
}

// split divides all numbers into segments: a rule's number is one, and what lies
// between is allowed.
func split(newest uint32, rules []Rule) ([]segment, error) {
	byNumber := map[uint32][]Rule{}
	for _, r := range rules {
		if r.Number > newest {
			return nil, fmt.Errorf("seccomp: rule for %s, number %d, beyond the newest reviewed %d", r.Call, r.Number, newest)
		}
		byNumber[r.Number] = append(byNumber[r.Number], r)
	}
	segments := []segment{{0, ret(Allow)}}
	for n, rs := range byNumber {
		code, err := checks(rs)
		if err != nil {
			return nil, err
		}
		segments = append(segments, segment{n, code})
		if _, ruled := byNumber[n+1]; !ruled {
			segments = append(segments, segment{n + 1, ret(Allow)})
		}
	}
	segments = append(segments, segment{newest + 1, ret(NoSuchCall)})
	// The sort is stable, so that of two segments with one start the later one,
	// the ruled or the unknown, stays behind.
	slices.SortStableFunc(segments, func(a, b segment) int { return cmp.Compare(a.first, b.first) })
	return compact(segments), nil
}

// compact drops segments that are empty or continue the one before.
func compact(segments []segment) []segment {
	var out []segment
	for i, s := range segments {
		if i+1 < len(segments) && segments[i+1].first == s.first {
			continue
		}
		if len(out) > 0 && slices.Equal(out[len(out)-1].code, s.code) {
			continue
		}
		out = append(out, s)
	}
	return out
}

func ret(a Action) []bpf.Instruction {
	return []bpf.Instruction{bpf.RetConstant{Val: a.ret()}}
}

// search makes a binary search over the segments, with the number in A.
func search(segments []segment) []bpf.Instruction {
	if len(segments) == 1 {
		return segments[0].code
	}
	mid := len(segments) / 2
	below, above := search(segments[:mid]), search(segments[mid:])
	return slices.Concat(branch(bpf.JumpGreaterOrEqual, segments[mid].first, len(below)), below, above)
}

// branch skips n instructions if the condition holds. A conditional jump reaches
// 255 instructions, an unconditional one any number.
func branch(cond bpf.JumpTest, val uint32, n int) []bpf.Instruction {
	if n <= 255 {
		return []bpf.Instruction{bpf.JumpIf{Cond: cond, Val: val, SkipTrue: uint8(n)}}
	}
	return []bpf.Instruction{
		bpf.JumpIf{Cond: cond, Val: val, SkipFalse: 1},
		bpf.Jump{Skip: uint32(n)},
	}
}

// checks makes the code for the rules of one call, in order: the first that
// matches decides, and if none does the call is allowed.
func checks(rules []Rule) ([]bpf.Instruction, error) {
	var out []bpf.Instruction
	for _, r := range rules {
		// Every check that does not hold jumps over what follows in this rule.
		body := ret(r.Action)
		for _, c := range slices.Backward(r.When) {
			code, err := c.code(len(body))
			if err != nil {
				return nil, fmt.Errorf("seccomp: rule for %s: %w", r.Call, err)
			}
			body = slices.Concat(code, body)
		}
		out = append(out, body...)
		if len(r.When) == 0 {
			return out, nil
		}
	}
	return append(out, ret(Allow)...), nil
}

// code tests c and skips miss instructions if it does not hold.
func (c Check) code(miss int) ([]bpf.Instruction, error) {
	if c.Arg < 0 || c.Arg > 5 || len(c.Values) == 0 && c.Op != AnyBit || len(c.Values)+miss > 250 {
		return nil, fmt.Errorf("malformed or too long a check %+v", c)
	}
	low := uint32(dataArgs + 8*c.Arg)
	if c.Op == AnyBit {
		return c.anyBit(low, miss), nil
	}
	if c.Wide {
		return nil, errors.New("values are only compared in the low half")
	}
	out := []bpf.Instruction{
		bpf.LoadAbsolute{Off: low, Size: 4},
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: uint32(c.Mask)},
	}
	if c.Mask == lowHalf {
		out = out[:1]
	}
	for i, v := range c.Values {
		left := len(c.Values) - i - 1 // compares that follow this one
		if c.Op == OneOf {
			// A hit skips the remaining compares and the final jump.
			out = append(out, bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(v), SkipTrue: uint8(left + 1)})
		} else {
			out = append(out, bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(v), SkipTrue: uint8(left + miss)})
		}
	}
	if c.Op == OneOf {
		out = append(out, bpf.Jump{Skip: uint32(miss)})
	}
	return out, nil
}

// anyBit tests whether a bit of the mask is set, in both halves if the kernel
// takes 64 bits.
func (c Check) anyBit(low uint32, miss int) []bpf.Instruction {
	lowTest := []bpf.Instruction{
		bpf.LoadAbsolute{Off: low, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: uint32(c.Mask), SkipFalse: uint8(miss)},
	}
	if !c.Wide {
		return lowTest
	}
	return slices.Concat([]bpf.Instruction{
		bpf.LoadAbsolute{Off: low + 4, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: uint32(c.Mask >> 32), SkipTrue: uint8(len(lowTest))},
	}, lowTest)
}
