package boundary

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Hints for what only bubblewrap lacks.
const (
	hintLend  = "Mount it read-only, or use the native engine with all privileges of root."
	hintReach = "Let that uid pass through the folders above it (chmod o+x), or use the native engine, which needs no path."
	// hintBwrapProfile is Ubuntu's and Debian's own profile for bwrap.
	hintBwrapProfile = "AppArmor restricts user namespaces on this machine (Ubuntu 24.04 and later). Give bubblewrap its profile:\n" +
		"sudo apt-get install apparmor-profiles\n" +
		"sudo ln -s /usr/share/apparmor/extra-profiles/bwrap-userns-restrict /etc/apparmor.d/\n" +
		"sudo apparmor_parser -r /etc/apparmor.d/bwrap-userns-restrict"
)

// sourceWords is how bwrap says that it cannot get at what it shall mount. The
// number is a descriptor of ours.
var sourceWords = regexp.MustCompile(`^bwrap: Can't find source path (?:/oldroot)?/proc/self/fd/([0-9]+): (.*)$`)

// explain says why the boundary did not stand. c is the process that was
// started, dead by now, or nil.
func (b *Bubblewrap) explain(err error, c *child, p *wrapPlan) error {
	if e, ok := errors.AsType[*StartError](err); ok {
		return e
	}
	if _, inside := errors.AsType[*initError](err); inside || c == nil {
		return b.inside(err)
	}
	words := c.lastWords()
	if parts := sourceWords.FindStringSubmatch(words); parts != nil {
		if i, e := strconv.Atoi(parts[1]); e == nil && i >= firstFD && i < firstFD+len(p.kept) {
			m := p.kept[i-firstFD]
			return &StartError{Step: "mount " + m.Target, Hint: hintReach,
				Err: fmt.Errorf("bubblewrap, which runs as the group's uid, cannot reach %s: %s", m.canonical, parts[2])}
		}
	}
	if !strings.HasPrefix(words, "bwrap: ") {
		if words != "" {
			err = fmt.Errorf("%w (nanoclaw-init: %s)", err, words)
		}
		return &StartError{Step: "start", Err: err}
	}
	e := &StartError{Step: "bubblewrap", Err: errors.New(strings.TrimPrefix(words, "bwrap: "))}
	for _, refusal := range []string{"Operation not permitted", "Permission denied", "No permissions to create", "No space left on device"} {
		if strings.Contains(words, refusal) {
			e.Hint = b.refusal()
		}
	}
	return e
}

// inside explains a step of the init that failed, or a start that never was one.
func (b *Bubblewrap) inside(err error) error {
	e := &StartError{Step: "start", Err: err}
	if in, ok := errors.AsType[*initError](err); ok {
		e.Step = plain(in.Step)
	}
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) {
		e.Hint = b.refusal()
	}
	return e
}

// refusal says who refuses bwrap its namespaces.
func (b *Bubblewrap) refusal() string {
	if hint := b.native.refusal(); hint != hintAppArmor {
		return hint
	}
	return hintBwrapProfile
}
