package seatbelt

import (
	"fmt"
	"slices"
	"strings"

	"nanoclaw/internal/grant"
	"nanoclaw/internal/sbpl"
)

// writer writes a profile. The first string that cannot be written is its err.
type writer struct {
	strings.Builder
	forms int
	err   error
}

// note writes a comment, in which nothing can end the line.
func (w *writer) note(format string, args ...any) {
	text := strings.Map(func(c rune) rune {
		if c < 0x20 || c == 0x7f || c == '\u2028' || c == '\u2029' || c == '\u0085' {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(fmt.Sprintf(format, args...), "?"))
	w.WriteString("; " + text + "\n")
}

// rule writes one rule. ops and filters are SBPL already.
func (w *writer) rule(verb, ops string, filters ...string) {
	w.forms++
	w.WriteString("(" + verb + " " + ops)
	sep := " "
	if len(filters) > 1 {
		sep = "\n  "
	}
	for _, f := range filters {
		w.WriteString(sep + f)
	}
	w.WriteString(")\n")
}

// where writes a rule about an operation that some systems do not know, for which
// they would refuse the whole profile. Nothing may rest on such a rule alone: what
// it denies is not allowed by another either, or is no operation there.
func (w *writer) where(verb, op string, filters ...string) {
	w.forms++
	w.WriteString("(if (defined? '" + op + ") (" + verb + " " + op)
	for _, f := range filters {
		w.WriteString("\n  " + f)
	}
	w.WriteString("))\n")
}

// of writes the filter KIND over a string.
func (w *writer) of(kind, s string) string {
	q, err := sbpl.Quote(s)
	if err != nil && w.err == nil {
		w.err = err
	}
	return "(" + kind + " " + q + ")"
}

// each writes the filter KIND over every string.
func (w *writer) each(kind string, list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = w.of(kind, s)
	}
	return out
}

// filter is the one that an area needs.
func (w *writer) filter(a area) string {
	if a.file {
		return w.of("literal", a.path)
	}
	return w.of("subpath", a.path)
}

func (w *writer) head(g grant.Grant) {
	w.forms++
	w.WriteString("(version 1)\n")
	w.note("nanoclaw: group %s. Of several rules the last that matches decides.", g.Group)
	w.rule("deny", "default")
	w.note("What the default leaves open. The first tells the environment of other processes.")
	w.rule("deny", "process-info* nvram* iokit-get-properties file-map-executable")
}

// processes lets the session's processes live, and deal with each other alone.
func (w *writer) processes() {
	w.note("Processes: each other and no others. No task ports, so nobody reads the init's memory.")
	w.rule("allow", "process-fork")
	w.rule("allow", "signal", "(target same-sandbox)")
	w.rule("allow", "process-info*", "(target same-sandbox)")
	w.rule("allow", "sysctl-read", append(w.each("sysctl-name", sysctls), w.each("sysctl-name-prefix", sysctlPrefixes)...)...)
	w.note("Arguments and environment of processes, by whatever name.")
	w.rule("deny", "sysctl-read", w.of("sysctl-name-prefix", "kern.procargs"))
	w.note("Services: who users are, and that the clock was changed. No keychain, no pasteboard,")
	w.note("no Apple Events, no LaunchServices, no DNS (mDNSResponder), no certificates (trustd).")
	w.rule("allow", "mach-lookup", w.each("global-name", services)...)
	w.rule("allow", "ipc-posix-shm-read-data", w.of("ipc-posix-name", "apple.shm.notification_center"))
	w.note("Python's multiprocessing, by the names it uses.")
	w.rule("allow", "ipc-posix-sem", w.of("ipc-posix-name-prefix", "/mp-"))
	w.rule("allow", "ipc-posix-shm", w.of("ipc-posix-name-prefix", "/psm_"))
}

// system opens what dyld and libSystem need before a program's first line.
func (w *writer) system() {
	w.note("What every program of macOS needs to start: the loader, its libraries, time zones.")
	folders := w.each("subpath", runtimeFolders)
	files := w.each("literal", runtimeFiles)
	w.rule("allow", "file-read*", append(folders, files...)...)
	w.where("allow", "file-test-existence", append(folders, files...)...)
	w.rule("allow", "file-map-executable", w.each("subpath", libraries)...)
}

// files opens the areas, outer ones first.
func (w *writer) files(all []area) {
	var ways []string
	for _, p := range append(slices.Clone(runtimeFolders), runtimeFiles...) {
		ways = append(ways, above(p)...)
	}
	for _, a := range all {
		ways = append(ways, above(a.path)...)
	}
	slices.Sort(ways)
	ways = slices.Concat(slices.Compact(ways), links, moreLinks)
	w.note("The way to what is open: that these folders exist, and not what is in them.")
	w.rule("allow", "file-read-metadata", w.each("literal", ways)...)
	w.where("allow", "file-test-existence", w.each("literal", ways)...)
	for i, a := range all {
		within := func(has func(area) bool) bool {
			return slices.ContainsFunc(all[:i], func(o area) bool { return has(o) && !o.file && beneath(a.path, o.path) })
		}
		w.note("%s", a.reason)
		f := w.filter(a)
		w.rule("allow", "file-read*", f)
		w.where("allow", "file-test-existence", f)
		switch {
		case a.exec:
			w.rule("allow", "process-exec*", f)
			w.rule("allow", "file-map-executable", f)
		case within(func(o area) bool { return o.exec }):
			w.rule("deny", "process-exec*", f)
			w.rule("deny", "file-map-executable", f)
		}
		switch {
		case a.write:
			w.rule("allow", "file-write*", f)
		case within(func(o area) bool { return o.write }):
			w.rule("deny", "file-write*", f)
		}
	}
}

// devices opens the devices that reach no hardware, and the session's terminal.
// No other terminal: the owner's own belong to the same user.
func (w *writer) devices(terminal string) {
	w.note("Devices.")
	w.rule("allow", "file-read* file-write-data", w.each("literal", []string{"/dev/random", "/dev/urandom"})...)
	harmless := w.each("literal", []string{"/dev/null", "/dev/zero"})
	w.rule("allow", "file-read* file-write-data file-ioctl", harmless...)
	w.rule("allow", "file-read* file-write-data", w.of("subpath", "/dev/fd"))
	w.rule("allow", "file-read* file-write-data file-ioctl", w.of("literal", "/dev/dtracehelper"))
	if terminal == "" {
		return
	}
	w.note("The terminal that was made for this session, open already at its start.")
	w.rule("allow", "file-read* file-write-data file-ioctl", w.each("literal", []string{terminal, "/dev/tty"})...)
}

// network opens the session's own endpoints. The host made the listeners, so
// nothing inside has to bind a port.
func (w *writer) network(g grant.Grant, p Params) {
	w.note("Network: the session's endpoints on loopback. No other port, no Unix sockets.")
	for _, e := range g.Endpoints {
		port, ok := p.Ports[e.Name]
		if !ok || port < 1 || port > 65535 {
			w.err = fmt.Errorf("the endpoint %s has no port", e.Name)
			return
		}
		address := fmt.Sprintf("localhost:%d", port)
		w.note("%s: %s", e.Name, e.Reason)
		w.rule("allow", "network-outbound", "(remote tcp "+quoted(address)+")")
		w.rule("allow", "network-inbound", "(local tcp "+quoted(address)+")")
	}
}

// quoted is for strings of our own making.
func quoted(s string) string { return `"` + s + `"` }

// never denies, after all that was allowed, what no session may do.
func (w *writer) never(all []area, p Params) {
	w.note("Nowhere: programs that run as their owner, devices, mounts, and second names of files:")
	w.note("through one in a folder that is open, a file that is not could be read.")
	w.rule("deny", "file-write-setugid")
	for _, op := range []string{"file-mknod", "file-link", "file-clone", "file-chroot", "file-mount", "file-mount-update", "file-unmount", "file-write-mount", "file-write-unmount"} {
		w.where("deny", op)
	}
	var fixed []string
	for _, a := range all {
		if a.system {
			continue
		}
		fixed = append(fixed, a.path)
		for _, dir := range above(a.path) {
			if slices.ContainsFunc(all, func(o area) bool { return o.write && beneath(dir, o.path) }) {
				fixed = append(fixed, dir)
			}
		}
	}
	slices.Sort(fixed)
	w.note("The granted folders themselves stay where they are.")
	w.rule("deny", "file-write-unlink file-write-create", w.each("literal", slices.Compact(fixed))...)
}
