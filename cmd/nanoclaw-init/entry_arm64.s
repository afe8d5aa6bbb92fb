//go:build linux

#include "textflag.h"

#define SYS_prctl $167
#define PR_CAPBSET_DROP $24
#define PR_SET_NO_NEW_PRIVS $38
#define SYS_madvise $233
#define MADV_POPULATE_READ $22
#define MADV_POPULATE_WRITE $23
#define PAGES $~65535 // the largest there are

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
	MOVD $0, R19
drop:
	MOVD SYS_prctl, R8
	MOVD PR_CAPBSET_DROP, R0
	MOVD R19, R1
	MOVD $0, R2
	MOVD $0, R3
	MOVD $0, R4
	SVC
	ADD  $1, R19
	CBZ  R0, drop // until EINVAL: beyond the kernel's last capability

	MOVD SYS_prctl, R8
	MOVD PR_SET_NO_NEW_PRIVS, R0
	MOVD $1, R1
	MOVD $0, R2
	MOVD $0, R3
	MOVD $0, R4
	SVC

	POPULATE(runtime·text, runtime·etext, MADV_POPULATE_READ)
	POPULATE(runtime·rodata, runtime·noptrdata, MADV_POPULATE_READ)
	POPULATE(runtime·noptrdata, runtime·enoptrbss, MADV_POPULATE_WRITE)
	JMP _rt0_arm64_linux(SB)
