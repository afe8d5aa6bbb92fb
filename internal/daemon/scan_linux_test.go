package daemon

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/control"
)

// scan counts words in what processes have.
type scan struct {
	memory, environ, args map[string]int
}

// inProcesses looks for words in all processes of the group's session, from
// outside. The init's memory is closed to everybody but root.
func (x *matrix) inProcesses(words ...string) scan {
	x.Helper()
	entries, err := x.d.AuditList(x.Context(), control.AuditQuery{Group: "family", Kind: string(audit.SessionStarted)})
	must(x.T, err)
	var started audit.SessionStartedData
	must(x.T, json.Unmarshal(entries[len(entries)-1].Data, &started))
	found := scan{map[string]int{}, map[string]int{}, map[string]int{}}
	pids := descendants(x, started.InitPID)
	if len(pids) < 2 {
		x.Fatalf("the session of the init %d has the processes %v", started.InitPID, pids)
	}
	for _, pid := range pids {
		closed := pid == started.InitPID && os.Geteuid() != 0
		for name, counts := range map[string]map[string]int{"cmdline": found.args, "environ": found.environ} {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
			if err != nil && !closed {
				x.Errorf("%s of process %d: %v", name, pid, err)
			}
			tally(counts, text, words)
		}
		if err := residentMemory(pid, func(piece []byte) { tally(found.memory, piece, words) }); err != nil && !closed {
			x.Errorf("the memory of process %d: %v", pid, err)
		}
	}
	return found
}

func tally(counts map[string]int, text []byte, words []string) {
	for _, w := range words {
		counts[w] += bytes.Count(text, []byte(w))
	}
}

// descendants are a process and all below it, by the kernel's table.
func descendants(x *matrix, root int) []int {
	x.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	must(x.T, err)
	parent := map[int]int{}
	for _, p := range stats {
		text, err := os.ReadFile(p)
		if err != nil {
			continue // it ended
		}
		_, rest, _ := strings.Cut(string(text), ") ") // proc_pid_stat(5): the name may hold anything
		var state string
		var ppid int
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(p)))
		if _, err := fmt.Sscan(rest, &state, &ppid); err == nil {
			parent[pid] = ppid
		}
	}
	var out []int
	for pid := range parent {
		for at := pid; at > 1; at = parent[at] {
			if at == root {
				out = append(out, pid)
				break
			}
		}
	}
	return out
}

// residentMemory hands over what a process has in memory, in pieces that overlap. Pages
// that were never touched are left out (pagemap), and so are files that are only
// mapped to be read.
func residentMemory(pid int, see func([]byte)) error {
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return err
	}
	defer mem.Close()
	pages, err := os.Open(fmt.Sprintf("/proc/%d/pagemap", pid))
	if err != nil {
		return err
	}
	defer pages.Close()
	maps, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return err
	}
	defer maps.Close()
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		var from, to uint64
		var perms, offset, dev string
		var inode uint64
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s %s %s %d", &from, &to, &perms, &offset, &dev, &inode); err != nil {
			return fmt.Errorf("%q: %w", lines.Text(), err)
		}
		if perms[0] != 'r' || perms[1] != 'w' && inode != 0 || strings.HasSuffix(lines.Text(), "[vvar]") || strings.HasSuffix(lines.Text(), "[vsyscall]") {
			continue
		}
		if err := region(mem, pages, from, to, see); err != nil {
			return err
		}
	}
	return lines.Err()
}

// region hands over the pages of one mapping that are there.
func region(mem, pages *os.File, from, to uint64, see func([]byte)) error {
	size := uint64(os.Getpagesize())
	const most = 1 << 12 // pages looked at together
	var piece []byte
	for at := from; at < to; {
		n := min((to-at)/size, most)
		table := make([]byte, 8*n)
		if _, err := pages.ReadAt(table, int64(at/size*8)); err != nil && err != io.EOF {
			return err
		}
		for i := range n {
			if binary.NativeEndian.Uint64(table[8*i:])>>62 == 0 { // neither in memory nor swapped out
				see(piece)
				piece = piece[:0]
				continue
			}
			page := make([]byte, size)
			if _, err := mem.ReadAt(page, int64(at+i*size)); err != nil {
				continue // it was given back meanwhile
			}
			if piece = append(piece, page...); len(piece) > 1<<20 {
				see(piece)
				piece = append([]byte(nil), piece[len(piece)-1024:]...)
			}
		}
		at += n * size
	}
	see(piece)
	return nil
}
