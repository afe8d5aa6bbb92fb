package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/beneath"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
	"nanoclaw/internal/runner"
)

// ownServerFiles are where the owner's own Claude Code keeps the servers of the
// user, below the owner's home; what comes first goes before. Those of projects
// are the projects' word and not the owner's, and are never read.
func ownServerFiles() []string { return []string{".claude.json", ".claude/settings.json"} }

// maxOwnFile bounds such a file, in bytes: Claude Code keeps a history in it.
const maxOwnFile = 16 << 20

// inherited is what was read of the owner's own Claude Code at the start, and
// serves to see whether it became something else. Claude Code writes these files
// at each of its starts, so what counts is what they say of servers, and they are
// only read when they were touched.
type inherited struct {
	home string // "" if nothing is inherited

	mu    sync.Mutex
	print string              // of what they said at the start
	seen  [2]syscall.Stat_t   // the files when they were last read
	when  time.Time           // and when that was
	last  string              // and what they said
	held  map[chat.Group]bool // groups whose runs are held
	holds int                 // how often that changed
}

// inheritServers adds the servers of the owner's own Claude Code to the
// configuration of the start. What cannot be had of them is said, and does not keep
// anything else from starting.
func (d *Daemon) inheritServers(c *config.Config) {
	if c.GlobalMcpInheritance == config.InheritNone {
		return
	}
	in := &d.inherited
	in.home = resolved(ownerHome(d.opt))
	found := in.look()
	in.print = found.print()
	for _, left := range d.addInherited(c, found) {
		d.warn(left)
	}
}

// inheritNow adds them as they are now, for who compares a configuration with
// another.
func (d *Daemon) inheritNow(c *config.Config) {
	if c.GlobalMcpInheritance != config.InheritNone {
		d.addInherited(c, readOwn(resolved(ownerHome(d.opt))))
	}
}

// addInherited adds what was found, and says what it left out.
func (d *Daemon) addInherited(c *config.Config, found ownFiles) (left []string) {
	for i, file := range found {
		if file.err != nil {
			left = append(left, fmt.Sprintf("~/%s: its MCP servers are left out: %v", ownServerFiles()[i], file.err))
			continue
		}
		left = append(left, c.Inherit("~/"+ownServerFiles()[i], file.servers, d.configOptions())...)
	}
	return left
}

// warn says something at the start, and logs it.
func (d *Daemon) warn(text string) {
	d.opt.Say("WARNING: " + text)
	d.log.Warn(text)
}

// checkInherited holds runs of a group that has servers of the owner's own Claude
// Code while these are not what they were at the start (I6). What was read then is
// what runs: nothing is taken up while we run.
func (d *Daemon) checkInherited(ctx context.Context, g chat.Group) error {
	if !d.config.Inherits(string(g)) {
		return nil
	}
	if d.inherited.same() {
		d.releaseInherited(ctx, g)
		return nil
	}
	text := fmt.Sprintf("The MCP servers of your own Claude Code (~/.claude.json, ~/.claude/settings.json) changed while nanoclaw runs, so new runs of group %s wait. "+
		"Put them back, and runs go on. If it was you, restart nanoclaw to accept it: nanoclaw config plan tells what it means. If it was not, look at these files.", g)
	d.queue.Pause(g, text)
	if n := d.inherited.hold(g, true); n > 0 {
		d.record(ctx, audit.Entry{At: time.Now(), Kind: audit.ConfigChanged, Group: g, Data: audit.ConfigChangedData{
			Path: filepath.Join(d.inherited.home, ownServerFiles()[0]), Was: d.inherited.print, Is: "other MCP servers",
		}})
		d.log.Error("new runs are held", "group", g, "why", "the MCP servers of the owner's own Claude Code changed")
		d.tellOwner(ctx, fmt.Sprintf("inherited:%d:%s:%d", d.started.UnixNano(), g, n), text)
		d.outbox.Wake()
		d.changed.fire()
	}
	return fmt.Errorf("%w: %s", runner.ErrHeld, text)
}

// releaseInherited lets runs of a group go on if they were held. A pause that the
// owner asked for meanwhile stays.
func (d *Daemon) releaseInherited(ctx context.Context, g chat.Group) {
	n := d.inherited.hold(g, false)
	if n == 0 {
		return
	}
	paused, err := d.store.PausedGroups(ctx)
	if err != nil {
		d.log.Error("runs that were held cannot be released", "group", g, "err", err)
		d.inherited.hold(g, true)
		return
	}
	d.queue.Resume(g)
	for _, p := range paused {
		if p.Group == g {
			d.queue.Pause(g, p.Reason)
		}
	}
	text := fmt.Sprintf("The MCP servers of your own Claude Code are as they were again, so runs of group %s go on.", g)
	d.record(ctx, audit.Entry{At: time.Now(), Kind: audit.ConfigRestored, Group: g, Data: audit.ConfigChangedData{
		Path: filepath.Join(d.inherited.home, ownServerFiles()[0]), Was: d.inherited.print, Is: text,
	}})
	d.tellOwner(ctx, fmt.Sprintf("inherited:%d:%s:%d:over", d.started.UnixNano(), g, n), text)
	d.outbox.Wake()
	d.changed.fire()
}

// watchInherited looks at them for every group, when a file of the policy was
// touched and now and then.
func (d *Daemon) watchInherited(ctx context.Context) {
	for _, g := range d.groupNames() {
		_ = d.checkInherited(ctx, g) // it was told
	}
}

// hold notes that runs of a group are held, or are not, and gives how often that
// changed; 0 if it is as it was.
func (in *inherited) hold(g chat.Group, held bool) int {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.held[g] == held {
		return 0
	}
	if in.held == nil {
		in.held = map[chat.Group]bool{}
	}
	in.held[g] = held
	in.holds++
	return in.holds
}

// paths are the files of which a change is told at once.
func (in *inherited) paths() (out []string) {
	if in.home == "" {
		return nil
	}
	for _, name := range ownServerFiles() {
		p := filepath.Join(in.home, name)
		if _, err := os.Stat(filepath.Dir(p)); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// same says whether the files say of servers what they said at the start.
func (in *inherited) same() bool {
	if in.home == "" {
		return true
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	// A file may change twice within one tick of its clock, so what was written
	// just before we read it is read again.
	if stat(in.home) != in.seen || in.fresh() {
		in.look()
	}
	return in.last == in.print
}

// fresh says that a file was changed just before it was read.
func (in *inherited) fresh() bool {
	const tick = 2 * time.Second
	for i := range in.seen {
		if changed := time.Unix(ctime(&in.seen[i])); changed.After(in.when.Add(-tick)) {
			return true
		}
	}
	return false
}

// stat tells about the files, without anything that reading them changes.
func stat(home string) (out [2]syscall.Stat_t) {
	for i, name := range ownServerFiles() {
		if syscall.Lstat(filepath.Join(home, name), &out[i]) != nil {
			out[i] = syscall.Stat_t{}
		}
		forget(&out[i])
	}
	return out
}

// ownFile is what a file says of servers, or why that is not to be had.
type ownFile struct {
	servers map[string]json.RawMessage
	err     error
}

type ownFiles [2]ownFile

// look reads the files and remembers when it did.
func (in *inherited) look() ownFiles {
	in.when, in.seen = time.Now(), stat(in.home)
	found := readOwn(in.home)
	in.last = found.print()
	return found
}

// readOwn reads the files of a home. One that is not there says nothing.
func readOwn(home string) (out ownFiles) {
	root, _, err := beneath.Root(home)
	if err == nil {
		defer root.Close()
		err = trustedHome(root)
	}
	for i, seen := range stat(home) {
		switch {
		case seen == (syscall.Stat_t{}):
		case err != nil:
			out[i].err = err
		default:
			out[i].servers, out[i].err = readServers(root, ownServerFiles()[i])
		}
	}
	return out
}

// print is a hash of what they say.
func (f ownFiles) print() string {
	h := sha256.New()
	for _, file := range f {
		text, err := json.Marshal(file.servers) // sorted, without white space
		if err == nil {
			err = file.err
		}
		fmt.Fprintf(h, "%d %s %v\n", len(text), text, err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// trustedHome says whether a home is that of the owner: ours, or for root
// anybody's, since root was told of it in its environment. Nobody else may be able
// to write there.
func trustedHome(home *os.File) error {
	fi, err := home.Stat()
	if err != nil {
		return err
	}
	if uid := uidOf(fi); os.Geteuid() != 0 && uid != os.Geteuid() {
		return fmt.Errorf("the home %s belongs to uid %d, which is not us", home.Name(), uid)
	}
	return onlyOwners(home.Name(), fi, uidOf(fi))
}

// onlyOwners says whether a file is root's or a uid's, and writable by nobody else.
func onlyOwners(name string, fi fs.FileInfo, uid int) error {
	if by := uidOf(fi); by != 0 && by != uid {
		return fmt.Errorf("%s belongs to uid %d and not to the owner", name, by)
	}
	if perm := fi.Mode().Perm(); perm&0o022 != 0 {
		return fmt.Errorf("%s can be changed by others (mode %04o): chmod go-w", name, perm)
	}
	return nil
}

func uidOf(fi fs.FileInfo) int {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return -1
	}
	return int(st.Uid)
}

// readServers reads the servers of the user from a file of Claude Code's, below
// the owner's home: no link is followed, and what others can write, or what is too
// long, is refused. A file that is not there has none.
func readServers(home *os.File, name string) (map[string]json.RawMessage, error) {
	owner, err := home.Stat()
	if err != nil {
		return nil, err
	}
	if dir := path.Dir(name); dir != "." {
		folder, err := beneath.Folder(home, dir)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("~/%s cannot be opened without following a link: %w", dir, err)
		}
		fi, err := folder.Stat()
		folder.Close()
		if err == nil {
			err = onlyOwners("~/"+dir, fi, uidOf(owner))
		}
		if err != nil {
			return nil, err
		}
	}
	f, err := beneath.File(home, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("it cannot be opened as a file without following a link: %w", err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err == nil {
		err = onlyOwners("it", fi, uidOf(owner))
	}
	if err == nil && fi.Size() > maxOwnFile {
		err = fmt.Errorf("it is larger than %d MiB", maxOwnFile>>20)
	}
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxOwnFile))
	if err != nil {
		return nil, err
	}
	var settings struct {
		Servers map[string]json.RawMessage `json:"mcpServers"`
	}
	if err := json.Unmarshal(text, &settings); err != nil {
		return nil, errors.New("it is not in the form of Claude Code's settings") // the error could quote it
	}
	return settings.Servers, nil
}
