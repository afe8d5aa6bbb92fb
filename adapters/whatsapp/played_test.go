package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waAdv"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"google.golang.org/protobuf/encoding/protojson"
)

// This program of the tests is the adapter with WhatsApp played by a test: events go
// through whatsmeow's own client into the adapter, and what the adapter sends comes out,
// over two pipes. Only connecting, and what is sent and fetched, is not the client's.

const playedEnv = "NANOCLAW_TEST_PLAYED"

// With this one it is the adapter as it is, but that the key by which WhatsApp's servers
// prove themselves is the one given.
const wiredEnv = "NANOCLAW_TEST_WIRED"

func TestMain(m *testing.M) {
	args, ready := []string{"-newest=false"}, play
	switch root, err := base64.StdEncoding.DecodeString(os.Getenv(wiredEnv)); {
	case err == nil && len(root) == len(whatsmeow.WACertPubKey):
		whatsmeow.WACertPubKey = [32]byte(root)
		args, ready = os.Args[1:], nil
	case os.Getenv(playedEnv) == "":
		os.Exit(m.Run())
	}
	if err := run(context.Background(), args, os.Stdin, os.Stdout, ready); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// recorded is an event as testdata/events.json has it: what a library of the version in
// go.mod gives for it, without anybody's number or words.
type recorded struct {
	Name    string          `json:"name"`
	Kind    string          `json:"kind"`
	Info    json.RawMessage `json:"info,omitempty"`
	Message json.RawMessage `json:"message,omitempty"`
}

// event is what whatsmeow makes of it.
func (r recorded) event() (any, error) {
	switch r.Kind {
	case "connected":
		return &events.Connected{}, nil
	case "disconnected":
		return &events.Disconnected{}, nil
	case "outdated":
		return &events.ClientOutdated{}, nil
	case "logged_out":
		e := &events.LoggedOut{}
		return e, json.Unmarshal(r.Info, e)
	case "message":
		e := &events.Message{RawMessage: &waE2E.Message{}}
		if err := json.Unmarshal(r.Info, &e.Info); err != nil {
			return nil, err
		}
		if err := protojson.Unmarshal(r.Message, e.RawMessage); err != nil {
			return nil, err
		}
		return e.UnwrapRaw(), nil
	}
	return nil, fmt.Errorf("there is no event %q", r.Kind)
}

// toPlayed is what the test says: play an event, or the answer to what was asked.
type toPlayed struct {
	N      int       `json:"n"`
	Event  *recorded `json:"event,omitempty"`
	Error  string    `json:"error,omitempty"`
	Gone   bool      `json:"gone,omitempty"` // the account is not in the chat
	Binary []byte    `json:"binary,omitempty"`
}

// fromPlayed is what came of an event, or what the adapter does.
type fromPlayed struct {
	N      int    `json:"n"`
	Ask    string `json:"ask,omitempty"` // "", "connect", "send", "upload", "download", "typing"
	Taken  bool   `json:"taken,omitempty"`
	Error  string `json:"error,omitempty"`
	To     string `json:"to,omitempty"`
	ID     string `json:"id,omitempty"`
	Text   string `json:"text,omitempty"`
	Kind   string `json:"kind,omitempty"`
	Binary []byte `json:"binary,omitempty"`
}

// played is the network that the test plays.
type played struct {
	a *adapter

	mu      sync.Mutex
	out     *json.Encoder
	n       int
	answers map[int]chan toPlayed
}

// unproven is a link to an account that nobody made: it is stored, and proves nothing.
func unproven() *waAdv.ADVSignedDeviceIdentity {
	return &waAdv.ADVSignedDeviceIdentity{Details: []byte{1}, AccountSignature: make([]byte, 64), AccountSignatureKey: make([]byte, 32), DeviceSignature: make([]byte, 64)}
}

// play links the device, as if somebody had, and puts the played network in.
func play(a *adapter) error {
	p := &played{a: a, out: json.NewEncoder(os.NewFile(4, "out")), answers: map[int]chan toPlayed{}}
	if a.client.Store.ID == nil {
		id := me
		id.Device = 3
		a.client.Store.ID, a.client.Store.LID = &id, myLID
		a.client.Store.Account = unproven()
		if err := a.client.Store.Save(a.ctx); err != nil {
			return err
		}
		if err := a.client.Store.LIDs.PutLIDMapping(a.ctx, annID, ann); err != nil {
			return err
		}
	}
	a.net, a.pace.every = p, time.Microsecond
	return nil
}

// read takes the test's lines. Events are played one after the other, as the library
// does.
func (p *played) read() {
	in := bufio.NewReader(os.NewFile(3, "in"))
	queue := make(chan toPlayed, 1000)
	go func() {
		for l := range queue {
			e, err := l.Event.event()
			if err != nil {
				p.say(fromPlayed{N: l.N, Error: err.Error()})
				continue
			}
			p.say(fromPlayed{N: l.N, Taken: p.taken(e)})
		}
	}()
	for d := json.NewDecoder(in); ; {
		var l toPlayed
		if d.Decode(&l) != nil {
			return
		}
		if l.Event != nil {
			queue <- l
			continue
		}
		p.mu.Lock()
		c := p.answers[l.N]
		delete(p.answers, l.N)
		p.mu.Unlock()
		if c != nil {
			c <- l
		}
	}
}

// taken gives an event to whoever listens at the library's client.
func (p *played) taken(e any) bool {
	//lint:ignore SA1019 it is what the client itself calls
	return !p.a.client.DangerousInternals().DispatchEvent(e)
}

func (p *played) say(l fromPlayed) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out.Encode(l)
}

func (p *played) ask(ctx context.Context, l fromPlayed) (toPlayed, error) {
	c := make(chan toPlayed, 1)
	p.mu.Lock()
	p.n++
	l.N = p.n
	p.answers[l.N] = c
	p.out.Encode(l)
	p.mu.Unlock()
	select {
	case got := <-c:
		switch {
		case got.Gone:
			return got, whatsmeow.ErrNotInGroup
		case got.Error != "":
			return got, errors.New(got.Error)
		}
		return got, nil
	case <-ctx.Done():
		return toPlayed{}, ctx.Err()
	}
}

func (p *played) ConnectContext(ctx context.Context) error {
	go p.read()
	_, err := p.ask(ctx, fromPlayed{Ask: "connect"})
	if err == nil {
		p.taken(&events.Connected{})
	}
	return err
}

func (p *played) Disconnect() {}

func (p *played) GetJoinedGroups(context.Context) ([]*types.GroupInfo, error) {
	return []*types.GroupInfo{{JID: group, GroupName: types.GroupName{Name: "The team"}}}, nil
}

func (p *played) SendMessage(ctx context.Context, to types.JID, m *waE2E.Message, extra ...whatsmeow.SendRequestExtra) (whatsmeow.SendResponse, error) {
	words, _, f := content(m)
	l := fromPlayed{Ask: "send", To: to.String(), ID: extra[0].ID, Text: words}
	if r := m.GetReactionMessage(); r != nil {
		l.Ask, l.Text, l.Kind = "react", r.GetText(), r.GetKey().String()
	}
	if f != nil {
		l.Kind = f.Type
	}
	_, err := p.ask(ctx, l)
	return whatsmeow.SendResponse{ID: l.ID}, err
}

func (p *played) Upload(ctx context.Context, data []byte, kind whatsmeow.MediaType) (whatsmeow.UploadResponse, error) {
	_, err := p.ask(ctx, fromPlayed{Ask: "upload", Kind: string(kind), Binary: data})
	return whatsmeow.UploadResponse{DirectPath: "/v/up", FileLength: uint64(len(data))}, err
}

func (p *played) DownloadMediaWithPath(ctx context.Context, path string, _, _, _ []byte, kind whatsmeow.MediaType, _ string, _ bool) ([]byte, error) {
	got, err := p.ask(ctx, fromPlayed{Ask: "download", Kind: string(kind), Text: path})
	return got.Binary, err
}

func (p *played) SendPresence(context.Context, types.Presence) error { return nil }

func (p *played) SendChatPresence(_ context.Context, to types.JID, state types.ChatPresence, _ types.ChatPresenceMedia) error {
	p.say(fromPlayed{Ask: "typing", To: to.String(), Kind: string(state)})
	return nil
}
