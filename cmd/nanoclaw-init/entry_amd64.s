//go:build linux

#include "textflag.h"

#define SYS_prctl $157
#define PR_CAPBSET_DROP $24
#define PR_SET_NO_NEW_PRIVS $38

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
	JMP  _rt0_amd64_linux(SB)
