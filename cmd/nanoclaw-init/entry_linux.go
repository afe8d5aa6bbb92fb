//go:build amd64 || arm64

package main

//lint:file-ignore U1000 most of this is for the linker and the assembler

import "golang.org/x/sys/unix"

// entry is where the program begins, by the linker's -E=main.entry: before the
// Go runtime, with one thread and hardly a page of memory. It does what costs
// least there.
//
//   - If argv[0] begins with launchMark, it clones process 1 of the namespaces that
//     the host names on standard input, and ends. See "Cloned twice" in the package
//     comment.
//   - If argv[1] begins with containMark, it makes a user namespace of its own, which
//     a process with more than one thread cannot. See contained_linux.go.
//   - It empties the capability bounding set and sets no_new_privs. Both belong to
//     threads, and all later threads inherit them from this one. Once the runtime
//     has made more, each of the forty system calls has to be made by all of them
//     together.
//   - It fetches the program's own pages, which would be fetched one by one as
//     they are touched. One system call for all (MADV_POPULATE_READ and _WRITE in
//     madvise(2), Linux 5.14) costs a tenth of that or less, on virtual machines
//     above all.
func entry()

// What entry reads and writes. It uses no stack, so that two processes can share
// all memory.
var (
	// launchFlags are those of clone(2), as read from standard input.
	launchFlags uint64
	// launched is the new process's number or a negative errno, written to
	// standard output.
	launched int64
	// launchID is the uid and gid to take, as read from standard input by the new
	// process when it has them; 0 if it is to stay who it is.
	launchID uint64
	// unshared is what unshare(2) gave: 0 or a negative errno.
	unshared int64
)

// The arguments of capset(2) with which the new process keeps, of all the
// capabilities that it has in its namespaces, those that it takes to build the
// root, to bring up "lo" and to bound inotify. It gives them up before anything
// of the agent runs. Inheritable alone they give a program nothing; a test makes
// them ambient, and sees that the probe notices.
var (
	launchHeader = unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	launchCaps   = [2]unix.CapUserData{{Effective: buildCaps, Permitted: buildCaps, Inheritable: buildCaps}}
)

const buildCaps = 1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_SETPCAP | 1<<unix.CAP_SYS_CHROOT | 1<<unix.CAP_SYS_RESOURCE
