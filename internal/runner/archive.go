package runner

import (
	"context"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/transcript"
	"nanoclaw/internal/wire"
)

// The archive of conversations. The host opens no file for it: the transcript and
// the workspace are the agent's, and where the daemon is not root their files are
// of a uid that it may not read. So a process of the boundary reads the one and
// another writes into the other, with the agent's own rights, and the host makes
// the page in between. A name that leads elsewhere leads to where the agent could
// have gone itself (I11).

// archiveFolder is where archives are, in the workspace.
const archiveFolder = "conversations"

// maxTranscript bounds what is read of a transcript, in bytes.
const maxTranscript = 256 << 20

// archiver gives what writes an archive before the conversation of a session is
// compacted.
func (r *Runner) archiver(s *session) func(context.Context, string) {
	return func(ctx context.Context, path string) {
		name, err := r.archive(ctx, box{s.box}, s.grant, path)
		if err != nil {
			r.log(s).Warn("a conversation could not be archived before it is summarised", "err", err)
			return
		}
		s.archived.Store(true)
		r.log(s).Info("a conversation is archived before it is summarised", "file", name)
	}
}

// archive writes what was said in a transcript into the workspace, and gives the
// name; "" if nothing was said.
func (r *Runner) archive(ctx context.Context, b agent.Box, g grant.Grant, path string) (name string, err error) {
	var t transcript.Transcript
	err = r.inside(ctx, b, g, nil, func(out io.Reader) error {
		var err error
		t, err = transcript.Read(io.LimitReader(out, maxTranscript))
		return err
	}, readScript, path)
	if err != nil {
		return "", fmt.Errorf("reading the transcript: %w", err)
	}
	if len(t.Messages) == 0 {
		return "", nil
	}
	at := time.Now()
	if r.Zone != nil {
		at = at.In(r.Zone)
	}
	name = t.Name(at)
	err = r.inside(ctx, b, g, t.Page(r.assistant(), at), func(out io.Reader) error {
		_, err := io.Copy(io.Discard, io.LimitReader(out, 1<<10))
		return err
	}, writeScript, archiveFolder, name)
	if err != nil {
		return "", fmt.Errorf("writing %s: %w", name, err)
	}
	return name, nil
}

func (r *Runner) assistant() string {
	if r.Assistant == nil {
		return "Assistant"
	}
	return r.Assistant()
}

// The commands, with what is theirs as arguments. A file that is there already
// stays as it is.
const (
	readScript  = `exec cat -- "$1"`
	writeScript = `set -e
mkdir -p -- "$1"
cd -- "$1"
for n in "" -2 -3 -4 -5 -6 -7 -8 -9; do
	if (set -C; true > "$2$n.md") 2>/dev/null; then
		exec cat > "$2$n.md"
	fi
done
echo "there are too many of this name" >&2
exit 1`
)

// inside runs a script of ours in a boundary, gives it a text and its output to
// hear, and fails if it does.
func (r *Runner) inside(ctx context.Context, b agent.Box, g grant.Grant, in []byte, hear func(io.Reader) error, script string, args ...string) error {
	p, err := b.Exec(ctx, wire.Exec{
		Argv: append([]string{"/bin/sh", "-c", script, "sh"}, args...),
		Env:  []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}, Dir: grant.Workspace, Stdio: wire.Pipes,
	})
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { p.Signal(syscall.SIGKILL) })
	defer stop()
	cried := make(chan string, 1)
	go func() {
		said, _ := io.ReadAll(io.LimitReader(p.Stderr(), 500))
		cried <- strings.TrimSpace(string(said))
		io.Copy(io.Discard, p.Stderr())
	}()
	go func() {
		p.Stdin().Write(in)
		p.Stdin().Close()
	}()
	err = hear(p.Stdout())
	io.Copy(io.Discard, p.Stdout()) // what is too much; ctx ends it
	x, waited := p.Wait(ctx)
	switch {
	case err != nil:
		return err
	case waited != nil:
		return waited
	case x.Code != 0:
		return fmt.Errorf("it ended with status %d: %s", x.Code, r.Mask.Text(<-cried))
	}
	return nil
}
