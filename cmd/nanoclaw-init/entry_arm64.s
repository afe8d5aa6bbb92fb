//go:build linux

#include "go_asm.h"
#include "textflag.h"

#define SYS_read $63
#define SYS_write $64
#define SYS_capset $91
#define SYS_exit_group $94
#define SYS_unshare $97
#define SYS_setresuid $147
#define SYS_setresgid $149
#define SYS_setgroups $159
#define SYS_prctl $167
#define SYS_clone $220
#define SYS_madvise $233

#define PR_CAPBSET_DROP $24
#define PR_SET_NO_NEW_PRIVS $38
#define MADV_POPULATE_READ $22
#define MADV_POPULATE_WRITE $23
#define PAGES $~65535 // the largest there are
#define CLONE_VM_PARENT $0x8100 // CLONE_VM | CLONE_PARENT
#define CLONE_NEWUSER $0x10000000

// A system call of three arguments and zeros. It changes R0.
#define CALL3(nr, a, b, c) \
	MOVD a, R0   \
	MOVD b, R1   \
	MOVD c, R2   \
	MOVD $0, R3  \
	MOVD $0, R4  \
	MOVD nr, R8  \
	SVC

// madvise(2) from the page of one symbol to another; an error is no harm.
#define POPULATE(from, to, how) \
	MOVD SYS_madvise, R8 \
	MOVD $from(SB), R0   \
	AND  PAGES, R0       \
	MOVD $to(SB), R1     \
	SUB  R0, R1          \
	MOVD how, R2         \
	SVC

// func entry()
//
// Runs on the first instruction of the process, on a stack that the runtime
// reads next and that is left as it is.
TEXT ·entry(SB),NOSPLIT|NOFRAME,$0
	MOVD $0, R20 // whether this is a clone
	MOVD 8(RSP), R0
	MOVBU (R0), R0
	CMP  $const_launchMark, R0
	BNE  populate

	CALL3(SYS_read, $0, $·launchFlags(SB), $8)
	CMP  $8, R0
	BNE  fail
	MOVD ·launchFlags(SB), R20
	ORR  CLONE_VM_PARENT, R20
	CALL3(SYS_clone, R20, $0, $0)
	CBZ  R0, cloned
	MOVD R0, ·launched(SB)
	CALL3(SYS_write, $1, $·launched(SB), $8)
	CALL3(SYS_exit_group, $0, $0, $0)

cloned:
	MOVD $1, R20

populate:
	POPULATE(runtime·text, runtime·etext, MADV_POPULATE_READ)
	POPULATE(runtime·rodata, runtime·noptrdata, MADV_POPULATE_READ)
	POPULATE(runtime·noptrdata, runtime·enoptrbss, MADV_POPULATE_WRITE)
	CBNZ R20, introduced

	// In a container: a user namespace of our own.
	MOVD 16(RSP), R0
	CBZ  R0, drop
	MOVBU (R0), R0
	CMP  $const_containMark, R0
	BNE  drop
	CALL3(SYS_unshare, CLONE_NEWUSER, $0, $0)
	MOVD R0, ·unshared(SB)
	JMP  drop

introduced:
	// Who we are is known as soon as the host has written the maps.
	CALL3(SYS_read, $0, $·launchID(SB), $8)
	CMP  $8, R0
	BNE  fail
	MOVD ·launchID(SB), R20
	CBZ  R20, capabilities
	CALL3(SYS_setgroups, $0, $0, $0)
	CBNZ R0, fail
	CALL3(SYS_setresgid, R20, R20, R20)
	CBNZ R0, fail
	CALL3(SYS_setresuid, R20, R20, R20)
	CBNZ R0, fail
capabilities:
	CALL3(SYS_capset, $·launchHeader(SB), $·launchCaps(SB), $0)
	CBNZ R0, fail

drop:
	MOVD $0, R19
next:
	CALL3(SYS_prctl, PR_CAPBSET_DROP, R19, $0)
	ADD  $1, R19
	CBZ  R0, next // until EINVAL: beyond the kernel's last capability
	CALL3(SYS_prctl, PR_SET_NO_NEW_PRIVS, $1, $0)
	JMP  _rt0_arm64_linux(SB)

fail:
	CALL3(SYS_exit_group, $1, $0, $0)
	JMP  fail
