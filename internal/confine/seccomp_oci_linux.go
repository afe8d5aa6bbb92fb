package confine

import (
	"encoding/json"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// ociProfile is a system call filter in the form that container engines take
// (github.com/opencontainers/runtime-spec, config-linux.md, "Seccomp").
type ociProfile struct {
	DefaultAction string    `json:"defaultAction"`
	Architectures []string  `json:"architectures"`
	Syscalls      []ociRule `json:"syscalls"`
}

type ociRule struct {
	Names  []string `json:"names"`
	Action string   `json:"action"`
	Errno  uint32   `json:"errnoRet"`
	Args   []ociArg `json:"args,omitempty"`
}

type ociArg struct {
	Index    uint   `json:"index"`
	Value    uint64 `json:"value"` // the mask
	ValueTwo uint64 `json:"valueTwo"`
	Op       string `json:"op"`
}

const maskedEqual = "SCMP_CMP_MASKED_EQ"

// OCIProfile gives the table of SeccompRules in the form that container engines
// take, for the outer of two filters: within it the init, which needs the calls of
// except, installs the whole table before anything of the agent runs. left are the
// rules that this form cannot say, beside those of except.
//
// The form knows no order of rules and no negation of more than one value. So a
// refusal after a permission of the same call, and a check for none of some values,
// are left to the inner filter.
func OCIProfile(except ...string) (profile []byte, left []Rule, err error) {
	p, err := nativePlatform()
	if err != nil {
		return nil, nil, err
	}
	arch, ok := map[uint32]string{unix.AUDIT_ARCH_X86_64: "SCMP_ARCH_X86_64", unix.AUDIT_ARCH_AARCH64: "SCMP_ARCH_AARCH64"}[p.arch]
	if !ok {
		return nil, nil, fmt.Errorf("container engines have no name for the architecture %#x", p.arch)
	}
	out := ociProfile{DefaultAction: "SCMP_ACT_ALLOW", Architectures: []string{arch}}
	permitted := map[string]bool{}
	for _, r := range SeccompRules() {
		if slices.Contains(except, r.Call) {
			continue
		}
		sets, sayable := ociArgs(r.When)
		switch {
		case r.Action == Allow:
			permitted[r.Call] = true
			continue
		case permitted[r.Call] || !sayable || r.Action == Pretend:
			left = append(left, r)
			continue
		}
		for _, args := range sets {
			out.Syscalls = append(out.Syscalls, ociRule{Names: []string{r.Call}, Action: "SCMP_ACT_ERRNO", Errno: uint32(r.Action), Args: args})
		}
	}
	profile, err = json.MarshalIndent(out, "", "\t")
	return profile, left, err
}

// ociArgs gives the sets of comparisons of which one has to hold whole for all
// checks to hold. It says whether there is such a form.
func ociArgs(checks []Check) (sets [][]ociArg, ok bool) {
	sets = [][]ociArg{nil}
	for _, c := range checks {
		var ways []ociArg
		switch c.Op {
		case OneOf:
			for _, v := range c.Values {
				ways = append(ways, ociArg{uint(c.Arg), c.Mask, v, maskedEqual})
			}
		case AnyBit:
			for bit := uint64(1); bit != 0; bit <<= 1 {
				if c.Mask&bit != 0 {
					ways = append(ways, ociArg{uint(c.Arg), bit, bit, maskedEqual})
				}
			}
		default:
			return nil, false
		}
		var next [][]ociArg
		for _, set := range sets {
			for _, way := range ways {
				next = append(next, append(slices.Clip(set), way))
			}
		}
		sets = next
	}
	return sets, true
}
