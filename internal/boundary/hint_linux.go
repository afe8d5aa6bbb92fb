package boundary

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Hints, where a kernel refuses what a boundary is made of.
const (
	hintNoNamespaces = "User namespaces are switched off (user.max_user_namespaces = 0). " +
		"Switch them on with: sysctl -w user.max_user_namespaces=15000"
	hintDebian = "Ordinary users may not make user namespaces (kernel.unprivileged_userns_clone = 0). " +
		"Allow it with: sysctl -w kernel.unprivileged_userns_clone=1"
	hintAppArmor = "AppArmor restricts user namespaces on this machine (Ubuntu 24.04 and later). " +
		"Give nanoclaw an AppArmor profile that grants \"userns\", run it as a service, or allow it for all with: " +
		"sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
	hintContainer = "This looks like the inside of a container, which may not make namespaces of its own. " +
		"Run nanoclaw on the machine itself."
	hintKernel = "The kernel is too old: Linux 5.12 or later is needed."
)

// explainClone says why the init could not be started.
func (n *Native) explainClone(err error) *StartError {
	e := &StartError{Step: "namespaces", Err: err}
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EUSERS):
		e.Hint = hintNoNamespaces
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		e.Hint = n.refusal()
	case errors.Is(err, unix.EAGAIN):
		e.Hint = "The limit on processes of this user is reached."
	}
	return e
}

// refusal says who refuses us namespaces.
func (n *Native) refusal() string {
	switch {
	case sysctl("user/max_user_namespaces") == "0":
		return hintNoNamespaces
	case sysctl("kernel/unprivileged_userns_clone") == "0" && !n.has(unix.CAP_SYS_ADMIN):
		return hintDebian
	case sysctl("kernel/apparmor_restrict_unprivileged_userns") == "1" && !n.has(unix.CAP_SYS_ADMIN):
		return hintAppArmor
	}
	return hintContainer
}

func sysctl(name string) string {
	b, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// explain says why the boundary did not stand.
func (n *Native) explain(err error, c *child) error {
	if e, ok := errors.AsType[*StartError](err); ok {
		return e
	}
	e := &StartError{Step: "start", Err: err}
	inside, ok := errors.AsType[*initError](err)
	if !ok {
		if words := c.lastWords(); words != "" {
			e.Err = fmt.Errorf("%w (nanoclaw-init: %s)", err, words)
		}
		return e
	}
	e.Step = plain(inside.Step)
	switch errno := unix.Errno(inside.Errno); {
	case e.Step == "root" && (errno == unix.EPERM || errno == unix.EACCES):
		e.Hint = n.refusal()
	case errno == unix.ENOSYS:
		e.Hint = hintKernel
	}
	return e
}
