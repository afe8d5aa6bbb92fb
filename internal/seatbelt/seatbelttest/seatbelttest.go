// Package seatbelttest asks Seatbelt profiles the questions that grants and live
// boundaries are asked, so that tests can compare the answers. It is the one
// place that says which operations of Seatbelt a question comes down to.
package seatbelttest

import (
	"path"
	"strings"

	"nanoclaw/internal/grant"
	"nanoclaw/internal/sbpl"
)

// Path says whether a profile lets a process do op at a real path.
func Path(p *sbpl.Profile, op grant.Op, at string) bool {
	may := func(operation, at string) bool { return p.Allows(sbpl.Query{Op: operation, Path: at}) }
	other := path.Join(path.Dir(at), "other name")
	switch op {
	case grant.OpRead, grant.OpList:
		return may("file-read-data", at) && may("file-read-metadata", at)
	case grant.OpWrite:
		return may("file-write-data", at)
	case grant.OpExec:
		return may("process-exec", at) && may("file-read-data", at) && may("file-map-executable", at)
	case grant.OpCreate:
		return may("file-write-create", at)
	case grant.OpRemove:
		return may("file-write-unlink", at)
	case grant.OpRename:
		return may("file-write-unlink", at) && may("file-write-create", other)
	case grant.OpLink:
		return may("file-link", at) && may("file-write-create", other)
	}
	return false
}

// calls are the system calls of Linux that have a likeness on macOS, and what
// Seatbelt calls that.
var calls = map[string]sbpl.Query{
	"mount": {Op: "file-mount", Path: "/ws"}, "umount2": {Op: "file-unmount", Path: "/ws"},
	"reboot": {Op: "system-reboot"}, "settimeofday": {Op: "system-set-time"}, "clock_settime": {Op: "system-set-time"}, "adjtimex": {Op: "system-set-time"},
	"swapon": {Op: "system-swap"}, "swapoff": {Op: "system-swap"},
	"init_module": {Op: "system-kext-load"}, "finit_module": {Op: "system-kext-load"}, "delete_module": {Op: "system-kext-unload"}, "kexec_load": {Op: "system-kext-load"},
	"acct": {Op: "system-acct"}, "ptrace": {Op: "mach-priv-task-port", Target: "others"},
	"process_vm_readv": {Op: "mach-priv-task-port", Target: "others"}, "process_vm_writev": {Op: "mach-priv-task-port", Target: "others"},
	"keyctl": {Op: "mach-lookup", Name: "com.apple.SecurityServer"}, "add_key": {Op: "mach-lookup", Name: "com.apple.securityd.xpc"},
	"request_key": {Op: "mach-lookup", Name: "com.apple.securityd.xpc"},
	"sethostname": {Op: "sysctl-write", Name: "kern.hostname"}, "setdomainname": {Op: "sysctl-write", Name: "kern.nisdomainname"},
	"syslog": {Op: "mach-lookup", Name: "com.apple.logd.admin"}, "perf_event_open": {Op: "system-debug"}, "bpf": {Op: "system-debug"},
	"chroot": {Op: "file-chroot", Path: "/ws"}, "fsopen": {Op: "file-mount", Path: "/ws"}, "move_mount": {Op: "file-mount", Path: "/ws"},
	"open_tree": {Op: "file-mount", Path: "/ws"}, "mount_setattr": {Op: "file-mount-update", Path: "/ws"}, "fsmount": {Op: "file-mount", Path: "/ws"},
	"shmget": {Op: "ipc-sysv-shm"}, "semget": {Op: "ipc-sysv-sem"}, "msgget": {Op: "ipc-sysv-msg"},
}

// Call says whether a profile lets a process do what a system call of Linux is
// for. alike is false if macOS has nothing of that kind.
func Call(p *sbpl.Profile, question string) (allowed, alike bool) {
	name, args, _ := strings.Cut(strings.TrimSuffix(question, ")"), "(")
	if q, ok := calls[name]; ok {
		return p.Allows(q), true
	}
	first, _, _ := strings.Cut(args, ",")
	switch {
	case name == "socket" && first == "1": // AF_UNIX: what counts is whom it can reach
		return p.Allows(sbpl.Query{Op: "network-outbound", Addr: "/private/var/run/docker.sock"}), true
	case name == "fchmod" && args != "" && strings.HasSuffix(args, ",0x800"): // S_ISUID
		return p.Allows(sbpl.Query{Op: "file-write-setugid", Path: "/ws/x"}), true
	}
	return false, false
}
