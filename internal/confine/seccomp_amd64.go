//go:build linux

package confine

import "golang.org/x/sys/unix"

func nativePlatform() (platform, error) {
	return platform{arch: unix.AUDIT_ARCH_X86_64, newest: reviewedUpTo}, nil
}

// archRules are rules for calls that only this processor has.
func archRules() []Rule {
	const ports = "raw access to the machine's I/O ports"
	return []Rule{
		setIDMode("chmod", unix.SYS_CHMOD, 1),
		setIDMode("mknod", unix.SYS_MKNOD, 1),
		setIDMode("creat", unix.SYS_CREAT, 1),
		setIDMode("open", unix.SYS_OPEN, 2, bits(1, creates)),
		deny("ioperm", unix.SYS_IOPERM, ports),
		deny("iopl", unix.SYS_IOPL, ports),
		deny("create_module", unix.SYS_CREATE_MODULE, kernelCode),
		deny("query_module", unix.SYS_QUERY_MODULE, kernelCode),
		deny("get_kernel_syms", unix.SYS_GET_KERNEL_SYMS, kernelCode),
		deny("uselib", unix.SYS_USELIB, "obsolete loader with a history of holes"),
		deny("_sysctl", unix.SYS__SYSCTL, "obsolete"),
	}
}
