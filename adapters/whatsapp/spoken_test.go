package main

import (
	"context"
	"encoding/binary"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.mau.fi/libsignal/ecc"
	"go.mau.fi/libsignal/keys/identity"
	"go.mau.fi/libsignal/keys/prekey"
	"go.mau.fi/libsignal/util/optional"
	"go.mau.fi/whatsmeow"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	waLog "go.mau.fi/whatsmeow/util/log"
	"google.golang.org/protobuf/proto"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/channel/channeltest"
	"nanoclaw/internal/chat"
)

// friend is Ann's phone: a client of the same library, that writes to the device and reads
// what it writes, with keys of its own.
type friend struct {
	t      *testing.T
	client *whatsmeow.Client
	to     types.JID // the device
}

func newFriend(t *testing.T) *friend {
	st, err := openState(t.Context(), filepath.Join(t.TempDir(), "ann.db"))
	must(t, err)
	t.Cleanup(st.close)
	d := st.keys.NewDevice()
	id := types.NewJID(ann.User, types.DefaultUserServer)
	d.ID, d.LID = &id, annID
	d.Account = unproven()
	must(t, d.Save(t.Context()))
	return &friend{t: t, client: whatsmeow.NewClient(d, waLog.Noop), to: device(me)}
}

// bundle reads the keys that a device uploaded, as whoever writes to it first is given them.
func bundle(t *testing.T, n waBinary.Node) *prekey.Bundle {
	t.Helper()
	bytes := func(n waBinary.Node, path ...string) []byte {
		child := n.GetChildByTag(path...)
		b, _ := child.Content.([]byte)
		if b == nil {
			t.Fatalf("its keys have no %q", path)
		}
		return b
	}
	id := func(b []byte) uint32 { return binary.BigEndian.Uint32(append(make([]byte, 4-len(b)), b...)) }
	public := func(b []byte) ecc.ECPublicKeyable { return ecc.NewDjbECPublicKey([32]byte(b)) }
	list := n.GetChildByTag("list")
	one, signed := list.GetChildren()[0], n.GetChildByTag("skey")
	return prekey.NewBundle(id(bytes(n, "registration")), 7,
		optional.NewOptionalUint32(id(bytes(one, "id"))), id(bytes(signed, "id")),
		public(bytes(one, "value")), public(bytes(signed, "value")), [64]byte(bytes(signed, "signature")),
		identity.NewKey(public(bytes(n, "identity"))))
}

// write makes the node of a message. with is for the first.
func (f *friend) write(id string, m *waE2E.Message, with *prekey.Bundle) waBinary.Node {
	f.t.Helper()
	text, err := proto.Marshal(m)
	must(f.t, err)
	//lint:ignore SA1019 it is what the client itself calls
	enc, _, err := f.client.DangerousInternals().EncryptMessageForDevice(f.t.Context(), text, f.to, with, nil, nil)
	must(f.t, err)
	return waBinary.Node{
		Tag: "message", Attrs: waBinary.Attrs{"from": ann.ToNonAD(), "id": id, "type": "text", "t": strconv.FormatInt(time.Now().Unix(), 10), "notify": "Ann", "sender_lid": annID},
		Content: []waBinary.Node{*enc},
	}
}

// read opens a message that the device sent, and says how it was named.
func (f *friend) read(n waBinary.Node) (id string, m *waE2E.Message) {
	f.t.Helper()
	everybody := n.GetChildByTag("participants")
	for _, to := range everybody.GetChildren() {
		if jid, _ := to.Attrs["jid"].(types.JID); jid.User != ann.User && jid.User != annID.User {
			continue
		}
		enc := to.GetChildByTag("enc")
		//lint:ignore SA1019 it is what the client itself calls
		text, _, err := f.client.DangerousInternals().DecryptDM(f.t.Context(), &enc, f.to, enc.Attrs["type"] == "pkmsg", time.Now())
		must(f.t, err)
		m = &waE2E.Message{}
		must(f.t, proto.Unmarshal(text, m))
	}
	if m == nil {
		f.t.Fatalf("nothing in it is for Ann: %v", &n)
	}
	id, _ = n.Attrs["id"].(string)
	return id, m
}

// next is the next node of a kind about a message.
func (a *account) next(ctx context.Context, tag string) waBinary.Node {
	a.t.Helper()
	for {
		select {
		case n := <-a.said:
			if n.Tag == tag {
				return n
			}
		case <-ctx.Done():
			a.t.Fatalf("the device sent no %s", tag)
		}
	}
}

// What Ann writes on her phone comes out of the channel, and WhatsApp hears that it arrived;
// an answer and a reaction come to her phone, under the ids that were chosen for them.
func TestSpoken(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	a, sink := newAccount(t), &channeltest.Sink{}
	s := newServer(t, a.serve)
	c, all := s.wired(sink, "-newest=false", "-spare-number")
	a.scan <- code(t, c)
	up := <-a.up
	said(t, all, channel.Connected, "")
	a.mu.Lock()
	keys := a.bundle
	a.mu.Unlock()
	phone := newFriend(t)

	up.tell(phone.write("3AF2000000000001", &waE2E.Message{Conversation: proto.String("what is the time?")}, bundle(t, keys)))
	if n := a.next(ctx, "receipt"); n.Attrs["id"] != "3AF2000000000001" {
		t.Errorf("WhatsApp was told %v", &n)
	}
	got := sink.Got()
	if len(got) != 1 || got[0].Text != "what is the time?" || string(got[0].Sender.ID) != ann.ToNonAD().String() || got[0].Sender.Name != "Ann" || !got[0].Mentioned {
		t.Fatalf("it came as %+v", got)
	}

	id, err := c.Deliver(ctx, chat.Outbound{ID: 1, To: got[0].From, Kind: chat.Reply, Text: "**Noon**, by `date`.", Key: "k"})
	must(t, err)
	name, m := phone.read(a.next(ctx, "message"))
	if text := m.GetExtendedTextMessage().GetText(); name != messageID("k", 0) || string(id) != name || text != "*Noon*, by `date`." {
		t.Errorf("Ann reads %q, named %q; want the id %q", text, name, messageID("k", 0))
	}
	must(t, c.React(ctx, got[0].From, got[0].ID, "👍"))
	_, m = phone.read(a.next(ctx, "message"))
	if r := m.GetReactionMessage(); r.GetText() != "👍" || r.GetKey().GetID() != "3AF2000000000001" || r.GetKey().GetFromMe() {
		t.Errorf("Ann sees the reaction %v", r)
	}

	up.tell(phone.write("3AF2000000000002", &waE2E.Message{Conversation: proto.String("thanks")}, nil))
	a.next(ctx, "receipt")
	if got := sink.Got(); len(got) != 2 || !strings.Contains(got[1].Text, "thanks") {
		t.Errorf("it came as %+v", got)
	}
}
