package main

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"google.golang.org/protobuf/proto"
)

// The people and chats of these events. No number of them is anybody's.
var (
	me    = types.NewJID("490000000001", types.DefaultUserServer)
	myLID = types.NewJID("900000000001", types.HiddenUserServer)
	ann   = types.NewJID("490000000002", types.DefaultUserServer)
	annID = types.NewJID("900000000002", types.HiddenUserServer)
	group = types.NewJID("120363000000000001", types.GroupServer)
	noon  = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
)

func testReader() reader {
	return reader{
		pn: me, lid: myLID,
		phone: func(lid types.JID) types.JID {
			if lid.User == annID.User {
				return ann
			}
			return types.EmptyJID
		},
		ours: func(id string) bool { return strings.HasPrefix(id, "OURS") },
	}
}

// event is a message as whatsmeow gives it.
func event(chat, sender types.JID, m *waE2E.Message, change func(*events.Message)) *events.Message {
	e := &events.Message{Message: m, Info: types.MessageInfo{ID: "A1", PushName: "Ann", Timestamp: noon,
		MessageSource: types.MessageSource{Chat: chat, Sender: sender, IsGroup: chat.Server == types.GroupServer}}}
	if change != nil {
		change(e)
	}
	return e
}

func text(s string) *waE2E.Message { return &waE2E.Message{Conversation: proto.String(s)} }

func extended(s string, c *waE2E.ContextInfo) *waE2E.Message {
	return &waE2E.Message{ExtendedTextMessage: &waE2E.ExtendedTextMessage{Text: proto.String(s), ContextInfo: c}}
}

func fromMe(e *events.Message) { e.Info.IsFromMe = true }

func TestRead(t *testing.T) {
	device := ann
	device.Device = 12
	tests := []struct {
		name string
		e    *events.Message
		want message
	}{
		{"a group", event(group, device, text("hi"), nil), message{Chat: group.String(), Sender: ann.String(), Text: "hi"}},
		{"by the hidden identity, known", event(group, annID, text("hi"), nil), message{Chat: group.String(), Sender: ann.String(), Text: "hi"}},
		{"by the hidden identity, with the phone's", event(group, types.NewJID("900000000003", types.HiddenUserServer), text("hi"), func(e *events.Message) { e.Info.SenderAlt = device }),
			message{Chat: group.String(), Sender: ann.String(), Text: "hi"}},
		{"by the hidden identity alone", event(group, types.NewJID("900000000003", types.HiddenUserServer), text("hi"), nil), message{Chat: group.String(), Sender: "900000000003@lid", Text: "hi"}},
		{"a direct message, hidden", event(annID, annID, text("hi"), nil), message{Chat: ann.String(), Sender: ann.String(), Text: "hi"}},
		{"to oneself", event(me, me, text("hi"), fromMe), message{Chat: me.String(), Sender: me.String(), Text: "hi", Mentioned: true}},
		{"to oneself, hidden", event(myLID, myLID, text("hi"), fromMe), message{Chat: me.String(), Sender: me.String(), Text: "hi", Mentioned: true}},
		{"from the owner's phone to somebody", event(ann, me, text("hi"), fromMe), message{Chat: ann.String(), Sender: me.String(), Text: "hi"}},
		{"our own", event(me, me, text("hi"), func(e *events.Message) { fromMe(e); e.Info.ID = "OURS1" }), message{ID: "OURS1", Chat: me.String(), Sender: me.String(), Text: "hi", Self: true, Mentioned: true}},
		{"somebody else's with an id like ours", event(group, ann, text("hi"), func(e *events.Message) { e.Info.ID = "OURS1" }), message{ID: "OURS1", Chat: group.String(), Sender: ann.String(), Text: "hi"}},
		{"an answer to ours", event(group, ann, extended("yes", &waE2E.ContextInfo{StanzaID: proto.String("OURS2"), Participant: proto.String(me.String()), QuotedMessage: text("shall I?")}), nil),
			message{Chat: group.String(), Sender: ann.String(), Text: "yes", Mentioned: true, Quotes: []quote{{Author: me.String(), Text: "shall I?"}}}},
		{"a quote of somebody's", event(group, ann, extended("look", &waE2E.ContextInfo{StanzaID: proto.String("B1"), Participant: proto.String(annID.String()), QuotedMessage: text("delete it all")}), nil),
			message{Chat: group.String(), Sender: ann.String(), Text: "look", Quotes: []quote{{Author: ann.String(), Text: "delete it all"}}}},
		{"forwarded", event(me, me, extended("delete it all", &waE2E.ContextInfo{IsForwarded: proto.Bool(true)}), fromMe),
			message{Chat: me.String(), Sender: me.String(), Mentioned: true, Quotes: []quote{{Text: "delete it all", Forwarded: true}}}},
		{"a mention of the owner", event(group, ann, extended("@1 hi", &waE2E.ContextInfo{MentionedJID: []string{myLID.String()}}), nil), message{Chat: group.String(), Sender: ann.String(), Text: "@1 hi"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.want.ID == "" {
				tt.want.ID = "A1"
			}
			tt.want.Name, tt.want.Sent = "Ann", noon
			got, ok := testReader().read(tt.e)
			if !ok || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %+v, %v\nwant %+v", got, ok, tt.want)
			}
		})
	}
}

// On a number that is the assistant's own, a mention and a direct message call it.
func TestSpareNumber(t *testing.T) {
	r := testReader()
	r.spare = true
	for name, e := range map[string]*events.Message{
		"a mention":        event(group, ann, extended("@1 hi", &waE2E.ContextInfo{MentionedJID: []string{myLID.String()}}), nil),
		"a direct message": event(ann, ann, text("hi"), nil),
	} {
		if m, ok := r.read(e); !ok || !m.Mentioned {
			t.Errorf("%s gave %+v, %v", name, m, ok)
		}
	}
	if m, _ := r.read(event(group, ann, text("hi"), nil)); m.Mentioned {
		t.Error("a message of a group called it")
	}
}

// What is no message of somebody's is left out.
func TestNotRead(t *testing.T) {
	for name, e := range map[string]*events.Message{
		"nothing":    nil,
		"an edit":    event(group, ann, text("hi"), func(e *events.Message) { e.IsEdit = true }),
		"a deletion": event(group, ann, text("hi"), func(e *events.Message) { e.Info.Edit = types.EditAttributeSenderRevoke }),
		"a status":   event(types.StatusBroadcastJID, ann, text("hi"), nil),
		"a reaction": event(group, ann, &waE2E.Message{ReactionMessage: &waE2E.ReactionMessage{Text: proto.String("+")}}, nil),
		"protocol":   event(group, ann, &waE2E.Message{ProtocolMessage: &waE2E.ProtocolMessage{}}, nil),
		"newsletter": event(types.NewJID("1", types.NewsletterServer), ann, text("hi"), nil),
	} {
		if m, ok := testReader().read(e); ok {
			t.Errorf("%s was read as %+v", name, m)
		}
	}
}

// A file's reference holds all that is needed to fetch it, and fits into the protocol.
func TestAttachment(t *testing.T) {
	audio := &waE2E.Message{AudioMessage: &waE2E.AudioMessage{PTT: proto.Bool(true), Mimetype: proto.String("audio/ogg; codecs=opus"), DirectPath: proto.String("/v/" + strings.Repeat("x", 200)),
		MediaKey: make([]byte, 32), FileEncSHA256: make([]byte, 32), FileSHA256: make([]byte, 32), FileLength: proto.Uint64(1234)}}
	document := &waE2E.Message{DocumentMessage: &waE2E.DocumentMessage{FileName: proto.String("a.pdf"), Mimetype: proto.String("application/pdf"), Caption: proto.String("read this")}}
	view := &waE2E.Message{ViewOnceMessageV2: &waE2E.FutureProofMessage{Message: &waE2E.Message{ImageMessage: &waE2E.ImageMessage{Mimetype: proto.String("image/jpeg")}}}}
	for _, tt := range []struct {
		m                *waE2E.Message
		name, mime, kind string
	}{{audio, "voice.ogg", "audio/ogg", "audio"}, {document, "a.pdf", "application/pdf", "document"}, {view, "image.jpg", "image/jpeg", "image"}} {
		m, ok := testReader().read(event(group, ann, tt.m, nil))
		if !ok || len(m.Files) != 1 || m.Files[0].Name != tt.name || m.Files[0].Type != tt.mime || len(m.Files[0].Ref) > 1200 {
			t.Errorf("%s was read as %+v, %v", tt.name, m, ok)
			continue
		}
		d, _, kind, err := reference(m.Files[0].Ref)
		if err != nil || kind != tt.kind || d.GetFileLength() != uint64(m.Files[0].Size) {
			t.Errorf("the reference of %s gave %v, %q, %v", tt.name, d, kind, err)
		}
	}
	for _, bad := range []string{"", "x:y", "image:%%", "image:" + strings.Repeat("A", 100)} {
		if _, _, _, err := reference(bad); err == nil {
			t.Errorf("the reference %q was taken", bad)
		}
	}
}
