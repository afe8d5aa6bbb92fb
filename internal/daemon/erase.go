package daemon

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/store"
)

// Erase takes the words of a person out of the store.
func (d *Daemon) Erase(ctx context.Context, r control.EraseRequest) (control.Erased, error) {
	who, err := chat.ParseAddress(r.Sender)
	if err != nil {
		return control.Erased{}, &control.Error{Code: control.CodeUsage, Message: fmt.Sprintf("%q is no sender: write CHANNEL:ID, as nanoclaw audit show tells of a message", r.Sender)}
	}
	got, err := d.store.EraseSender(ctx, store.Erasure{
		Channel: who.Channel, Sender: chat.SenderID(who.Chat), Group: r.Group, Runs: r.Runs, Try: r.Try,
	})
	if errors.Is(err, store.ErrAtWork) {
		return control.Erased{}, &control.Error{Code: control.CodeRefused, Message: err.Error(), Hint: "wait until it is over, or end it: nanoclaw stop"}
	}
	if err != nil {
		return control.Erased{}, err
	}
	d.changed.fire() // whoever waits for an answer to one of the messages
	out := control.Erased{
		Messages: got.Messages, Waiting: got.Unasked, Quotes: got.Quotes, Runs: got.Runs, Replies: got.Replies, Entries: got.Entries,
	}
	groups := d.groupNames()
	if r.Group != "" {
		groups = []chat.Group{r.Group}
	}
	for _, g := range groups {
		dir := d.machine.GroupDir(g)
		if r.Try {
			// Nothing is changed.
		} else if err := d.runLogs.forget(g); err != nil {
			out.Left = append(out.Left, fmt.Sprintf("files of runs of %s that could not be removed: %v", g, err))
		}
		out.Left = append(out.Left, fmt.Sprintf("what the agent of %s wrote down: its conversation in %s, and its notes and pages in %s "+
			"(nanoclaw chat --group %s --new begins another conversation; files you delete yourself)",
			g, filepath.Join(dir, "claude"), filepath.Join(dir, "workspace"), g))
	}
	if !r.Runs {
		out.Left = append(out.Left, "what agents answered and did because of it: with --runs it goes too, where nobody else began the run")
	}
	out.Left = append(out.Left,
		"who wrote when, and what came of it: the sender's id stays at the messages, and in the entries of the runs they began",
		"what left this machine: the chat network, the phones of others, the model's provider, hosts that were told",
		"copies: backups, exports and receipts that were made before, and blocks of the disk that were not written again")
	return out, nil
}
