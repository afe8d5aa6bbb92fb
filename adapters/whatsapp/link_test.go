package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mau.fi/libsignal/ecc"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waAdv"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/util/keys"
	"google.golang.org/protobuf/proto"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/channel/channeltest"
	"nanoclaw/internal/channel/external"
	"nanoclaw/internal/channel/supervise"
)

// account is what WhatsApp knows of an account: the phone that scans, and the device that
// is linked then.
type account struct {
	t     *testing.T
	phone *keys.KeyPair // the account's identity, on the phone

	mu     sync.Mutex
	noise  []byte        // of the device, from its code
	scan   chan string   // codes that the phone is held to
	signed chan struct{} // closed when the device has signed
	up     chan *session // connections that are logged in
	keys   int           // that were uploaded for people to write to it
	bundle waBinary.Node // these keys
	// said are the nodes that the device sends by itself, but for answers.
	said chan waBinary.Node
	// refuse is told at the login in the place of success, if it has a tag.
	refuse waBinary.Node
}

func newAccount(t *testing.T) *account {
	return &account{t: t, phone: keys.NewKeyPair(), scan: make(chan string), signed: make(chan struct{}), up: make(chan *session, 10), said: make(chan waBinary.Node, 100)}
}

// serve is the server's side of one connection.
func (a *account) serve(c *session) {
	if c.err != nil {
		a.t.Errorf("the handshake: %v", c.err)
		return
	}
	if c.payload.GetDevicePairingData() != nil {
		a.pair(c)
		return
	}
	a.mu.Lock()
	refuse := a.refuse
	known := bytes.Equal(c.client, a.noise) && strconv.FormatUint(c.payload.GetUsername(), 10) == me.User && c.payload.GetDevice() == 7
	a.mu.Unlock()
	switch {
	case !known:
		a.t.Errorf("somebody else logs in: %d", c.payload.GetUsername())
		return
	case refuse.Tag != "":
		c.tell(refuse)
		for c.hear() != nil {
		}
		return
	}
	c.tell(waBinary.Node{Tag: "success", Attrs: waBinary.Attrs{"t": strconv.FormatInt(time.Now().Unix(), 10), "lid": device(myLID)}})
	a.up <- c
	for n := c.hear(); n != nil; n = c.hear() {
		switch {
		case n.Tag == "iq" && n.Attrs["type"] != "result":
			c.tell(a.answer(n))
		case n.Tag == "message":
			c.tell(waBinary.Node{Tag: "ack", Attrs: waBinary.Attrs{"class": "message", "id": n.Attrs["id"], "from": n.Attrs["to"], "t": strconv.FormatInt(time.Now().Unix(), 10)}})
			a.said <- *n
		case n.Tag == "receipt", n.Tag == "ack":
			a.said <- *n
		}
	}
}

// device is the linked device's own name by an identity of the account.
func device(jid types.JID) types.JID {
	jid.Device = 7
	return jid
}

// pair shows codes to be scanned, and links who was.
func (a *account) pair(c *session) {
	refs := make([]waBinary.Node, 6)
	for i := range refs {
		refs[i] = waBinary.Node{Tag: "ref", Content: []byte("ref" + strconv.Itoa(i))}
	}
	c.tell(waBinary.Node{Tag: "iq", Attrs: waBinary.Attrs{"from": types.ServerJID, "id": "p1", "type": "set"}, Content: []waBinary.Node{{Tag: "pair-device", Content: refs}}})
	over := make(chan struct{})
	defer close(over)
	var code []string
	go func() {
		select {
		case text := <-a.scan:
			_, rest, _ := strings.Cut(text, "#")
			fields := strings.Split(rest, ",")
			if len(fields) != 5 || fields[0] != "ref0" {
				a.t.Errorf("the code is %q", text)
				return
			}
			a.mu.Lock()
			code = fields
			a.mu.Unlock()
			c.tell(a.success(fields))
		case <-over:
		}
	}()
	for n := c.hear(); n != nil; n = c.hear() {
		if n.Attrs["xmlns"] == "md" { // it asks for a code to type
			reg := n.GetChildByTag("link_code_companion_reg")
			if reg.Attrs["jid"] != me.ToNonAD() {
				a.t.Errorf("a code is asked for the number %v", reg.Attrs["jid"])
			}
			c.tell(waBinary.Node{Tag: "iq", Attrs: waBinary.Attrs{"from": types.ServerJID, "id": n.Attrs["id"], "type": "result"}, Content: []waBinary.Node{{
				Tag: "link_code_companion_reg", Content: []waBinary.Node{{Tag: "link_code_pairing_ref", Content: []byte("ref")}},
			}}})
		}
		if n.Tag != "iq" || n.Attrs["id"] != "p2" {
			continue
		}
		a.mu.Lock()
		a.checkDevice(n, code)
		a.mu.Unlock()
		close(a.signed)
		c.tell(waBinary.Node{Tag: "stream:error", Attrs: waBinary.Attrs{"code": "515"}})
	}
}

// success is what the phone and the server say to a code: whose device it is now, signed
// by the account and sealed with the secret of the code, which no server sees.
func (a *account) success(code []string) waBinary.Node {
	marshal := func(m proto.Message) []byte {
		b, err := proto.Marshal(m)
		if err != nil {
			a.t.Error(err)
		}
		return b
	}
	decode := func(s string) []byte {
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			a.t.Error(err)
		}
		return b
	}
	details := marshal(&waAdv.ADVDeviceIdentity{RawID: proto.Uint32(1), Timestamp: proto.Uint64(uint64(time.Now().Unix())), KeyIndex: proto.Uint32(1)})
	signature := ecc.CalculateSignature(ecc.NewDjbECPrivateKey(*a.phone.Priv), append(append([]byte{6, 0}, details...), decode(code[2])...))
	signed := marshal(&waAdv.ADVSignedDeviceIdentity{Details: details, AccountSignatureKey: a.phone.Pub[:], AccountSignature: signature[:]})
	seal := hmac.New(sha256.New, decode(code[3]))
	seal.Write(signed)
	a.mu.Lock()
	a.noise = decode(code[1])
	a.mu.Unlock()
	return waBinary.Node{
		Tag: "iq", Attrs: waBinary.Attrs{"from": types.ServerJID, "id": "p2", "type": "set", "t": strconv.FormatInt(time.Now().Unix(), 10)},
		Content: []waBinary.Node{{Tag: "pair-success", Content: []waBinary.Node{
			{Tag: "device-identity", Content: marshal(&waAdv.ADVSignedDeviceIdentityHMAC{Details: signed, HMAC: seal.Sum(nil)})},
			{Tag: "device", Attrs: waBinary.Attrs{"jid": device(me), "lid": device(myLID)}},
			{Tag: "platform", Attrs: waBinary.Attrs{"name": "android"}},
		}}},
	}
}

// checkDevice checks that the device signed what the phone had.
func (a *account) checkDevice(n *waBinary.Node, code []string) {
	identity, err := base64.StdEncoding.DecodeString(code[2])
	if err != nil || n.Attrs["type"] != "result" {
		a.t.Errorf("the device answers %v", n)
		return
	}
	content, _ := n.GetChildByTag("pair-device-sign", "device-identity").Content.([]byte)
	var signed waAdv.ADVSignedDeviceIdentity
	if err := proto.Unmarshal(content, &signed); err != nil || len(signed.GetDeviceSignature()) != 64 {
		a.t.Errorf("the device signs %x: %v", content, err)
		return
	}
	text := append(append(append([]byte{6, 1}, signed.GetDetails()...), identity...), a.phone.Pub[:]...)
	if !ecc.VerifySignature(ecc.NewDjbECPublicKey([32]byte(identity)), text, [64]byte(signed.GetDeviceSignature())) {
		a.t.Error("the device's signature is not good")
	}
}

// answer is the server's to a question of the device's.
func (a *account) answer(n *waBinary.Node) waBinary.Node {
	out := waBinary.Node{Tag: "iq", Attrs: waBinary.Attrs{"from": types.ServerJID, "id": n.Attrs["id"], "type": "result"}}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case n.Attrs["xmlns"] == "encrypt" && n.Attrs["type"] == "get":
		out.Content = []waBinary.Node{{Tag: "count", Attrs: waBinary.Attrs{"value": strconv.Itoa(a.keys)}}}
	case n.Attrs["xmlns"] == "encrypt":
		list := n.GetChildByTag("list")
		a.keys, a.bundle = a.keys+len(list.GetChildren()), *n
	case n.Attrs["xmlns"] == "usync":
		var users []waBinary.Node
		list := n.GetChildByTag("usync", "list")
		for _, u := range list.GetChildren() {
			id, lid := "0", annID
			if jid := u.Attrs["jid"].(types.JID); jid.User == me.User || jid.User == myLID.User {
				id, lid = "7", myLID
			}
			users = append(users, waBinary.Node{Tag: "user", Attrs: u.Attrs, Content: []waBinary.Node{
				{Tag: "lid", Attrs: waBinary.Attrs{"val": lid}},
				{Tag: "devices", Content: []waBinary.Node{{Tag: "device-list", Content: []waBinary.Node{{Tag: "device", Attrs: waBinary.Attrs{"id": id}}}}}},
			}})
		}
		out.Content = []waBinary.Node{{Tag: "usync", Content: []waBinary.Node{{Tag: "list", Content: users}}}}
	case n.Attrs["xmlns"] == "w:g2":
		out.Attrs["from"] = types.GroupServerJID
		out.Content = []waBinary.Node{{Tag: "groups", Content: []waBinary.Node{{Tag: "group", Attrs: waBinary.Attrs{
			"id": group.User, "subject": "The team", "creation": "1700000000", "s_t": "1700000000", "s_o": ann, "creator": ann,
		}}}}}
	}
	return out
}

// wired is the channel of an adapter that speaks with the server.
func (s *server) wired(sink channel.Sink, args ...string) (*external.Channel, func() []channel.Status) {
	home := s.t.TempDir()
	c := external.New(external.Options{
		ID: "whatsapp", Supervise: supervise.Options{First: time.Millisecond, Most: 5 * time.Millisecond},
		Start: func(context.Context) (external.Program, error) {
			l, err := newLife(home, []string{wiredEnv + "=" + base64.StdEncoding.EncodeToString(s.root.Pub[:]), "HTTPS_PROXY=" + s.proxy, "SSL_CERT_FILE=" + s.ca}, args...)
			if err != nil {
				return nil, err
			}
			return l, l.cmd.Start()
		},
	})
	var mu sync.Mutex
	var all []channel.Status
	c.OnStatus(func(st channel.Status) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, st)
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { c.Run(ctx, sink); close(done) }()
	s.t.Cleanup(func() { cancel(); <-done })
	return c, func() []channel.Status {
		mu.Lock()
		defer mu.Unlock()
		return append([]channel.Status{}, all...)
	}
}

// code asks for a login, as "nanoclaw channel login" does, until there is a code.
func code(t *testing.T, c *external.Channel) string {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if step, err := c.Login(t.Context()); err == nil && step != nil && step.QR != "" {
			return step.QR
		}
	}
	t.Fatal("no code was shown")
	return ""
}

// said waits until the channel's state is told with words.
func said(t *testing.T, all func() []channel.Status, state channel.State, words string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		for _, s := range all() {
			if s.State == state && strings.Contains(s.Cause, words) {
				return
			}
		}
	}
	t.Fatalf("it was not said that it is %s, %q, but %+v", state, words, all())
}

// A device is linked by its code against a server that speaks WhatsApp's wire, logs in
// with its keys, comes back by itself when the connection is cut, and tells its chats.
func TestLink(t *testing.T) {
	a := newAccount(t)
	s := newServer(t, a.serve)
	c, all := s.wired(&channeltest.Sink{}, "-newest=false")
	a.scan <- code(t, c)
	<-a.signed
	first := <-a.up
	said(t, all, channel.Connected, "")
	for end := time.Now().Add(time.Minute); len(c.Rooms()) != 2; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("its chats are %+v", c.Rooms())
		}
	}
	if got := c.Rooms(); string(got[0].Chat) != me.String() || string(got[1].Chat) != group.String() || got[1].Name != "The team" {
		t.Errorf("its chats are %+v", got)
	}
	if string(c.Self()) != me.String() {
		t.Errorf("it is %q", c.Self())
	}
	a.mu.Lock()
	uploaded := a.keys
	a.mu.Unlock()
	if uploaded < 5 {
		t.Errorf("it uploaded %d keys for people to write to it", uploaded)
	}
	if step, err := c.Login(t.Context()); err != nil || step != nil {
		t.Errorf("somebody who is linked is shown %+v, %v", step, err)
	}
	first.conn.CloseNow()
	<-a.up
	said(t, all, channel.Connecting, "lost")
}

// Who has the phone's number in the configuration is given a code to type in on it.
func TestTypedCode(t *testing.T) {
	s := newServer(t, newAccount(t).serve)
	c, _ := s.wired(&channeltest.Sink{}, "-newest=false", "-phone", me.User)
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		step, err := c.Login(t.Context())
		if err == nil && step != nil && step.Copy != "" {
			if !regexp.MustCompile(`^[0-9A-Z]{4}-[0-9A-Z]{4}$`).MatchString(step.Copy) || !strings.Contains(step.Text, "type in this code") {
				t.Errorf("what is shown is %+v", step)
			}
			return
		}
		if time.Now().After(end) {
			t.Fatalf("no code was shown: %v", err)
		}
	}
}

// What WhatsApp says to a device that logs in is said in words.
func TestRefused(t *testing.T) {
	failure := func(reason string) waBinary.Node {
		return waBinary.Node{Tag: "failure", Attrs: waBinary.Attrs{"reason": reason}}
	}
	for _, tt := range []struct {
		name  string
		tell  waBinary.Node
		state channel.State
		words string
	}{
		{"outdated", failure("405"), channel.Ended, "client outdated"},
		{"logged out", failure("401"), channel.Waiting, "was logged out of the account"},
		{"replaced", waBinary.Node{Tag: "stream:error", Content: []waBinary.Node{{Tag: "conflict", Attrs: waBinary.Attrs{"type": "replaced"}}}}, channel.Ended, "only one can"},
		{"banned", waBinary.Node{Tag: "failure", Attrs: waBinary.Attrs{"reason": "402", "code": "101", "expire": "3600"}}, channel.Ended, "banned"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newAccount(t)
			a.refuse = tt.tell
			s := newServer(t, a.serve)
			c, all := s.wired(&channeltest.Sink{}, "-newest=false")
			a.scan <- code(t, c)
			said(t, all, tt.state, tt.words)
		})
	}
}

// Why nobody could be linked is said, too: what WhatsApp wants, or that it is gone.
func TestLinkRefused(t *testing.T) {
	for _, tt := range []struct {
		name, words string
		serve       func(*session)
	}{
		{"refused", "refuses the connection", func(c *session) {
			c.tell(waBinary.Node{Tag: "failure", Attrs: waBinary.Attrs{"reason": "418"}})
			for c.hear() != nil {
			}
		}},
		{"gone", "the connection was lost: nanoclaw channel login whatsapp", func(c *session) {
			c.tell(waBinary.Node{Tag: "iq", Attrs: waBinary.Attrs{"from": types.ServerJID, "id": "p1", "type": "set"}, Content: []waBinary.Node{{
				Tag: "pair-device", Content: []waBinary.Node{{Tag: "ref", Content: []byte("ref0")}},
			}}})
			c.hear() // the device has the code
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t, tt.serve)
			c, all := s.wired(&channeltest.Sink{}, "-newest=false")
			c.Login(t.Context())
			said(t, all, channel.Waiting, tt.words)
		})
	}
}

// A server that is not WhatsApp's has no certificate of WhatsApp's: it gets nothing but the
// beginning of a handshake, and nobody is shown a code of it.
func TestImpostor(t *testing.T) {
	ended := make(chan error, 100)
	s := newServer(t, func(c *session) {
		if c.err == nil {
			t.Error("an impostor was told who the device is")
		}
		ended <- c.err
	})
	s.signer = keys.NewKeyPair()
	c, all := s.wired(&channeltest.Sink{}, "-newest=false")
	for end := time.Now().Add(time.Minute); len(ended) == 0; time.Sleep(5 * time.Millisecond) {
		if step, _ := c.Login(t.Context()); step != nil && step.QR != "" || time.Now().After(end) {
			t.Fatalf("it shows %+v", step)
		}
	}
	said(t, all, channel.Waiting, "verify server cert")
}
