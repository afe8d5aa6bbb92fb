package confine

import (
	"errors"
	"fmt"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/wire"
)

// Rights of landlock(7) on files, in groups of what a wire.PathRule can ask for.
const (
	landRead  = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	landWrite = unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE |
		unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_DIR |
		unix.LANDLOCK_ACCESS_FS_MAKE_SYM | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO |
		unix.LANDLOCK_ACCESS_FS_MAKE_SOCK |
		// Without it a rename from one folder to another fails with EXDEV.
		unix.LANDLOCK_ACCESS_FS_REFER
	landExec   = unix.LANDLOCK_ACCESS_FS_EXECUTE
	landDevice = unix.LANDLOCK_ACCESS_FS_IOCTL_DEV

	// landFile are the rights that a rule on anything but a directory may have.
	landFile = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE |
		unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_TRUNCATE |
		unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
)

// Domain is a Landlock domain that is being made: what no rule names is refused
// in it, and so are signals and abstract Unix sockets towards processes outside,
// where the kernel can.
//
// The rules come from the grant and not from the mounts, so that a mistake in
// one is caught by the other. TCP is not restricted here: the network namespace
// is the control for it, and Landlock's would only see ports.
type Domain struct {
	abi     int
	set     int // -1 without Landlock
	missing string
}

// NewDomain begins a domain. floor is the lowest ABI that the owner accepts;
// below it the answer is an error. With floor 0 a kernel without Landlock is
// accepted, and Enter says what is missing.
func NewDomain(floor int) (*Domain, error) { return newDomain(floor, ^uint64(0)) }

// NewParentDomain is NewDomain without the bound on signals, for an init that is
// not process 1 and so can be killed by its equals: what it starts calls
// ScopeSignals, which puts the init out of its reach.
func NewParentDomain(floor int) (*Domain, error) {
	return newDomain(floor, ^uint64(unix.LANDLOCK_SCOPE_SIGNAL))
}

// ScopeSignals keeps the calling thread, and what it executes, from signalling
// any process outside of a new domain of its own, which begins here. It asks for
// no_new_privs to be set. A kernel below ABI 6 is an error.
func ScopeSignals() error {
	set, err := createRuleset(0, unix.LANDLOCK_SCOPE_SIGNAL)
	if err != nil {
		return err
	}
	defer unix.Close(set)
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(set), 0, 0); errno != 0 {
		return fmt.Errorf("landlock: scope signals: %w", errno)
	}
	return nil
}

// CanScopeSignals says whether this kernel has what ScopeSignals needs.
func CanScopeSignals() bool {
	abi, _, err := landlockABI()
	return err == nil && scopesFor(abi) != 0
}

func newDomain(floor int, scopes uint64) (*Domain, error) {
	abi, why, err := landlockABI()
	if err != nil {
		return nil, err
	}
	if abi < floor || abi < 1 {
		missing, err := belowFloor(abi, why, floor)
		return &Domain{set: -1, missing: missing}, err
	}
	set, err := createRuleset(rightsFor(abi), scopesFor(abi)&scopes)
	if err != nil {
		return nil, err
	}
	return &Domain{abi: abi, set: set, missing: lacking(abi)}, nil
}

// Allow adds rules. Their paths are opened now, without following a symbolic
// link, from the working directory, which must be the root that the process has
// or will enter: a rule belongs to what lies there and not to its path.
func (d *Domain) Allow(rules []wire.PathRule) error {
	for _, r := range rules {
		if d.set < 0 {
			return nil
		}
		if err := addRule(d.set, r, rightsFor(d.abi)); err != nil {
			return fmt.Errorf("landlock: rule for %s: %w", r.Path, err)
		}
	}
	return nil
}

// Enter confines every thread of the process, and what it will start, to the
// domain. It sets no_new_privs. If the kernel has Landlock, layer names the ABI,
// and missing what an ABI below 6 cannot restrict, or is empty; else layer is
// empty and missing says so. The Domain is used up.
func (d *Domain) Enter() (layer, missing string, err error) {
	if d.set < 0 {
		return "", d.missing, nil
	}
	defer unix.Close(d.set)
	if err := noNewPrivs(); err != nil {
		return "", "", err
	}
	var flags uintptr
	if d.abi >= 7 {
		// What the agent's own nested sandboxes refuse is no news for the host.
		flags = unix.LANDLOCK_RESTRICT_SELF_LOG_SUBDOMAINS_OFF
	}
	if err := allThreads("landlock: restrict", unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(d.set), flags, 0, 0, 0); err != nil {
		return "", "", err
	}
	return fmt.Sprintf("landlock ABI %d", d.abi), d.missing, nil
}

// landlockABI returns the kernel's ABI version, or 0 and the reason why there
// is none.
func landlockABI() (abi int, why string, err error) {
	v, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	switch errno {
	case 0:
		return int(v), "", nil
	case unix.ENOSYS:
		return 0, "the kernel is older than 5.13 or built without it", nil
	case unix.EOPNOTSUPP:
		return 0, "it is not among the security modules chosen at boot (lsm=)", nil
	}
	return 0, "", fmt.Errorf("landlock: ask for its version: %w", errno)
}

// belowFloor is Landlock's answer if the kernel has less than the floor, or
// nothing at all.
func belowFloor(abi int, why string, floor int) (missing string, err error) {
	switch {
	case abi < 1 && floor < 1:
		return "landlock: " + why, nil
	case abi < 1:
		return "", fmt.Errorf("landlock is required (ABI %d) and missing: %s; enable it, or lower the required ABI to 0 in the config", floor, why)
	}
	return "", fmt.Errorf("landlock ABI %d is required and this kernel has %d; use Linux %s or later, or lower the required ABI in the config", floor, abi, linuxWith(floor))
}

// linuxWith names the first kernel with a Landlock ABI.
func linuxWith(abi int) string {
	versions := [...]string{"5.13", "5.19", "6.2", "6.7", "6.10", "6.12", "6.15"}
	if abi < 1 || abi > len(versions) {
		return "newer than 6.15"
	}
	return versions[abi-1]
}

// lacking says what an ABI cannot restrict and we would.
func lacking(abi int) string {
	var gaps []string
	if abi < 2 {
		gaps = append(gaps, "renames between folders fail")
	}
	if abi < 3 {
		gaps = append(gaps, "truncation is not restricted")
	}
	if abi < 5 {
		gaps = append(gaps, "ioctl on devices is not restricted")
	}
	if abi < 6 {
		gaps = append(gaps, "signals and abstract sockets are not scoped")
	}
	if len(gaps) == 0 {
		return ""
	}
	return fmt.Sprintf("landlock above ABI %d: %s", abi, strings.Join(gaps, ", "))
}

// rightsFor returns every right on files that an ABI knows. All are handled,
// which means refused unless a rule allows them: making device nodes (ABI 1) and
// connecting to a Unix socket of another domain by its path (ABI 9) are allowed
// nowhere.
func rightsFor(abi int) uint64 {
	newest := map[int]uint64{
		1: unix.LANDLOCK_ACCESS_FS_MAKE_SYM,
		2: unix.LANDLOCK_ACCESS_FS_REFER,
		3: unix.LANDLOCK_ACCESS_FS_TRUNCATE,
		5: unix.LANDLOCK_ACCESS_FS_IOCTL_DEV,
		9: unix.LANDLOCK_ACCESS_FS_RESOLVE_UNIX,
	}
	var top uint64
	for since, right := range newest {
		if since <= abi {
			top = max(top, right)
		}
	}
	if top == 0 {
		return 0
	}
	return top<<1 - 1 // rights are numbered in the order in which they came
}

// scopesFor returns what an ABI can keep within the domain.
func scopesFor(abi int) uint64 {
	if abi < 6 {
		return 0
	}
	return unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
}

// ruleRights returns what one rule allows, among the handled rights.
func ruleRights(r wire.PathRule, dir bool, handled uint64) uint64 {
	var rights uint64
	for _, part := range [...]struct {
		asked  bool
		rights uint64
	}{
		{r.Read, landRead}, {r.Write, landWrite}, {r.Exec, landExec}, {r.List, unix.LANDLOCK_ACCESS_FS_READ_DIR}, {r.Device, landDevice},
	} {
		if part.asked {
			rights |= part.rights
		}
	}
	if !dir {
		rights &= landFile
	}
	return rights & handled
}

func createRuleset(handled, scopes uint64) (int, error) {
	attr := unix.LandlockRulesetAttr{Handled_access_fs: handled, Scoped: scopes}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET,
		uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if errno != 0 {
		return -1, fmt.Errorf("landlock: create ruleset: %w", errno)
	}
	return int(fd), nil
}

func addRule(set int, r wire.PathRule, handled uint64) error {
	rel := "."
	if r.Path != "/" {
		var err error
		if rel, err = clean(r.Path); err != nil {
			return err
		}
	}
	fd, err := unix.Openat2(unix.AT_FDCWD, rel, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if errors.Is(err, unix.ELOOP) {
		return errors.New("it is, or lies behind, a symbolic link")
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	rights := ruleRights(r, st.Mode&unix.S_IFMT == unix.S_IFDIR, handled)
	if rights == 0 {
		return nil // the kernel takes no empty rule, and it would allow nothing
	}
	attr := unix.LandlockPathBeneathAttr{Allowed_access: rights, Parent_fd: int32(fd)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(set),
		unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&attr)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
