package doctor

import (
	"io/fs"
	"strings"
)

// mac examines a Mac.
func (in Input) mac() []Check {
	checks := []Check{{"system", Note,
		"macOS: this boundary was never run by those who made it; the probe says whether it holds here", ""}}
	if in.UID == 0 {
		checks = append(checks, Check{"user", Fail, "on macOS an agent runs as the user who runs nanoclaw, who must not be root", "run nanoclaw as yourself"})
	}
	if _, err := fs.Stat(in.Root, "usr/bin/sandbox-exec"); err != nil {
		return append(checks, Check{"sandbox-exec", in.blocked(),
			"/usr/bin/sandbox-exec is not there: this macOS gives programs no way to apply a profile", "there is none on this version of macOS; run nanoclaw on Linux"})
	}
	checks = append(checks, Check{"sandbox-exec", OK, "/usr/bin/sandbox-exec", ""})
	if in.Probe != nil && in.Probe.Err != nil && strings.Contains(in.Probe.Err.Error(), "sandbox-exec: ") {
		checks = append(checks, Check{"profile", Fail, "macOS does not take the profile: " + in.Probe.Err.Error(),
			"report it, with the output of: nanoclaw policy show --render seatbelt"})
	}
	return checks
}
