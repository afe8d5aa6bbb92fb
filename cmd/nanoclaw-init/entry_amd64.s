//go:build linux

#include "go_asm.h"
#include "textflag.h"

#define SYS_read $0
#define SYS_write $1
#define SYS_madvise $28
#define SYS_clone $56
#define SYS_setgroups $116
#define SYS_setresuid $117
#define SYS_setresgid $119
#define SYS_capset $126
#define SYS_prctl $157
#define SYS_exit_group $231
#define SYS_unshare $272

#define PR_CAPBSET_DROP $24
#define PR_SET_NO_NEW_PRIVS $38
#define MADV_POPULATE_READ $22
#define MADV_POPULATE_WRITE $23
#define PAGES $~4095
#define CLONE_VM_PARENT $0x8100 // CLONE_VM | CLONE_PARENT
#define CLONE_NEWUSER $0x10000000

// A system call of three arguments and zeros. It changes AX, CX and R11.
#define CALL3(nr, a, b, c) \
	MOVQ a, DI    \
	MOVQ b, SI    \
	MOVQ c, DX    \
	XORL R10, R10 \
	XORL R8, R8   \
	MOVQ nr, AX   \
	SYSCALL

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
	XORL R13, R13 // whether this is a clone
	MOVQ 8(SP), AX
	CMPB (AX), $const_launchMark
	JNE  populate

	CALL3(SYS_read, $0, $·launchFlags(SB), $8)
	CMPQ AX, $8
	JNE  fail
	MOVQ ·launchFlags(SB), DI
	ORQ  CLONE_VM_PARENT, DI
	CALL3(SYS_clone, DI, $0, $0)
	TESTQ AX, AX
	JEQ  cloned
	MOVQ AX, ·launched(SB)
	CALL3(SYS_write, $1, $·launched(SB), $8)
	CALL3(SYS_exit_group, $0, $0, $0)

cloned:
	MOVL $1, R13

populate:
	POPULATE(runtime·text, runtime·etext, MADV_POPULATE_READ)
	POPULATE(runtime·rodata, runtime·noptrdata, MADV_POPULATE_READ)
	POPULATE(runtime·noptrdata, runtime·enoptrbss, MADV_POPULATE_WRITE)
	TESTL R13, R13
	JNE  introduced

	// In a container: a user namespace of our own.
	MOVQ 16(SP), AX
	TESTQ AX, AX
	JEQ  drop
	CMPB (AX), $const_containMark
	JNE  drop
	CALL3(SYS_unshare, CLONE_NEWUSER, $0, $0)
	MOVQ AX, ·unshared(SB)
	JMP  drop

introduced:
	// Who we are is known as soon as the host has written the maps.
	CALL3(SYS_read, $0, $·launchID(SB), $8)
	CMPQ AX, $8
	JNE  fail
	MOVQ ·launchID(SB), R13
	TESTQ R13, R13
	JEQ  capabilities
	CALL3(SYS_setgroups, $0, $0, $0)
	TESTQ AX, AX
	JNE  fail
	CALL3(SYS_setresgid, R13, R13, R13)
	TESTQ AX, AX
	JNE  fail
	CALL3(SYS_setresuid, R13, R13, R13)
	TESTQ AX, AX
	JNE  fail
capabilities:
	CALL3(SYS_capset, $·launchHeader(SB), $·launchCaps(SB), $0)
	TESTQ AX, AX
	JNE  fail

drop:
	XORL R12, R12
next:
	CALL3(SYS_prctl, PR_CAPBSET_DROP, R12, $0)
	INCQ R12
	TESTQ AX, AX
	JEQ  next // until EINVAL: beyond the kernel's last capability
	CALL3(SYS_prctl, PR_SET_NO_NEW_PRIVS, $1, $0)
	JMP  _rt0_amd64_linux(SB)

fail:
	CALL3(SYS_exit_group, $1, $0, $0)
	JMP  fail
