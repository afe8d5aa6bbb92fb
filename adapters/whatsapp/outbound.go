package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"google.golang.org/protobuf/proto"
)

// messageID is the id of one part of a message: the same at each attempt, in the form
// of WhatsApp's own web client, and telling nothing of the key.
func messageID(key string, part int) types.MessageID {
	sum := sha256.Sum256(fmt.Appendf(nil, "nanoclaw/%d/%s", part, key))
	return whatsmeow.WebMessageIDPrefix + strings.ToUpper(hex.EncodeToString(sum[:9]))
}

// destination reads a chat of ours: a person, or a group.
func destination(chat string) (types.JID, error) {
	jid, err := types.ParseJID(chat)
	if err != nil || jid.User == "" || jid.Device != 0 {
		return types.JID{}, &failure{never, fmt.Errorf("%q is no chat of WhatsApp: write 4917012345678@s.whatsapp.net for a person, or …@g.us for a group", chat)}
	}
	switch jid.Server {
	case types.DefaultUserServer, types.GroupServer, types.HiddenUserServer:
		return jid, nil
	}
	return types.JID{}, &failure{never, fmt.Errorf("%q is neither a person nor a group", chat)}
}

// textMessage is a text without a preview: that would be fetched by whoever sends.
func textMessage(text string) *waE2E.Message {
	return &waE2E.Message{ExtendedTextMessage: &waE2E.ExtendedTextMessage{Text: proto.String(text)}}
}

// kindOf is how a file is sent.
func kindOf(mime string) (string, whatsmeow.MediaType) {
	switch {
	case mime == "image/jpeg" || mime == "image/png":
		return "image", whatsmeow.MediaImage
	case mime == "video/mp4":
		return "video", whatsmeow.MediaVideo
	case mime == "audio/ogg" || mime == "audio/mpeg" || mime == "audio/mp4":
		return "audio", whatsmeow.MediaAudio
	}
	return "document", whatsmeow.MediaDocument
}

// fileMessage is a file that was uploaded.
func fileMessage(f file, caption string, up whatsmeow.UploadResponse) *waE2E.Message {
	mime := proto.String(f.Type)
	if f.Type == "" {
		mime = proto.String("application/octet-stream")
	}
	words := proto.String(caption)
	if caption == "" {
		words = nil
	}
	switch kind, _ := kindOf(f.Type); kind {
	case "image":
		return &waE2E.Message{ImageMessage: &waE2E.ImageMessage{Caption: words, Mimetype: mime, URL: &up.URL, DirectPath: &up.DirectPath,
			MediaKey: up.MediaKey, FileEncSHA256: up.FileEncSHA256, FileSHA256: up.FileSHA256, FileLength: &up.FileLength}}
	case "video":
		return &waE2E.Message{VideoMessage: &waE2E.VideoMessage{Caption: words, Mimetype: mime, URL: &up.URL, DirectPath: &up.DirectPath,
			MediaKey: up.MediaKey, FileEncSHA256: up.FileEncSHA256, FileSHA256: up.FileSHA256, FileLength: &up.FileLength}}
	case "audio":
		return &waE2E.Message{AudioMessage: &waE2E.AudioMessage{Mimetype: mime, URL: &up.URL, DirectPath: &up.DirectPath,
			MediaKey: up.MediaKey, FileEncSHA256: up.FileEncSHA256, FileSHA256: up.FileSHA256, FileLength: &up.FileLength}}
	}
	return &waE2E.Message{DocumentMessage: &waE2E.DocumentMessage{Caption: words, FileName: proto.String(f.Name), Title: proto.String(f.Name), Mimetype: mime, URL: &up.URL, DirectPath: &up.DirectPath,
		MediaKey: up.MediaKey, FileEncSHA256: up.FileEncSHA256, FileSHA256: up.FileSHA256, FileLength: &up.FileLength}}
}

// What we send at most: a burst, and then one in an interval. WhatsApp bans accounts
// that write like machines.
const (
	sendBurst = 8
	sendEvery = 2 * time.Second
)

// pace says when the next message may go out.
type pace struct {
	every time.Duration
	next  time.Time // when the last of the burst is free again
}

// wait takes a place, and says how long to wait for it.
func (p *pace) wait(now time.Time) time.Duration {
	if p.next.Before(now) {
		p.next = now
	}
	p.next = p.next.Add(p.every)
	return max(0, p.next.Sub(now)-sendBurst*p.every)
}
