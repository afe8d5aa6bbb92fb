//go:build linux && (amd64 || arm64)

package confine

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// call is a system call as a filter sees it.
type call struct {
	arch, number uint32
	args         [6]uint64
}

// data is struct seccomp_data in the byte order that the VM of x/net/bpf
// expects. The kernel loads each 32-bit word as the machine has it, the VM most
// significant byte first; so each word is turned, but not their order.
func (c call) data() []byte {
	words := []uint32{c.number, c.arch, 0, 0}
	for _, a := range c.args {
		words = append(words, uint32(a), uint32(a>>32))
	}
	var b []byte
	for _, w := range words {
		b = binary.BigEndian.AppendUint32(b, w)
	}
	return b
}

// reference says what the table means, word for word and with no regard to
// speed: what the assembled filter is compared with.
func reference(p platform, rules []Rule, c call) uint32 {
	switch {
	case c.arch != p.arch:
		return unix.SECCOMP_RET_KILL_PROCESS
	case c.number > p.newest:
		return NoSuchCall.ret()
	}
	for _, r := range rules {
		if r.Number == c.number && !slices.ContainsFunc(r.When, func(k Check) bool { return !holds(k, c.args[k.Arg]) }) {
			return r.Action.ret()
		}
	}
	return Allow.ret()
}

func holds(k Check, arg uint64) bool {
	if !k.Wide {
		arg = uint64(uint32(arg))
	}
	arg &= k.Mask
	switch k.Op {
	case OneOf:
		return slices.Contains(k.Values, arg)
	case NoneOf:
		return !slices.Contains(k.Values, arg)
	default:
		return arg != 0
	}
}

func vm(t testing.TB, p platform, rules []Rule) func(call) uint32 {
	t.Helper()
	raw, err := assemble(p, rules)
	if err != nil {
		t.Fatal(err)
	}
	program, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatal("the program has instructions that do not exist")
	}
	m, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	return func(c call) uint32 {
		v, err := m.Run(c.data())
		if err != nil {
			t.Fatal(err)
		}
		return uint32(v)
	}
}

func native(t testing.TB) platform {
	t.Helper()
	p, err := nativePlatform()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestFilterDecides(t *testing.T) {
	p := native(t)
	run := vm(t, p, SeccompRules())
	const high = 1 << 32
	for _, tt := range []struct {
		name string
		nr   uint32
		args [6]uint64
		want Action
	}{
		{"read", unix.SYS_READ, [6]uint64{}, Allow},
		{"execve", unix.SYS_EXECVE, [6]uint64{}, Allow},
		{"the last reviewed", reviewedUpTo, [6]uint64{}, Allow},
		{"the first unknown", reviewedUpTo + 1, [6]uint64{}, NoSuchCall},
		{"read in x32", unix.SYS_READ | 0x40000000, [6]uint64{}, NoSuchCall},
		{"the highest number", 1<<32 - 1, [6]uint64{}, NoSuchCall},
		{"unix socket", unix.SYS_SOCKET, [6]uint64{unix.AF_UNIX, unix.SOCK_STREAM}, Refuse},
		{"unix socket behind high bits", unix.SYS_SOCKET, [6]uint64{unix.AF_UNIX + high, unix.SOCK_STREAM}, Refuse},
		{"tcp", unix.SYS_SOCKET, [6]uint64{unix.AF_INET, unix.SOCK_STREAM | unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK, 0}, Allow},
		{"tcp6 by name", unix.SYS_SOCKET, [6]uint64{unix.AF_INET6, unix.SOCK_STREAM, unix.IPPROTO_TCP}, Allow},
		{"udp", unix.SYS_SOCKET, [6]uint64{unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_UDP}, Allow},
		{"ping socket", unix.SYS_SOCKET, [6]uint64{unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP}, Action(unix.EPROTONOSUPPORT)},
		{"mptcp", unix.SYS_SOCKET, [6]uint64{unix.AF_INET, unix.SOCK_STREAM, 262}, Action(unix.EPROTONOSUPPORT)},
		{"mptcp behind high bits", unix.SYS_SOCKET, [6]uint64{unix.AF_INET, unix.SOCK_STREAM, 262 + high}, Action(unix.EPROTONOSUPPORT)},
		{"raw", unix.SYS_SOCKET, [6]uint64{unix.AF_INET6, unix.SOCK_RAW, 58}, Refuse},
		{"sequenced packets", unix.SYS_SOCKET, [6]uint64{unix.AF_INET, unix.SOCK_SEQPACKET, 132}, Action(unix.EPROTONOSUPPORT)},
		{"netlink route", unix.SYS_SOCKET, [6]uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE}, Allow},
		{"netlink netfilter", unix.SYS_SOCKET, [6]uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER}, Action(unix.EPROTONOSUPPORT)},
		{"vsock", unix.SYS_SOCKET, [6]uint64{unix.AF_VSOCK, unix.SOCK_STREAM}, Action(unix.EAFNOSUPPORT)},
		{"packet", unix.SYS_SOCKET, [6]uint64{unix.AF_PACKET, unix.SOCK_RAW}, Action(unix.EAFNOSUPPORT)},
		{"crypto", unix.SYS_SOCKET, [6]uint64{unix.AF_ALG, unix.SOCK_SEQPACKET}, Action(unix.EAFNOSUPPORT)},
		{"stream pair", unix.SYS_SOCKETPAIR, [6]uint64{unix.AF_UNIX, unix.SOCK_STREAM | unix.SOCK_CLOEXEC}, Allow},
		{"packet pair", unix.SYS_SOCKETPAIR, [6]uint64{unix.AF_UNIX, unix.SOCK_SEQPACKET}, Allow},
		{"datagram pair", unix.SYS_SOCKETPAIR, [6]uint64{unix.AF_UNIX, unix.SOCK_DGRAM}, Refuse},
		{"tipc pair", unix.SYS_SOCKETPAIR, [6]uint64{unix.AF_TIPC, unix.SOCK_STREAM}, Refuse},
		{"fork", unix.SYS_CLONE, [6]uint64{uint64(unix.SIGCHLD)}, Allow},
		{"thread", unix.SYS_CLONE, [6]uint64{unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD}, Allow},
		{"clone into a user namespace", unix.SYS_CLONE, [6]uint64{unix.CLONE_NEWUSER | uint64(unix.SIGCHLD)}, Refuse},
		{"clone into a network namespace", unix.SYS_CLONE, [6]uint64{unix.CLONE_NEWNET | high}, Refuse},
		{"clone3", unix.SYS_CLONE3, [6]uint64{}, NoSuchCall},
		{"unshare files", unix.SYS_UNSHARE, [6]uint64{unix.CLONE_FILES}, Allow},
		{"unshare time", unix.SYS_UNSHARE, [6]uint64{unix.CLONE_NEWTIME}, Refuse},
		{"unshare what is not invented yet", unix.SYS_UNSHARE, [6]uint64{1 << 37}, Refuse},
		{"keyctl", unix.SYS_KEYCTL, [6]uint64{}, Refuse},
		{"io_uring", unix.SYS_IO_URING_SETUP, [6]uint64{}, Refuse},
		{"push characters", unix.SYS_IOCTL, [6]uint64{0, unix.TIOCSTI}, Refuse},
		{"push characters behind high bits", unix.SYS_IOCTL, [6]uint64{0, unix.TIOCSTI + 7*high}, Refuse},
		{"console selection", unix.SYS_IOCTL, [6]uint64{0, unix.TIOCLINUX}, Refuse},
		{"window size", unix.SYS_IOCTL, [6]uint64{0, unix.TIOCGWINSZ}, Allow},
		{"filter", unix.SYS_SECCOMP, [6]uint64{unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC}, Allow},
		{"filter with listener", unix.SYS_SECCOMP, [6]uint64{unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_TSYNC}, Refuse},
		{"personality query", unix.SYS_PERSONALITY, [6]uint64{lowHalf}, Allow},
		{"personality linux", unix.SYS_PERSONALITY, [6]uint64{0}, Allow},
		{"no address randomisation", unix.SYS_PERSONALITY, [6]uint64{0x40000}, Refuse},
		{"ptrace", unix.SYS_PTRACE, [6]uint64{}, Allow},
		{"limit on cores", unix.SYS_SETRLIMIT, [6]uint64{unix.RLIMIT_CORE, 8}, Pretend},
		{"limit on files", unix.SYS_SETRLIMIT, [6]uint64{unix.RLIMIT_NOFILE, 8}, Allow},
		{"limit on cores of a process", unix.SYS_PRLIMIT64, [6]uint64{0, unix.RLIMIT_CORE + high, 8}, Pretend},
		{"limit on cores at a high address", unix.SYS_PRLIMIT64, [6]uint64{0, unix.RLIMIT_CORE, high}, Pretend},
		{"question for the limit on cores", unix.SYS_PRLIMIT64, [6]uint64{0, unix.RLIMIT_CORE, 0, 8}, Allow},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := call{p.arch, tt.nr, tt.args}
			if got := run(c); got != tt.want.ret() {
				t.Errorf("filter gives %#x, want %v", got, tt.want)
			}
			if got := reference(p, SeccompRules(), c); got != tt.want.ret() {
				t.Errorf("the table means %#x, want %v", got, tt.want)
			}
		})
	}
}

func TestFilterKillsForeignArchitectures(t *testing.T) {
	p := native(t)
	run := vm(t, p, SeccompRules())
	for _, arch := range []uint32{0, p.arch ^ 1, unix.AUDIT_ARCH_I386, unix.AUDIT_ARCH_ARM, unix.AUDIT_ARCH_PPC64} {
		if got := run(call{arch: arch, number: unix.SYS_READ}); got != unix.SECCOMP_RET_KILL_PROCESS {
			t.Errorf("architecture %#x: filter gives %#x", arch, got)
		}
	}
}

// TestFilterEqualsTable compares the assembled filter with the reference for
// every number, and for random arguments near those that rules look at.
func TestFilterEqualsTable(t *testing.T) {
	p := native(t)
	rules := SeccompRules()
	run := vm(t, p, rules)
	compare := func(c call) {
		t.Helper()
		if got, want := run(c), reference(p, rules, c); got != want {
			t.Fatalf("%+v: filter gives %#x, the table means %#x", c, got, want)
		}
	}
	for nr := range p.newest + 1000 {
		compare(call{arch: p.arch, number: nr})
		compare(call{arch: p.arch, number: nr | 0x40000000})
		compare(call{arch: p.arch, number: nr, args: [6]uint64{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}})
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		compare(randomCall(rnd, p, rules))
	}
}

// What people are told of the table is what the filter does.
func TestDecideIsTheFilter(t *testing.T) {
	p := native(t)
	rules := SeccompRules()
	run := vm(t, p, rules)
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		c := randomCall(rnd, p, rules)
		i := slices.IndexFunc(rules, func(r Rule) bool { return r.Number == c.number })
		if i < 0 || c.arch != p.arch {
			continue
		}
		rule, _ := Decide(rules, rules[i].Call, c.args) // without a rule: Allow
		if got, want := rule.Action.ret(), run(c); got != want {
			t.Fatalf("%s %#x: told %#x, the filter gives %#x", rules[i].Call, c.args, got, want)
		}
	}
}

// randomCall makes a call that a rule looks at, with arguments that are mostly
// the very values of its checks, with high halves that should not matter.
func randomCall(rnd *rand.Rand, p platform, rules []Rule) call {
	r := rules[rnd.IntN(len(rules))]
	c := call{arch: p.arch, number: r.Number}
	if rnd.IntN(50) == 0 {
		c.number = rnd.Uint32()
	}
	for i := range c.args {
		c.args[i] = rnd.Uint64() >> rnd.IntN(64)
	}
	for _, k := range r.When {
		switch {
		case rnd.IntN(4) == 0:
		case len(k.Values) > 0:
			c.args[k.Arg] = k.Values[rnd.IntN(len(k.Values))]
		default:
			c.args[k.Arg] = k.Mask & (1 << rnd.IntN(64))
		}
		if rnd.IntN(2) == 0 {
			c.args[k.Arg] |= uint64(rnd.Uint32()) << 32
		}
	}
	return c
}

// TestAssembleAnyTable compares filters made from random tables, so that the
// assembler is right for rules that we have not written yet.
func TestAssembleAnyTable(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		p := platform{arch: rnd.Uint32(), newest: uint32(1 + rnd.IntN(600))}
		rules := make([]Rule, rnd.IntN(200))
		for i := range rules {
			rules[i] = randomRule(rnd, p)
		}
		run := vm(t, p, rules)
		for range 500 {
			c := call{arch: p.arch, number: uint32(rnd.IntN(int(p.newest) + 5))}
			if len(rules) > 0 && rnd.IntN(2) == 0 {
				c = randomCall(rnd, p, rules)
			}
			if got, want := run(c), reference(p, rules, c); got != want {
				t.Fatalf("seed %d, %+v: filter gives %#x, the table means %#x", seed, c, got, want)
			}
		}
	}
}

func randomRule(rnd *rand.Rand, p platform) Rule {
	r := Rule{Call: "random", Number: uint32(rnd.IntN(int(p.newest) + 1)), Action: Action(rnd.IntN(40))}
	for range rnd.IntN(4) {
		k := Check{Arg: rnd.IntN(6), Op: Op(rnd.IntN(3)), Mask: rnd.Uint64()}
		if k.Op == AnyBit {
			k.Wide = rnd.IntN(2) == 0
		} else {
			k.Mask &= lowHalf
			for range 1 + rnd.IntN(5) {
				k.Values = append(k.Values, rnd.Uint64()&k.Mask)
			}
		}
		r.When = append(r.When, k)
	}
	return r
}

func TestAssembleRefusesMalformedRules(t *testing.T) {
	p := platform{arch: 1, newest: 100}
	for _, tt := range []struct {
		name string
		rule Rule
	}{
		{"a number nobody reviewed", Rule{Number: 101}},
		{"a seventh argument", Rule{When: []Check{{Arg: 6, Op: AnyBit, Mask: 1}}}},
		{"no values", Rule{When: []Check{{Op: OneOf, Mask: lowHalf}}}},
		{"values in the high half", Rule{When: []Check{{Op: OneOf, Mask: lowHalf, Values: []uint64{1}, Wide: true}}}},
		{"a jump too far", Rule{When: []Check{{Op: OneOf, Mask: lowHalf, Values: make([]uint64, 300)}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := assemble(p, []Rule{tt.rule}); err == nil {
				t.Error("accepted")
			}
		})
	}
}

// TestTableIsComplete holds what a reader of the table relies on.
func TestTableIsComplete(t *testing.T) {
	final := map[uint32]string{}
	for _, r := range SeccompRules() {
		if r.Call == "" || r.Reason == "" {
			t.Errorf("rule without name or reason: %+v", r)
		}
		if earlier, done := final[r.Number]; done {
			t.Errorf("%v is never reached: an earlier rule for %s has no condition", r, earlier)
		}
		if len(r.When) == 0 {
			final[r.Number] = r.Call
		}
		if text := r.String(); !strings.Contains(text, r.Action.String()) {
			t.Errorf("%q does not say what it does", text)
		}
	}
	raw, err := assemble(native(t), SeccompRules())
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) > unix.BPF_MAXINSNS/8 {
		t.Errorf("%d instructions", len(raw))
	}
	t.Logf("%d rules, %d instructions", len(SeccompRules()), len(raw))
}

// TestCommonCallsAreSkipped repeats what the kernel does to find the calls for
// which it need not run the filter (seccomp_is_const_allow in kernel/seccomp.c,
// since Linux 5.11): follow the program as long as it only looks at the number
// and the architecture.
func TestCommonCallsAreSkipped(t *testing.T) {
	p := native(t)
	raw, err := assemble(p, SeccompRules())
	if err != nil {
		t.Fatal(err)
	}
	for _, nr := range []uint32{unix.SYS_READ, unix.SYS_WRITE, unix.SYS_FUTEX, unix.SYS_MMAP, unix.SYS_STATX, unix.SYS_CLOSE, unix.SYS_EPOLL_PWAIT} {
		steps, err := constantAllow(raw, p.arch, nr)
		if err != nil {
			t.Errorf("number %d: %v", nr, err)
		}
		if steps > 16 {
			t.Errorf("number %d takes %d instructions", nr, steps)
		}
	}
	if _, err := constantAllow(raw, p.arch, unix.SYS_SOCKET); err == nil {
		t.Error("socket is allowed without a look at its arguments")
	}
}

func constantAllow(raw []bpf.RawInstruction, arch, nr uint32) (steps int, err error) {
	var a uint32
	insts, _ := bpf.Disassemble(raw)
	for pc := 0; pc < len(insts); pc++ {
		steps++
		switch in := insts[pc].(type) {
		case bpf.LoadAbsolute:
			switch in.Off {
			case dataNumber:
				a = nr
			case dataArch:
				a = arch
			default:
				return steps, fmt.Errorf("an argument is loaded")
			}
		case bpf.JumpIf:
			if jumps(in, a) {
				pc += int(in.SkipTrue)
			} else {
				pc += int(in.SkipFalse)
			}
		case bpf.Jump:
			pc += int(in.Skip)
		case bpf.RetConstant:
			if in.Val != unix.SECCOMP_RET_ALLOW {
				return steps, fmt.Errorf("not allowed: %#x", in.Val)
			}
			return steps, nil
		default:
			return steps, fmt.Errorf("instruction that the kernel does not follow: %v", in)
		}
	}
	return steps, fmt.Errorf("no end")
}

// jumps says whether a jump's condition holds. All of them are forms of the four
// that the kernel follows: equal, greater, greater or equal, bit set.
func jumps(in bpf.JumpIf, a uint32) bool {
	switch in.Cond {
	case bpf.JumpEqual:
		return a == in.Val
	case bpf.JumpNotEqual:
		return a != in.Val
	case bpf.JumpGreaterThan:
		return a > in.Val
	case bpf.JumpLessOrEqual:
		return a <= in.Val
	case bpf.JumpGreaterOrEqual:
		return a >= in.Val
	case bpf.JumpLessThan:
		return a < in.Val
	case bpf.JumpBitsSet:
		return a&in.Val != 0
	default:
		return a&in.Val == 0
	}
}

func FuzzFilterEqualsTable(f *testing.F) {
	p := native(f)
	rules := SeccompRules()
	run := vm(f, p, rules)
	f.Add(p.arch, uint32(unix.SYS_SOCKET), uint64(unix.AF_UNIX)|1<<32, uint64(1), uint64(0))
	f.Add(p.arch, uint32(unix.SYS_UNSHARE), uint64(1)<<63, uint64(0), uint64(0))
	f.Fuzz(func(t *testing.T, arch, number uint32, a, b, c uint64) {
		k := call{arch, number, [6]uint64{a, b, c}}
		if got, want := run(k), reference(p, rules, k); got != want {
			t.Fatalf("%+v: filter gives %#x, the table means %#x", k, got, want)
		}
	})
}
