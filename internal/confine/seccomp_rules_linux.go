package confine

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// reviewedUpTo is the highest system call number that was looked at for this
// table. It is raised by hand, after reading what the new calls do: a call
// beyond it does not exist inside.
const reviewedUpTo = unix.SYS_RSEQ_SLICE_YIELD

// Action is what the filter does with a call.
type Action uint32

// The actions. Every other value is the error number that the call returns.
const (
	Allow      Action = 0
	Refuse            = Action(unix.EPERM)
	NoSuchCall        = Action(unix.ENOSYS)
	// Pretend does nothing, and says that it was done. It is for what programs ask
	// for the same reason as we refuse it.
	Pretend Action = 1 << 16
)

// ret returns the action as seccomp(2) has it.
func (a Action) ret() uint32 {
	switch a {
	case Allow:
		return unix.SECCOMP_RET_ALLOW
	case Pretend:
		return unix.SECCOMP_RET_ERRNO
	}
	return unix.SECCOMP_RET_ERRNO | uint32(a)
}

func (a Action) String() string {
	switch a {
	case Allow:
		return "allow"
	case Pretend:
		return "do nothing"
	}
	return unix.ErrnoName(unix.Errno(a))
}

// Op is how a Check looks at an argument.
type Op int

// The ways to look at an argument.
const (
	OneOf  Op = iota // the masked argument is one of Values
	NoneOf           // it is none of Values
	AnyBit           // a bit of Mask is set
)

const lowHalf = 0xffffffff

// Check is a test of one argument. Only the low half is looked at, unless Wide
// is set: where the kernel takes an int, it ignores what a caller puts into the
// high half, and a filter that looked there could be evaded.
type Check struct {
	Arg    int
	Op     Op
	Mask   uint64
	Values []uint64
	Wide   bool // the kernel takes all 64 bits
}

// Rule is what the filter does with one system call if every check of When
// holds. Of several rules for a call the first that holds decides; if none does,
// the call is allowed.
type Rule struct {
	Call   string
	Number uint32
	When   []Check
	Action Action
	Reason string
}

func (r Rule) String() string {
	return fmt.Sprintf("%s %s: %s", r.Call, r.Action, r.Reason)
}

func deny(call string, number uint32, reason string) Rule {
	return Rule{Call: call, Number: number, Action: Refuse, Reason: reason}
}

// is tests the low half of an argument for one of some values.
func is(arg int, values ...uint64) Check {
	return Check{Arg: arg, Op: OneOf, Mask: lowHalf, Values: values}
}

func isNot(arg int, values ...uint64) Check {
	return Check{Arg: arg, Op: NoneOf, Mask: lowHalf, Values: values}
}

func bits(arg int, mask uint64) Check {
	return Check{Arg: arg, Op: AnyBit, Mask: mask}
}

// SeccompRules returns the filter's table for this processor, in order. What it
// does not name is allowed: the agent runs arbitrary tools. So it names what
// escapes are made of: calls that reach other processes, other namespaces, the
// host's keys, or parts of the kernel that are large, young and not needed.
func SeccompRules() []Rule {
	var rules []Rule
	for _, part := range [...][]Rule{
		namespaceRules(), mountRules(), setIDRules(), socketRules(), processRules(),
		kernelRules(), machineRules(), coreRules(), terminalRules(), archRules(),
	} {
		rules = append(rules, part...)
	}
	return rules
}

const (
	newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
		unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET
	// unshareable is what unshare(2) may part with: not namespaces, and nothing
	// that a later kernel may add.
	unshareable = unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SYSVSEM | unix.CLONE_THREAD |
		unix.CLONE_SIGHAND | unix.CLONE_VM
)

func namespaceRules() []Rule {
	const reason = "new namespaces give capabilities over them, and with those most of the kernel's holes"
	return []Rule{
		// CLONE_NEWTIME is not in the mask: clone takes its bit as part of a signal.
		{"clone", unix.SYS_CLONE, []Check{bits(0, newNamespaces)}, Refuse, reason},
		{"clone3", unix.SYS_CLONE3, nil, NoSuchCall, "its flags are in memory, where no filter sees them; C libraries fall back to clone"},
		{"unshare", unix.SYS_UNSHARE, []Check{{Arg: 0, Op: AnyBit, Mask: ^uint64(unshareable), Wide: true}}, Refuse, reason},
		deny("setns", unix.SYS_SETNS, "joins another namespace"),
		deny("listns", unix.SYS_LISTNS, "lists namespaces"),
	}
}

func mountRules() []Rule {
	const reason = "would change the view that the boundary built"
	return []Rule{
		deny("mount", unix.SYS_MOUNT, reason),
		deny("umount2", unix.SYS_UMOUNT2, reason),
		deny("pivot_root", unix.SYS_PIVOT_ROOT, reason),
		deny("chroot", unix.SYS_CHROOT, reason),
		deny("open_tree", unix.SYS_OPEN_TREE, reason),
		deny("open_tree_attr", unix.SYS_OPEN_TREE_ATTR, reason),
		deny("move_mount", unix.SYS_MOVE_MOUNT, reason),
		deny("fsopen", unix.SYS_FSOPEN, reason),
		deny("fsconfig", unix.SYS_FSCONFIG, reason),
		deny("fsmount", unix.SYS_FSMOUNT, reason),
		deny("fspick", unix.SYS_FSPICK, reason),
		deny("mount_setattr", unix.SYS_MOUNT_SETATTR, reason),
		deny("name_to_handle_at", unix.SYS_NAME_TO_HANDLE_AT, "names files past the mounts"),
		deny("open_by_handle_at", unix.SYS_OPEN_BY_HANDLE_AT, "opens files past the mounts"),
		deny("quotactl", unix.SYS_QUOTACTL, "administers file systems"),
		deny("quotactl_fd", unix.SYS_QUOTACTL_FD, "administers file systems"),
		deny("fanotify_init", unix.SYS_FANOTIFY_INIT, "watches whole file systems"),
	}
}

// setID are the mode bits that make a program run as its file's owner or group.
// The kernel takes modes as an int and drops what is above 16 bits.
const setID = unix.S_ISUID | unix.S_ISGID

// creates are the flags with which open looks at its mode argument.
const creates = unix.O_CREAT | unix.O_TMPFILE&^unix.O_DIRECTORY

// setIDMode refuses a call whose mode, an argument, has such a bit.
func setIDMode(call string, number uint32, mode int, when ...Check) Rule {
	return Rule{call, number, append(when, bits(mode, setID)), Refuse,
		"a file that runs as its owner is harmless inside and real on the host, in a folder that the owner lent"}
}

// setIDRules are those of systemd's RestrictSUIDSGID=, for the same reason.
func setIDRules() []Rule {
	return []Rule{
		setIDMode("fchmod", unix.SYS_FCHMOD, 1),
		setIDMode("fchmodat", unix.SYS_FCHMODAT, 2),
		setIDMode("fchmodat2", unix.SYS_FCHMODAT2, 2),
		setIDMode("mknodat", unix.SYS_MKNODAT, 2),
		setIDMode("openat", unix.SYS_OPENAT, 3, bits(2, creates)),
		{"openat2", unix.SYS_OPENAT2, nil, NoSuchCall, "its mode is in memory, where no filter sees it; programs fall back to openat"},
	}
}

func socketRules() []Rule {
	inet := is(0, unix.AF_INET, unix.AF_INET6)
	kind := func(types ...uint64) Check { return Check{Arg: 1, Op: OneOf, Mask: 0xf, Values: types} }
	socket := func(action Action, reason string, when ...Check) Rule {
		return Rule{"socket", unix.SYS_SOCKET, when, action, reason}
	}
	const noProtocol = Action(unix.EPROTONOSUPPORT)
	return []Rule{
		socket(Refuse, "programs of the host listen on Unix sockets, and a read-only mount does not stop connect", is(0, unix.AF_UNIX)),
		socket(Allow, "TCP to the loopback endpoints and among the agent's own programs", inet, kind(unix.SOCK_STREAM), is(2, 0, unix.IPPROTO_TCP)),
		socket(Allow, "UDP among the agent's own programs", inet, kind(unix.SOCK_DGRAM), is(2, 0, unix.IPPROTO_UDP)),
		socket(Refuse, "raw sockets forge packets", inet, kind(unix.SOCK_RAW, unix.SOCK_PACKET)),
		socket(noProtocol, "MPTCP, SCTP and the like are large and not needed; programs fall back to TCP", inet),
		socket(Allow, "getifaddrs needs it", is(0, unix.AF_NETLINK), is(2, unix.NETLINK_ROUTE)),
		socket(noProtocol, "administers the kernel", is(0, unix.AF_NETLINK)),
		socket(Action(unix.EAFNOSUPPORT), "every other family: VSOCK reaches the hypervisor, the rest is young or rarely tested"),
		// A datagram socket can be aimed anew with sendto and connect, so a pair of
		// them would open the door that socket has closed.
		{"socketpair", unix.SYS_SOCKETPAIR, []Check{is(0, unix.AF_UNIX), kind(unix.SOCK_STREAM, unix.SOCK_SEQPACKET)}, Allow, "how runtimes talk to their children"},
		deny("socketpair", unix.SYS_SOCKETPAIR, "a datagram pair can be aimed at a Unix socket of the host; other families are not needed"),
	}
}

func processRules() []Rule {
	const memory = "reads or writes another process"
	return []Rule{
		{"ptrace", unix.SYS_PTRACE, nil, Allow, "debuggers; only the agent's own processes exist for it, and the init is undumpable"},
		deny("process_vm_readv", unix.SYS_PROCESS_VM_READV, memory),
		deny("process_vm_writev", unix.SYS_PROCESS_VM_WRITEV, memory),
		deny("process_madvise", unix.SYS_PROCESS_MADVISE, memory),
		deny("kcmp", unix.SYS_KCMP, "compares kernel addresses of processes"),
		deny("pidfd_getfd", unix.SYS_PIDFD_GETFD, "takes another process's descriptors"),
		deny("move_pages", unix.SYS_MOVE_PAGES, "moves another process's memory"),
		deny("migrate_pages", unix.SYS_MIGRATE_PAGES, "moves another process's memory"),
		{"seccomp", unix.SYS_SECCOMP, []Check{is(0, unix.SECCOMP_SET_MODE_FILTER), bits(1, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER)}, Refuse, "a listener could answer for other calls; plain filters stay allowed, browsers need them"},
		{"personality", unix.SYS_PERSONALITY, []Check{isNot(0, 0, 8, 0x20000, 0x20008, lowHalf)}, Refuse, "turns off defences such as address randomisation"},
	}
}

const kernelCode = "loads code into the kernel"

func kernelRules() []Rule {
	const (
		keys  = "keys belong to the host's user, not to a namespace"
		uring = "acts past this filter"
	)
	return []Rule{
		deny("io_uring_setup", unix.SYS_IO_URING_SETUP, uring),
		deny("io_uring_enter", unix.SYS_IO_URING_ENTER, uring),
		deny("io_uring_register", unix.SYS_IO_URING_REGISTER, uring),
		deny("keyctl", unix.SYS_KEYCTL, keys),
		deny("add_key", unix.SYS_ADD_KEY, keys),
		deny("request_key", unix.SYS_REQUEST_KEY, keys),
		deny("bpf", unix.SYS_BPF, kernelCode),
		deny("init_module", unix.SYS_INIT_MODULE, kernelCode),
		deny("finit_module", unix.SYS_FINIT_MODULE, kernelCode),
		deny("delete_module", unix.SYS_DELETE_MODULE, kernelCode),
		deny("kexec_load", unix.SYS_KEXEC_LOAD, kernelCode),
		deny("kexec_file_load", unix.SYS_KEXEC_FILE_LOAD, kernelCode),
		deny("perf_event_open", unix.SYS_PERF_EVENT_OPEN, "observes the whole machine"),
		deny("userfaultfd", unix.SYS_USERFAULTFD, "stops the kernel midway, which exploits rely on"),
		deny("syslog", unix.SYS_SYSLOG, "reads the kernel's log and its addresses"),
		deny("lookup_dcookie", unix.SYS_LOOKUP_DCOOKIE, "names files by kernel addresses"),
	}
}

func machineRules() []Rule {
	const (
		clock = "the clock is the machine's"
		swap  = "memory of the machine"
	)
	return []Rule{
		deny("reboot", unix.SYS_REBOOT, "stops the machine"),
		deny("swapon", unix.SYS_SWAPON, swap),
		deny("swapoff", unix.SYS_SWAPOFF, swap),
		deny("acct", unix.SYS_ACCT, "records every process of the machine"),
		deny("settimeofday", unix.SYS_SETTIMEOFDAY, clock),
		deny("clock_settime", unix.SYS_CLOCK_SETTIME, clock),
		deny("adjtimex", unix.SYS_ADJTIMEX, clock),
		deny("clock_adjtime", unix.SYS_CLOCK_ADJTIME, clock),
		deny("nfsservctl", unix.SYS_NFSSERVCTL, "obsolete"),
		deny("vhangup", unix.SYS_VHANGUP, "hangs up a terminal"),
	}
}

// coreRules keep the limit on core files at 1, where it was set. Where a program
// of the host takes cores (core_pattern with "|", core(5)), the kernel starts it
// as root outside of all namespaces, for a limit of 0 too: the only one for which
// it does not is 1, with which such a program guards against its own crash
// (coredump_pipe in fs/coredump.c). Programs that ask for no cores get what they
// mean.
func coreRules() []Rule {
	const reason = "with another limit a crash inside could start the host's handler of crashes"
	return []Rule{
		{"setrlimit", unix.SYS_SETRLIMIT, []Check{is(0, unix.RLIMIT_CORE)}, Pretend, reason},
		{"prlimit64", unix.SYS_PRLIMIT64, []Check{is(1, unix.RLIMIT_CORE), {Arg: 2, Op: AnyBit, Mask: ^uint64(0), Wide: true}}, Pretend, reason},
	}
}

func terminalRules() []Rule {
	return []Rule{{
		"ioctl", unix.SYS_IOCTL, []Check{is(1, unix.TIOCSTI, unix.TIOCLINUX, unix.TIOCSETD)}, Refuse,
		"types into the terminal as its user (TIOCSTI, TIOCLINUX), or loads a line discipline (TIOCSETD)",
	}}
}
