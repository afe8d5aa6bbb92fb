//go:build linux

#include "textflag.h"

#define SYS_prctl $157
#define PR_CAPBSET_DROP $24
#define PR_SET_NO_NEW_PRIVS $38
#define SYS_madvise $28
#define MADV_POPULATE_READ $22
#define MADV_POPULATE_WRITE $23
#define PAGES $~4095

// madvise(2) from the page of one symbol to another; an error is no harm.
#define POPULATE(from, to, how) \
	MOVQ SYS_madvise, AX \
	LEAQ from(SB), DI    \
	ANDQ PAGES, DI       \
	LEAQ to(SB), SI      \
	SUBQ DI, SI          \
	MOVQ how, DX         \
	SYSCALL

// func entry()
//
// Runs on the first instruction of the process, on a stack that the runtime
// reads next and that is left as it is.
TEXT ·entry(SB),NOSPLIT|NOFRAME,$0
	XORL R12, R12
drop:
	MOVQ SYS_prctl, AX
	MOVQ PR_CAPBSET_DROP, DI
	MOVQ R12, SI
	XORL DX, DX
	XORL R10, R10
	XORL R8, R8
	SYSCALL
	INCQ R12
	TESTQ AX, AX
	JEQ  drop // until EINVAL: beyond the kernel's last capability

	MOVQ SYS_prctl, AX
	MOVQ PR_SET_NO_NEW_PRIVS, DI
	MOVQ $1, SI
	XORL DX, DX
	XORL R10, R10
	XORL R8, R8
	SYSCALL

	POPULATE(runtime·text, runtime·etext, MADV_POPULATE_READ)
	POPULATE(runtime·rodata, runtime·noptrdata, MADV_POPULATE_READ)
	POPULATE(runtime·noptrdata, runtime·enoptrbss, MADV_POPULATE_WRITE)
	JMP  _rt0_amd64_linux(SB)
