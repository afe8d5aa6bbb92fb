package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types"
)

// work begins a call, which ends at the host's word.
func (a *adapter) work(call uint64, do func(context.Context) (string, error)) {
	ctx, cancel := context.WithTimeout(a.ctx, 5*time.Minute)
	a.mu.Lock()
	a.calls[call] = cancel
	a.mu.Unlock()
	id, err := do(ctx)
	a.mu.Lock()
	delete(a.calls, call)
	a.mu.Unlock()
	cancel()
	a.host.result(call, id, err)
}

func (a *adapter) cancel(call uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if cancel := a.calls[call]; cancel != nil {
		cancel()
	}
}

// deliver sends a message, in its turn.
func (a *adapter) deliver(l fromHost, data []byte) {
	a.typing(l.Chat, false)
	a.inTurn(l.Call, func(ctx context.Context) (string, error) { return a.send(ctx, l, data) })
}

// inTurn works for a call after what was to be sent before it.
func (a *adapter) inTurn(call uint64, do func(context.Context) (string, error)) {
	select {
	case a.sends <- func(context.Context) { a.work(call, do) }:
	default:
		a.host.result(call, "", errors.New("too much waits to be sent"))
	}
}

// send sends each part under an id that was written down.
func (a *adapter) send(ctx context.Context, l fromHost, data []byte) (string, error) {
	to, err := destination(l.Chat)
	if err != nil {
		return "", err
	}
	if l.File != nil {
		return a.sendFile(ctx, to, l, data)
	}
	for i, part := range l.Parts {
		if i > 0 && !sleep(ctx, a.pace.wait(time.Now())) {
			return "", ctx.Err()
		}
		id := messageID(l.Key, i)
		if err := a.state.sending(ctx, id); err != nil {
			return "", err
		}
		if _, err := a.net.SendMessage(ctx, to, textMessage(part), whatsmeow.SendRequestExtra{ID: id}); err != nil {
			return "", judge(err)
		}
	}
	return messageID(l.Key, 0), nil
}

func (a *adapter) sendFile(ctx context.Context, to types.JID, l fromHost, data []byte) (string, error) {
	if int64(len(data)) != l.File.Size {
		return "", &failure{never, fmt.Errorf("the file has %d bytes, and %d came", l.File.Size, len(data))}
	}
	kind, media := kindOf(l.File.Type)
	up, err := a.net.Upload(ctx, data, media)
	if err != nil {
		return "", judge(err)
	}
	caption := ""
	if len(l.Parts) > 0 {
		caption = l.Parts[0]
	}
	id := messageID(l.Key, 0)
	if err := a.state.sending(ctx, id); err != nil {
		return "", err
	}
	if _, err := a.net.SendMessage(ctx, to, fileMessage(*l.File, caption, up), whatsmeow.SendRequestExtra{ID: id}); err != nil {
		return "", judge(err)
	}
	if kind != "audio" || caption == "" { // which has no caption
		return id, nil
	}
	words := messageID(l.Key, 1)
	if err := a.state.sending(ctx, words); err != nil {
		return "", err
	}
	_, err = a.net.SendMessage(ctx, to, textMessage(caption), whatsmeow.SendRequestExtra{ID: words})
	return id, judge(err)
}

// react gives a message a reaction, in its turn.
func (a *adapter) react(l fromHost) {
	a.inTurn(l.Call, func(ctx context.Context) (string, error) {
		in, by, err := a.state.wrote(ctx, l.Chat, l.ID)
		if errors.Is(err, sql.ErrNoRows) {
			return "", &failure{never, fmt.Errorf("there was no message %q there in the last %d days", l.ID, int(heardKept.Hours()/24))}
		}
		if err != nil {
			return "", err
		}
		id := messageID("react/"+l.Chat+"/"+l.ID+"/"+l.Emoji, 0)
		if err := a.state.sending(ctx, id); err != nil {
			return "", err
		}
		_, err = a.net.SendMessage(ctx, in, a.client.BuildReaction(in, by, l.ID, inColor(l.Emoji)), whatsmeow.SendRequestExtra{ID: id})
		return "", judge(err)
	})
}

// inColor has the one reaction that is also a character of text shown as an emoji.
func inColor(emoji string) string {
	if emoji == "\u2764" {
		return emoji + "\ufe0f"
	}
	return emoji
}

// judge says which errors no later attempt cures.
func judge(err error) error {
	for _, hopeless := range []error{whatsmeow.ErrUnknownServer, whatsmeow.ErrRecipientADJID, whatsmeow.ErrBroadcastListUnsupported, whatsmeow.ErrNotInGroup, whatsmeow.ErrGroupNotFound, whatsmeow.ErrMediaDownloadFailedWith404, whatsmeow.ErrMediaDownloadFailedWith410} {
		if errors.Is(err, hopeless) {
			return &failure{never, err}
		}
	}
	return err
}

// fetch gives a file that came.
func (a *adapter) fetch(l fromHost) {
	go a.work(l.Call, func(ctx context.Context) (string, error) {
		d, media, mms, err := reference(l.Ref)
		if err != nil {
			return "", &failure{never, err}
		}
		if d.GetFileLength() > maxFile {
			return "", &failure{never, fmt.Errorf("it has %d bytes, which is more than %d", d.GetFileLength(), maxFile)}
		}
		data, err := a.net.DownloadMediaWithPath(ctx, d.GetDirectPath(), d.GetFileEncSHA256(), d.GetFileSHA256(), d.GetMediaKey(), media, mms, false)
		if err != nil {
			return "", judge(err)
		}
		a.host.chunks(l.Call, data)
		return "", nil
	})
}

// How long WhatsApp shows typing by itself, and how long we have it shown at most.
const (
	typingEvery = 8 * time.Second
	typingMost  = 30 * time.Minute
	maxTyping   = 64
)

// typing shows it until it is told otherwise.
func (a *adapter) typing(chat string, on bool) {
	to, err := destination(chat)
	if err != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	stop := a.shows[chat]
	if !on {
		if stop != nil {
			stop()
			delete(a.shows, chat)
		}
		return
	}
	if stop != nil || len(a.shows) >= maxTyping {
		return
	}
	ctx, cancel := context.WithTimeout(a.ctx, typingMost)
	a.shows[chat] = cancel
	go func() {
		// Typing is shown of who is there; else the phone is to tell of new messages.
		a.net.SendPresence(ctx, types.PresenceAvailable)
		defer a.net.SendPresence(a.ctx, types.PresenceUnavailable)
		for {
			a.net.SendChatPresence(ctx, to, types.ChatPresenceComposing, types.ChatPresenceMediaText)
			if !sleep(ctx, typingEvery) {
				break
			}
		}
		a.net.SendChatPresence(a.ctx, to, types.ChatPresencePaused, types.ChatPresenceMediaText)
	}()
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
