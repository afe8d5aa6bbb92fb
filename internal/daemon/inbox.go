package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/queue"
)

// attachTime bounds the fetching of all files of one message.
const attachTime = 3 * time.Minute

// inboxDir is where the files of a group's messages lie. The host alone writes there.
func (d *Daemon) inboxDir(g chat.Group) string { return filepath.Join(d.machine.GroupDir(g), "inbox") }

// prepareInbox makes the folder. Its files are readable by all, since the group's own
// uid reads them; the folder above it is ours alone.
func (d *Daemon) prepareInbox(g chat.Group) error {
	dir := d.inboxDir(g)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.Chmod(dir, 0o755)
}

// attach fetches the files of a message into the group's inbox, unless they are there
// from an earlier attempt. What cannot be had is said in the prompt.
func (d *Daemon) attach(g chat.Group, m queue.Message) []agent.File {
	ctx, cancel := context.WithTimeout(context.Background(), attachTime)
	defer cancel()
	out := make([]agent.File, len(m.Files))
	for i, f := range m.Files {
		out[i] = agent.File{Name: channel.OneLine(f.Name, 200), Type: channel.OneLine(f.Type, 100), Size: f.Size, Transcript: f.Transcript, Unheard: channel.OneLine(f.Unheard, 200)}
		name := fmt.Sprintf("%d-%d-%s", m.Row, i+1, safeName(f.Name))
		size, err := d.fetch(ctx, g, m.From.Channel, f, name)
		if err != nil {
			d.log.Warn("a file of a message could not be had", "group", g, "row", m.Row, "err", err)
			out[i].Missing = channel.OneLine(err.Error(), 200)
			continue
		}
		out[i].Size, out[i].Path = size, d.inboxSeen(g)+"/"+name
	}
	return out
}

// inboxSeen is the inbox as the group's agent sees it: on a Mac, where there are no
// mounts, a session on the machine itself has the real path.
func (d *Daemon) inboxSeen(g chat.Group) string {
	if runtime.GOOS == "darwin" && d.modeOf(g) == string(grant.HostMode) {
		return d.inboxDir(g)
	}
	return grant.Inbox
}

// safeName is the end of a file's name in the inbox, made of the name that a stranger
// gave it: letters, digits and few marks, none of which means anything to anybody.
func safeName(name string) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '-', r == '_':
			return r
		}
		return '_'
	}, name)
	if len(clean) > 80 { // its end tells what it is
		clean = clean[len(clean)-80:]
	}
	return cmp.Or(strings.TrimLeft(clean, ".-"), "file")
}

// errTooLarge says that a file is larger than is taken.
var errTooLarge = errors.New("it is larger than the host takes")

// fetch puts one file into the inbox and gives its size.
func (d *Daemon) fetch(ctx context.Context, g chat.Group, from chat.ChannelID, f chat.File, name string) (int64, error) {
	limits := d.config.Channels.Files
	place := filepath.Join(d.inboxDir(g), name)
	if info, err := os.Lstat(place); err == nil {
		return info.Size(), nil
	}
	if !typeTaken(limits.Types, f.Type) {
		return 0, fmt.Errorf("files of type %s are not taken (channels.files.types)", cmp.Or(channel.OneLine(f.Type, 100), "unknown"))
	}
	if f.Size > int64(limits.Size) {
		return 0, errTooLarge
	}
	fetcher, ok := d.channels[from].(channel.Fetcher)
	if !ok {
		return 0, errors.New("its channel is not connected")
	}
	if err := d.prepareInbox(g); err != nil {
		return 0, err
	}
	tmp, err := os.CreateTemp(d.machine.GroupDir(g), ".inbox-")
	if err != nil {
		return 0, err
	}
	defer os.Remove(tmp.Name())
	w := &boundedFile{f: tmp, left: int64(limits.Size)}
	err = fetcher.Fetch(ctx, f, w)
	if w.over {
		err = errTooLarge
	}
	size := int64(limits.Size) - w.left
	if err = errors.Join(err, tmp.Chmod(0o444), tmp.Sync(), tmp.Close()); err != nil {
		return 0, err
	}
	if err := makeRoom(d.inboxDir(g), int64(limits.Keep)-size); err != nil {
		return 0, err
	}
	return size, os.Rename(tmp.Name(), place)
}

// boundedFile takes so many bytes and no more.
type boundedFile struct {
	f    *os.File
	left int64
	over bool
}

func (w *boundedFile) Write(p []byte) (int, error) {
	if int64(len(p)) > w.left {
		w.over = true
		return 0, errTooLarge
	}
	n, err := w.f.Write(p)
	w.left -= int64(n)
	return n, err
}

// typeTaken says whether a list, of which none is all, has a type.
func typeTaken(types []string, is string) bool {
	is, _, _ = strings.Cut(strings.ToLower(is), ";")
	return len(types) == 0 || slices.ContainsFunc(types, func(t string) bool {
		main, any := strings.CutSuffix(strings.ToLower(t), "/*")
		return strings.EqualFold(t, is) || any && strings.HasPrefix(is, main+"/")
	})
}

// makeRoom removes the oldest files of an inbox until it has no more than so many
// bytes.
func makeRoom(dir string, most int64) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var files []os.FileInfo
	var total int64
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			files, total = append(files, info), total+info.Size()
		}
	}
	slices.SortFunc(files, func(a, b os.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	for _, f := range files {
		if total <= most {
			return nil
		}
		if err := os.Remove(filepath.Join(dir, f.Name())); err != nil && !os.IsNotExist(err) {
			return err
		}
		total -= f.Size()
	}
	return nil
}
