package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/queue"
	"nanoclaw/internal/wire"
)

// Bounds of hearing voice notes.
const (
	hearTime  = 2 * time.Minute // for one
	hearFiles = 5               // of one part of a run; further ones are files
	hearText  = 16 << 10        // bytes of a transcript that the agent is given
)

// voice says that a file is one that can be listened to.
func voice(f chat.File) bool { return strings.HasPrefix(strings.ToLower(f.Type), "audio/") }

// hasVoice says that there is something to be heard before the agent is asked.
func (r *Runner) hasVoice(msgs []queue.Message) bool {
	return len(r.Transcribe) > 0 && r.Attach != nil && slices.ContainsFunc(msgs, func(m queue.Message) bool { return slices.ContainsFunc(m.Files, voice) })
}

// hear has the owner's command write down what is said in voice notes. It runs inside,
// with the rights of the session and none more, since it reads what a stranger made. A
// note that it cannot read stays a file, with the reason.
func (r *Runner) hear(ctx context.Context, s *session, g chat.Group, msgs []queue.Message, progress func(chat.ProgressKind, string)) []queue.Message {
	if s.grant.Agent == grant.Shell || !r.hasVoice(msgs) {
		return msgs
	}
	out, left := slices.Clone(msgs), hearFiles
	for i, m := range msgs {
		if !slices.ContainsFunc(m.Files, voice) {
			continue
		}
		seen := r.Attach(g, m)
		out[i].Files = slices.Clone(m.Files)
		for n, f := range m.Files {
			if !voice(f) || n >= len(seen) || seen[n].Path == "" || left == 0 {
				continue
			}
			left--
			progress(chat.Waiting, "listening to a voice note")
			text, err := r.transcript(ctx, s, seen[n].Path)
			if err != nil {
				r.log(s).Warn("a voice note was not written down", "row", m.Row, "err", err)
				out[i].Files[n].Unheard = err.Error()
				continue
			}
			out[i].Files[n].Transcript = r.hidden(text)
		}
	}
	return out
}

var errHearTime = fmt.Errorf("the command took longer than %v and was ended", hearTime)

// transcript runs the command about one file and gives what it wrote, as text.
func (r *Runner) transcript(ctx context.Context, s *session, path string) (string, error) {
	limited, cancel := context.WithTimeoutCause(ctx, hearTime, errHearTime)
	defer cancel()
	argv := append(slices.Clone(r.Transcribe), path)
	p, err := s.box.Exec(limited, wire.Exec{Argv: argv, Env: environ(s.grant), Dir: grant.Workspace, Stdio: wire.Pipes})
	if err != nil {
		return "", fmt.Errorf("the command could not be started: %w", err)
	}
	p.Stdin.Close()
	text, more := &head{most: hearText}, &head{most: scriptKept}
	read := make(chan struct{})
	go func() {
		defer close(read)
		var both sync.WaitGroup
		both.Go(func() { io.Copy(text, p.Stdout) })
		both.Go(func() { io.Copy(more, p.Stderr) })
		both.Wait()
	}()
	ended, err := p.Wait(limited)
	if err == nil {
		select {
		case <-read:
		case <-limited.Done(): // what it left running still holds its output
			err = context.Cause(limited)
		}
	}
	if err != nil {
		p.Signal(syscall.SIGKILL) // what that does not end goes with the session
		if errors.Is(context.Cause(limited), errHearTime) {
			err = errHearTime
		}
		return "", err
	}
	said := strings.TrimSpace(strings.ToValidUTF8(text.String(), ""))
	switch {
	case ended.Code != 0 || ended.Signal != 0:
		return "", fmt.Errorf("the command ended with status %d: %s", ended.Code, cutText(strings.TrimSpace(more.String()), 300))
	case said == "":
		return "", errors.New("the command heard nothing")
	case text.cut:
		said += " … (it goes on)"
	}
	return said, nil
}
