package main

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"google.golang.org/protobuf/proto"
)

// reader makes messages of events. It is pure but for its two questions.
type reader struct {
	pn, lid types.JID // who we are, by both identities
	spare   bool      // whether the account is the assistant's own
	// phone gives the phone identity of a hidden one, empty if it is not known.
	phone func(types.JID) types.JID
	// ours says whether we sent a message.
	ours func(id string) bool
}

// read is false for what is no message of somebody's: edits, deletions, reactions,
// status updates, newsletters, and what the protocol tells itself.
func (r reader) read(e *events.Message) (message, bool) {
	if e == nil || e.Message == nil || e.IsEdit || e.Info.Edit != "" || e.Info.ID == "" {
		return message{}, false
	}
	switch e.Info.Chat.Server {
	case types.BroadcastServer, types.NewsletterServer, types.BotServer, types.MessengerServer, types.InteropServer:
		return message{}, false
	}
	text, context, attached := content(e.Message)
	if text == "" && attached == nil {
		return message{}, false
	}
	m := message{
		ID: string(e.Info.ID), Chat: r.chat(e.Info), Sender: r.person(e.Info.Sender, e.Info.SenderAlt), Name: e.Info.PushName,
		Text: text, Sent: e.Info.Timestamp.UTC(),
	}
	if e.Info.IsFromMe {
		// Every device of the account speaks as its owner. What this one sent is known by
		// its id alone.
		m.Sender, m.Self = r.pn.ToNonAD().String(), r.ours(m.ID)
	}
	if attached != nil {
		m.Files = []file{*attached}
	}
	r.quotes(&m, context)
	m.Mentioned = r.called(m, e.Info, context)
	return m, true
}

// person is the one stable id of somebody: by their phone number where WhatsApp says
// it, and else by the hidden identity.
func (r reader) person(jid, alt types.JID) string {
	jid, alt = jid.ToNonAD(), alt.ToNonAD()
	if jid.Server == types.HiddenUserServer {
		switch known := r.phone(jid); {
		case alt.Server == types.DefaultUserServer:
			jid = alt
		case !known.IsEmpty():
			jid = known.ToNonAD()
		}
	}
	return jid.String()
}

// chat is the id of a chat: a group, or the other person, or ourselves.
func (r reader) chat(i types.MessageInfo) string {
	if i.IsGroup || i.Chat.Server == types.GroupServer {
		return i.Chat.ToNonAD().String()
	}
	if r.me(i.Chat) {
		return r.pn.ToNonAD().String()
	}
	alt := i.SenderAlt
	if i.IsFromMe {
		alt = i.RecipientAlt
	}
	return r.person(i.Chat, alt)
}

// me says whether an identity is ours.
func (r reader) me(jid types.JID) bool {
	jid = jid.ToNonAD()
	return !jid.IsEmpty() && (jid == r.pn.ToNonAD() || jid == r.lid.ToNonAD())
}

// called says whether the assistant is meant: in the chat with oneself, and where
// somebody answers a message of ours. Where the account is the assistant's own, also by
// a direct message and by a mention; otherwise those are for its owner.
func (r reader) called(m message, i types.MessageInfo, c *waE2E.ContextInfo) bool {
	if m.Chat == r.pn.ToNonAD().String() || c.GetStanzaID() != "" && r.ours(c.GetStanzaID()) {
		return true
	}
	if !r.spare {
		return false
	}
	return !i.IsGroup || slices.ContainsFunc(c.GetMentionedJID(), func(s string) bool {
		jid, err := types.ParseJID(s)
		return err == nil && r.me(jid)
	})
}

// quotes marks what is not the sender's own words.
func (r reader) quotes(m *message, c *waE2E.ContextInfo) {
	if c.GetIsForwarded() || c.GetForwardingScore() > 0 {
		if m.Text != "" {
			m.Quotes = append(m.Quotes, quote{Text: m.Text, Forwarded: true})
		}
		m.Text = ""
	}
	if c.GetQuotedMessage() == nil {
		return
	}
	text, _, attached := content(c.GetQuotedMessage())
	if text == "" && attached != nil {
		text = "(" + attached.Type + " " + attached.Name + ")"
	}
	author := ""
	if jid, err := types.ParseJID(c.GetParticipant()); err == nil {
		author = r.person(jid, types.EmptyJID)
	}
	m.Quotes = append(m.Quotes, quote{Author: author, Text: text})
}

// content is what a message says, whatever it is packed in.
func content(m *waE2E.Message) (string, *waE2E.ContextInfo, *file) {
	for _, inner := range []*waE2E.FutureProofMessage{m.GetEphemeralMessage(), m.GetViewOnceMessage(), m.GetViewOnceMessageV2(), m.GetDocumentWithCaptionMessage()} {
		if inner.GetMessage() != nil {
			m = inner.GetMessage()
		}
	}
	switch {
	case m.GetConversation() != "":
		return m.GetConversation(), nil, nil
	case m.ExtendedTextMessage != nil:
		return m.GetExtendedTextMessage().GetText(), m.GetExtendedTextMessage().GetContextInfo(), nil
	case m.ImageMessage != nil:
		i := m.GetImageMessage()
		return i.GetCaption(), i.GetContextInfo(), attachment("image", "", i.GetMimetype(), i)
	case m.VideoMessage != nil:
		v := m.GetVideoMessage()
		return v.GetCaption(), v.GetContextInfo(), attachment("video", "", v.GetMimetype(), v)
	case m.AudioMessage != nil:
		a, name := m.GetAudioMessage(), "audio"
		if a.GetPTT() {
			name = "voice"
		}
		return "", a.GetContextInfo(), attachment("audio", name, a.GetMimetype(), a)
	case m.DocumentMessage != nil:
		d := m.GetDocumentMessage()
		return d.GetCaption(), d.GetContextInfo(), attachment("document", cmp.Or(d.GetFileName(), d.GetTitle()), d.GetMimetype(), d)
	case m.StickerMessage != nil:
		s := m.GetStickerMessage()
		return "", s.GetContextInfo(), attachment("image", "sticker", s.GetMimetype(), s)
	}
	return "", nil, nil
}

// stored is what all media messages have.
type stored interface {
	GetDirectPath() string
	GetMediaKey() []byte
	GetFileEncSHA256() []byte
	GetFileSHA256() []byte
	GetFileLength() uint64
}

// attachment is a file with all that is needed to fetch it later in its reference, so
// that nothing has to be kept here.
func attachment(kind, name, mime string, s stored) *file {
	mime, _, _ = strings.Cut(mime, ";")
	if name == "" || !strings.Contains(name, ".") {
		name = cmp.Or(name, kind) + extension(mime)
	}
	ref, err := proto.Marshal(&waE2E.DocumentMessage{
		DirectPath: proto.String(s.GetDirectPath()), MediaKey: s.GetMediaKey(),
		FileEncSHA256: s.GetFileEncSHA256(), FileSHA256: s.GetFileSHA256(), FileLength: proto.Uint64(s.GetFileLength()),
	})
	if err != nil {
		return nil
	}
	return &file{Name: name, Type: mime, Size: int64(min(s.GetFileLength(), 1<<40)), Ref: kind + ":" + base64.RawURLEncoding.EncodeToString(ref)}
}

// extension is an ending for a file without one.
func extension(mime string) string {
	known := map[string]string{"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp", "video/mp4": ".mp4", "audio/ogg": ".ogg", "audio/mp4": ".m4a", "application/pdf": ".pdf"}
	return known[mime]
}

// mediaTypes are whatsmeow's, by the beginning of a reference.
func mediaType(kind string) (whatsmeow.MediaType, bool) {
	t, ok := map[string]whatsmeow.MediaType{
		"image": whatsmeow.MediaImage, "video": whatsmeow.MediaVideo, "audio": whatsmeow.MediaAudio, "document": whatsmeow.MediaDocument,
	}[kind]
	return t, ok
}

// reference reads one: what to fetch, and its kind in the words of two layers.
func reference(ref string) (*waE2E.DocumentMessage, whatsmeow.MediaType, string, error) {
	kind, rest, _ := strings.Cut(ref, ":")
	t, ok := mediaType(kind)
	if !ok {
		return nil, "", "", errors.New("that is no reference of ours")
	}
	data, err := base64.RawURLEncoding.DecodeString(rest)
	if err != nil {
		return nil, "", "", fmt.Errorf("the reference cannot be read: %w", err)
	}
	var d waE2E.DocumentMessage
	if err := proto.Unmarshal(data, &d); err != nil {
		return nil, "", "", fmt.Errorf("the reference cannot be read: %w", err)
	}
	return &d, t, kind, nil
}
