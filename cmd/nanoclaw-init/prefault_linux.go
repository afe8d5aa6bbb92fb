package main

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// heapAhead is how much of its heap the program touches until its first process
// runs, about.
const heapAhead = 640 << 10

// prefault fetches the heap that the program is about to use at once, for the
// reason that entry gives. The runtime takes it from rising addresses: what
// follows a new object comes next. A kernel or a runtime that has it otherwise
// costs time and nothing else.
func prefault() {
	const page = 4096
	// Of no constant size, so that it lies on the heap and not on the stack.
	object := make([]byte, 2*page+len(os.Args))
	next := uintptr(unsafe.Pointer(&object[0])) &^ (page - 1)
	unix.Syscall(unix.SYS_MADVISE, next, heapAhead, unix.MADV_POPULATE_WRITE)
}
