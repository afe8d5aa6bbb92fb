package daemon

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"nanoclaw/internal/beneath"
	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/hosttools"
)

// threadOf is the thread from which a run was asked, if it is one of a chat.
func (h *toolHost) threadOf(from hosttools.Identity, a chat.Address) chat.Address {
	if _, asked := h.d.runner.Asking(from.Run()); asked.Base() == a {
		return asked
	}
	return a
}

// Bounds of the copies of files that go out.
const (
	maxOutgoing  = 1 << 30        // all of them together
	keepOutgoing = 48 * time.Hour // longer than any delivery is tried
)

func (d *Daemon) outgoingDir() string { return filepath.Join(d.opt.Paths.DataDir, "outgoing") }

// SendFile copies a file of the group and puts the copy into the outbox. What the
// agent names is looked up beneath its workspace (I11).
func (h *toolHost) SendFile(ctx context.Context, from hosttools.Identity, f hosttools.OutFile) (string, error) {
	to, err := h.d.chatOf(from.Group)
	if err != nil {
		return "", err
	}
	to = h.threadOf(from, to)
	filer, ok := h.d.channels[to.Channel].(channel.Filer)
	if !ok {
		return "Not sent: the chat you are answering takes no files.", nil
	}
	limit := min(filer.MaxFile(), int64(h.d.config.Channels.Files.Size))
	out, no, err := h.d.copyOut(from.Group, f, limit)
	if err != nil {
		return "", err
	}
	if no != "" {
		return "Not sent: " + no + ".", nil
	}
	_, err = h.d.outbox.Put(ctx, chat.Outbound{
		To: to, Kind: chat.Tool, Text: f.Caption, Run: from.Run(), Group: from.Group, File: out,
		Key: fmt.Sprintf("tool:%s:%d", from.Session, h.sent.Add(1)),
	})
	if err != nil {
		os.Remove(out.Path)
		return "", err
	}
	return "Sent " + path.Base(out.Name) + ".", nil
}

// React puts a reaction to the message that a run answers into the outbox. The tools
// have checked what it is.
func (h *toolHost) React(ctx context.Context, from hosttools.Identity, emoji string) (string, error) {
	to, id, ok := h.d.runner.Answering(from.Run())
	if !ok {
		return "Not given: you are not answering a message.", nil
	}
	if r, ok := h.d.channels[to.Channel].(channel.Reactor); !ok || !r.Reacts() {
		return "Not given: the chat you are answering has no reactions.", nil
	}
	_, err := h.d.outbox.Put(ctx, chat.Outbound{
		To: to, Kind: chat.Tool, Text: emoji, React: id, Run: from.Run(), Group: from.Group,
		Key: cmp.Or(hosttools.EffectKey(ctx), fmt.Sprintf("tool:%s:%d", from.Session, h.sent.Add(1))),
	})
	if err != nil {
		return "", err
	}
	return "Given: " + emoji, nil
}

// copyOut takes the host's own copy of a file of an agent's. no says why there is
// none, in words for the agent.
func (d *Daemon) copyOut(g chat.Group, f hosttools.OutFile, limit int64) (out *chat.File, no string, err error) {
	workspace := filepath.Join(d.machine.GroupDir(g), "workspace")
	rel := f.Path
	for _, root := range []string{grant.Workspace, workspace} {
		rel = strings.TrimPrefix(rel, root+"/")
	}
	rel = path.Clean(rel)
	if path.IsAbs(rel) || rel == "." || rel == ".." || strings.HasPrefix(rel, "../") {
		return nil, "the file must lie in your working directory", nil
	}
	root, _, err := beneath.Root(workspace)
	if err != nil {
		return nil, "", err
	}
	defer root.Close()
	in, err := beneath.File(root, rel)
	if err != nil {
		return nil, "it is no regular file in your working directory, or a link leads to it", nil
	}
	defer in.Close()
	if err := d.sweepOutgoing(limit); err != nil {
		return nil, "", err
	}
	copied, err := os.OpenFile(filepath.Join(d.outgoingDir(), rand.Text()), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, "", err
	}
	defer func() {
		if copied.Close(); out == nil {
			os.Remove(copied.Name())
		}
	}()
	size, err := io.Copy(copied, io.LimitReader(in, limit+1))
	if err == nil {
		err = copied.Sync()
	}
	switch {
	case err != nil:
		return nil, "", err
	case size > limit:
		return nil, fmt.Sprintf("it is larger than %d MB", limit>>20), nil
	case size == 0:
		return nil, "it is empty", nil
	}
	kind, err := sniff(copied.Name())
	if err != nil {
		return nil, "", err
	}
	if f.Image && !isImage(kind) {
		return nil, "it is no PNG, JPEG, GIF or WebP image: use send_file", nil
	}
	return &chat.File{Name: path.Base(rel), Type: kind, Size: size, Path: copied.Name()}, "", nil
}

// sniff tells a kind of file from its first bytes.
func sniff(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	head := make([]byte, 512)
	n, err := io.ReadFull(f, head)
	if err != nil && err != io.ErrUnexpectedEOF {
		return "", err
	}
	return http.DetectContentType(head[:n]), nil
}

func isImage(kind string) bool {
	switch kind {
	case "image/png", "image/jpeg", "image/gif", "image/webp":
		return true
	}
	return false
}

// sweepOutgoing makes room for another copy: those that nobody sends any more go.
func (d *Daemon) sweepOutgoing(room int64) error {
	if err := os.MkdirAll(d.outgoingDir(), 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(d.outgoingDir())
	if err != nil {
		return err
	}
	var total int64
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			continue
		}
		if time.Since(info.ModTime()) > keepOutgoing {
			if err := os.Remove(filepath.Join(d.outgoingDir(), e.Name())); err != nil && !os.IsNotExist(err) {
				return err
			}
			continue
		}
		total += info.Size()
	}
	if total+room > maxOutgoing {
		return fmt.Errorf("%w: %d bytes of files wait to be sent", fs.ErrInvalid, total)
	}
	return nil
}
