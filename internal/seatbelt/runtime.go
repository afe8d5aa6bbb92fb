package seatbelt

// What a program of macOS needs before its first own line runs. It follows from
// what dyld(1) and libSystem open, from Apple's own profiles
// (/System/Library/Sandbox/Profiles/system.sb), and from what other hosts of
// agents found by trying. Nothing here names the owner.

// runtimeFolders are read with all that is in them. /System/Volumes/Data, which
// holds the owner's files once more, is in none of them.
var runtimeFolders = []string{
	"/System/Library",
	"/System/Cryptexes",                    // since macOS 13: system libraries that are updated apart
	"/System/Volumes/Preboot/Cryptexes/OS", // where the link before this leads
	"/Library/Apple",                       // Rosetta
	"/usr/lib", "/usr/share",
	"/private/var/db/timezone",
	"/private/var/db/dyld", // the shared cache before macOS 11
}

// libraries are those of them whose files are mapped as code.
var libraries = []string{"/System/Library", "/System/Cryptexes", "/System/Volumes/Preboot/Cryptexes/OS", "/Library/Apple", "/usr/lib"}

var runtimeFiles = []string{
	"/", // the loader reads it; without it every program aborts
	"/private/etc/localtime",
	"/private/etc/ssl/openssl.cnf", "/private/etc/ssl/cert.pem",
	"/private/var/select/sh",            // which shell /bin/sh is
	"/private/var/db/xcode_select_link", // where /usr/bin/git finds its tools, which the owner grants by "tools"
	"/dev/autofs_nowait",
}

// services are reached over Mach ports. opendirectoryd answers who a user is;
// there is no /etc/passwd of our own here. It knows names of hosts only from the
// directory services that the machine is bound to.
var services = []string{
	"com.apple.system.opendirectoryd.libinfo",
	"com.apple.system.opendirectoryd.membership",
	"com.apple.system.notification_center",
}

// sysctls tell of the processor, the memory and the system's version: languages
// size their heaps and threads by them. uname(3) fails without the machine's name.
var sysctls = []string{
	"hw.activecpu", "hw.byteorder", "hw.cachelinesize", "hw.cachelinesize_compat", "hw.cpufamily", "hw.cpufrequency", "hw.cputype",
	"hw.cpusubtype", "hw.l1dcachesize", "hw.l1icachesize", "hw.l2cachesize", "hw.l3cachesize", "hw.logicalcpu", "hw.logicalcpu_max",
	"hw.machine", "hw.memsize", "hw.model", "hw.ncpu", "hw.nperflevels", "hw.packages", "hw.pagesize", "hw.pagesize_compat",
	"hw.physicalcpu", "hw.physicalcpu_max", "hw.tbfrequency", "hw.vectorunit",
	"kern.argmax", "kern.boottime", "kern.hostname", "kern.maxfiles", "kern.maxfilesperproc", "kern.maxproc", "kern.ngroups", "kern.osproductversion", "kern.osrelease",
	"kern.ostype", "kern.osvariant_status", "kern.osversion", "kern.secure_kernel", "kern.usrstack64", "kern.version", "kern.clockrate",
	"machdep.ptrauth_enabled", "sysctl.proc_cputype", "sysctl.proc_native", "vm.loadavg",
	"security.mac.lockdown_mode_state",
}

var sysctlPrefixes = []string{"hw.optional.", "hw.perflevel", "machdep.cpu."}
