// Package confine turns the process that calls it into a confined one: it
// builds the root that the process sees, and gives up every right the process
// does not need. It is the inside half of the boundary; nanoclaw-init is its
// only caller.
//
// It promises that each function either did all of its work, on every thread,
// or gives an error: nothing is skipped because a kernel lacks it. The one
// exception is Landlock above the owner's floor, which says in words what is
// missing.
//
// Trust: the caller runs alone in fresh namespaces, before any code of the
// agent, and the wire.Spec comes from the host. What lies beneath the mounted
// folders is the agent's and may be hostile: symbolic links there are never
// followed.
//
// What belongs into the Spec is decided by package boundary.
package confine

// InitPath is where the init's own program is found inside, on machines where
// it cannot be run from memory, and where a sandbox starts it. The probe is
// started from it.
const InitPath = "/opt/nanoclaw/nanoclaw-init"

// RelayName is another name of the init's program, by which it stands in for the
// relays of srt.
const RelayName = "nanoclaw-no-relay"

// Spare is how many processes and threads the init may have beyond the agent's
// own limit, so that an agent at its limit does not take the init down.
const Spare = 64

// masks are files of /proc that tell about the kernel or the whole machine and
// not about the agent's own processes.
var masks = [...]string{
	"kcore", "keys", "key-users", "kallsyms", "kmsg", "timer_list", "sched_debug", "config.gz",
}

// Masks are the paths of these files.
func Masks() []string {
	var out []string
	for _, m := range masks {
		out = append(out, "/proc/"+m)
	}
	return out
}
