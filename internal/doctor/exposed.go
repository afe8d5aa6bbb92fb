package doctor

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
)

// exposed looks at what of the installation others than its owner could reach: the
// ports that this process listens on, and files that others may read or write.
func (in Input) exposed() []Check {
	checks := []Check{in.files()}
	if in.System == "linux" {
		checks = append(checks, in.ports())
	}
	return checks
}

// public are files of the data folder that hold no secret: the key that proves the
// audit log, and the program that containers and srt run inside, as other uids.
var public = []string{"audit.pub", "nanoclaw-init"}

// others are the bits of a mode that no file of that name may have: nobody else may
// change even what holds no secret.
func others(name string) fs.FileMode {
	if slices.Contains(public, name) {
		return 0o022
	}
	return 0o077
}

// files checks that what lies in the installation's folders is the owner's alone.
// The folders are closed as well; this is for the day when one was opened.
func (in Input) files() Check {
	const name = "private files"
	var open []string
	seen := 0
	for _, dir := range in.Paths.Private() {
		entries, err := fs.ReadDir(in.Root, strings.TrimPrefix(dir, "/"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return Check{name, Fail, err.Error(), "let nanoclaw's own user read it"}
		}
		for _, e := range entries {
			info, err := e.Info()
			if err != nil || e.IsDir() || e.Type()&fs.ModeSymlink != 0 {
				continue
			}
			seen++
			if info.Mode().Perm()&others(e.Name()) != 0 {
				open = append(open, fmt.Sprintf("%s (mode %04o)", path.Join(dir, e.Name()), info.Mode().Perm()))
			}
		}
	}
	if len(open) > 0 {
		first, _, _ := strings.Cut(open[0], " (mode")
		return Check{name, Warn, "open to others: " + strings.Join(open, ", "), "chmod go= " + first}
	}
	return Check{Name: name, State: OK, Detail: fmt.Sprintf("%d files and sockets, all the owner's alone", seen)}
}

// ports lists what this process listens on, by the kernel's tables: proc_net(5),
// where the state of a listening TCP socket is 0A.
func (in Input) ports() Check {
	const name = "network ports"
	own := map[string]bool{}
	fds, err := fs.ReadDir(in.Root, "proc/self/fd")
	if err != nil {
		return Check{name, Note, "cannot be told: " + err.Error(), ""}
	}
	for _, fd := range fds {
		if to, err := fs.ReadLink(in.Root, path.Join("proc/self/fd", fd.Name())); err == nil && strings.HasPrefix(to, "socket:[") {
			own[strings.TrimSuffix(strings.TrimPrefix(to, "socket:["), "]")] = true
		}
	}
	var local, far []string
	for _, table := range []string{"tcp", "tcp6"} {
		for _, a := range in.listeners(table, own) {
			if a.Addr().IsLoopback() {
				local = append(local, a.String())
			} else {
				far = append(far, a.String())
			}
		}
	}
	switch {
	case len(far) > 0:
		return Check{name, Warn, "other machines can reach " + strings.Join(far, ", "), "listen on 127.0.0.1 in the configuration, behind a proxy of your own"}
	case len(local) > 0:
		return Check{Name: name, State: Note, Detail: "of this machine alone: " + strings.Join(local, ", ")}
	}
	return Check{Name: name, State: OK, Detail: "none is open"}
}

// listeners are the listening sockets of a table whose inodes are ours.
func (in Input) listeners(table string, own map[string]bool) (found []netip.AddrPort) {
	f, err := in.Root.Open("proc/self/net/" + table)
	if err != nil {
		return nil // no IPv6, say
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 || fields[3] != "0A" || !own[fields[9]] {
			continue
		}
		if a, err := procAddr(fields[1]); err == nil {
			found = append(found, a)
		}
	}
	return found
}

// procAddr reads an address as proc_net(5) writes it: words of 32 bits in the
// machine's byte order, which is little-endian on all that we build for, in hex.
func procAddr(s string) (netip.AddrPort, error) {
	host, port, _ := strings.Cut(s, ":")
	raw, err := hex.DecodeString(host)
	if err != nil || len(raw)%4 != 0 {
		return netip.AddrPort{}, fmt.Errorf("%q is no address", s)
	}
	for word := range slices.Chunk(raw, 4) {
		slices.Reverse(word)
	}
	addr, ok := netip.AddrFromSlice(raw)
	n, err := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q is no address", s)
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(n)), nil
}
