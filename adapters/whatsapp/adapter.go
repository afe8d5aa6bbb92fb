package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	waLog "go.mau.fi/whatsmeow/util/log"
)

// network is what goes out to WhatsApp once a device is linked: a client of whatsmeow.
type network interface {
	ConnectContext(ctx context.Context) error
	Disconnect()
	GetJoinedGroups(ctx context.Context) ([]*types.GroupInfo, error)
	SendMessage(ctx context.Context, to types.JID, m *waE2E.Message, extra ...whatsmeow.SendRequestExtra) (whatsmeow.SendResponse, error)
	Upload(ctx context.Context, data []byte, kind whatsmeow.MediaType) (whatsmeow.UploadResponse, error)
	DownloadMediaWithPath(ctx context.Context, path string, encHash, hash, key []byte, kind whatsmeow.MediaType, mms string, disableMmsFallback bool) ([]byte, error)
	SendPresence(ctx context.Context, p types.Presence) error
	SendChatPresence(ctx context.Context, to types.JID, p types.ChatPresence, m types.ChatPresenceMedia) error
}

var _ network = (*whatsmeow.Client)(nil)

// adapter is a linked device, or one that is to be linked.
type adapter struct {
	o      options
	host   *host
	state  *state
	client *whatsmeow.Client
	net    network // the client
	quit   context.CancelCauseFunc
	ctx    context.Context

	logins chan struct{}
	sends  chan func(context.Context) // one after the other, so that order and pace are kept
	pace   pace

	mu    sync.Mutex
	shows map[string]context.CancelFunc // chats in which typing is shown
	calls map[uint64]context.CancelFunc
}

func newAdapter(ctx context.Context, o options, h *host, st *state, quit context.CancelCauseFunc) (*adapter, error) {
	device, err := st.keys.GetFirstDevice(ctx)
	if err != nil {
		return nil, fmt.Errorf("the device cannot be read: %w", err)
	}
	a := &adapter{
		o: o, host: h, state: st, quit: quit, ctx: ctx, client: whatsmeow.NewClient(device, waLog.Noop),
		logins: make(chan struct{}, 1), sends: make(chan func(context.Context), 64),
		shows: map[string]context.CancelFunc{}, calls: map[uint64]context.CancelFunc{},
	}
	store.SetOSInfo("NanoClaw", [3]uint32{1, 0, 0})
	a.net, a.pace.every = a.client, sendEvery
	a.client.SetProxy(way)
	a.client.SynchronousAck = true // to WhatsApp, after the host's
	a.client.AddEventHandlerWithSuccessStatus(a.event)
	return a, nil
}

// way is the proxy of the boundary, for everything.
func way(*http.Request) (*url.URL, error) {
	proxy := os.Getenv("HTTPS_PROXY")
	if proxy == "" {
		return nil, nil
	}
	return url.Parse(proxy)
}

// serve connects, and works until ctx ends.
func (a *adapter) serve(ctx context.Context) {
	a.host.say("hello", line{"version": 1, "name": "nanoclaw-whatsapp", "abilities": []string{"files", "fetch", "typing", "login", "reactions"}, "markup": "whatsapp", "max_file": maxFile})
	defer a.net.Disconnect()
	go a.begin(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case send := <-a.sends:
			timer := time.NewTimer(a.pace.wait(time.Now()))
			select {
			case <-timer.C:
				send(ctx)
			case <-ctx.Done():
				timer.Stop()
				return
			}
		}
	}
}

// begin connects a device that is linked, and waits for somebody to link one that is
// not: WhatsApp is asked for a code only when there is somebody to scan it.
func (a *adapter) begin(ctx context.Context) {
	if a.o.version {
		newest(ctx)
	}
	if a.client.Store.ID != nil {
		a.host.state("connecting", "", "")
		if err := a.net.ConnectContext(ctx); err != nil {
			a.quit(fmt.Errorf("WhatsApp cannot be reached: %w", err))
		}
		return
	}
	a.host.state("waiting", "it is not linked to an account: nanoclaw channel login "+a.host.channel(), "")
	for {
		select {
		case <-a.logins:
		case <-ctx.Done():
			return
		}
		if a.link(ctx) {
			return
		}
	}
}

// newest says that we are the newest version of the web client, as far as WhatsApp
// tells which that is. If it does not, the one of the library is used.
func newest(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	v, err := whatsmeow.GetLatestVersion(ctx, &http.Client{Transport: &http.Transport{Proxy: way}})
	if err == nil && store.GetWAVersion().LessThan(*v) {
		store.SetWAVersion(*v)
	}
}

// link goes through one login, and says whether it came to its end. Why it did not stays
// the state until the next: whoever asked for it looks there.
func (a *adapter) link(ctx context.Context) bool {
	defer a.host.say("login", line{})
	codes, err := a.client.GetQRChannel(ctx)
	if err == nil {
		err = a.client.ConnectContext(ctx)
	}
	if err != nil {
		a.host.state("waiting", "WhatsApp cannot be reached: "+err.Error(), "")
		return false
	}
	asked := false
	for item := range codes {
		switch {
		case item.Event == whatsmeow.QRChannelEventCode && a.o.phone == "":
			a.host.say("login", line{"text": "On the phone open WhatsApp, Settings, Linked devices, Link a device, and scan this code.", "qr": item.Code})
		case item.Event == whatsmeow.QRChannelEventCode && !asked:
			asked = true
			a.typeCode(ctx)
		case item.Event == whatsmeow.QRChannelSuccess.Event:
			return true
		case item.Event == whatsmeow.QRChannelClientOutdated.Event:
			a.event(&events.ClientOutdated{})
			return true
		case item.Event == whatsmeow.QRChannelTimeout.Event:
			a.host.state("waiting", "it was not linked before the codes ran out or the connection was lost: nanoclaw channel login "+a.host.channel(), "")
			a.client.Disconnect()
			return false
		case item.Event == whatsmeow.QRChannelErrUnexpectedEvent.Event:
			return false // event has said what WhatsApp wants
		case item.Event == whatsmeow.QRChannelEventError:
			a.host.state("waiting", "linking failed: "+item.Error.Error(), "")
			a.client.Disconnect()
			return false
		}
	}
	a.host.state("waiting", "linking ended before it was done: nanoclaw channel login "+a.host.channel(), "")
	return false
}

// typeCode asks for a code that is typed in on the phone.
func (a *adapter) typeCode(ctx context.Context) {
	code, err := a.client.PairPhone(ctx, a.o.phone, true, whatsmeow.PairClientChrome, "Chrome (Linux)")
	if err != nil {
		a.host.state("waiting", "WhatsApp gives no code for this number: "+err.Error(), "")
		return
	}
	a.host.say("login", line{"text": "On the phone open WhatsApp, Settings, Linked devices, Link a device, Link with phone number instead, and type in this code.", "copy": code})
}

// event takes one of whatsmeow's. It is false for a message that is not stored: then
// WhatsApp gives it again.
func (a *adapter) event(raw any) bool {
	if e, ok := raw.(*events.Message); ok {
		m, ok := a.reader().read(e)
		if !ok {
			return true
		}
		if err := a.state.heard(a.ctx, m.Chat, m.ID, e.Info.Chat, e.Info.Sender); err != nil {
			return false
		}
		return a.host.deliver(a.ctx, m)
	}
	if _, ok := raw.(*events.Connected); ok {
		a.host.state("connected", "", a.client.Store.GetJID().ToNonAD().String())
		go a.chats()
		return true
	}
	if state, cause, over := words(raw, a.host.channel()); state != "" {
		a.host.state(state, cause, "")
		if over {
			a.quit(errors.New(cause))
		}
	}
	return true
}

// words say what an event means for the connection. over: this program is of no more
// use, and the next one begins anew.
func words(raw any, channel string) (state, cause string, over bool) {
	switch e := raw.(type) {
	case *events.Disconnected:
		return "connecting", "the connection to WhatsApp was lost", false
	case *events.KeepAliveTimeout:
		return "connecting", "WhatsApp does not answer", false
	case *events.KeepAliveRestored:
		return "connected", "", false
	case *events.LoggedOut:
		return "waiting", "the device was logged out of the account (" + e.Reason.String() + "): link it anew with nanoclaw channel login " + channel, true
	case *events.ClientOutdated:
		return "ended", "WhatsApp does not take this version any more (405, client outdated): build a newer nanoclaw-whatsapp", false
	case *events.StreamReplaced:
		return "ended", "another program uses the keys of this device: only one can", false
	case *events.TemporaryBan:
		return "ended", "WhatsApp has banned the account for a time: " + e.String(), false
	case *events.CATRefreshError:
		return "waiting", "WhatsApp does not renew the login", true
	case *events.ConnectFailure:
		return "waiting", "WhatsApp refuses the connection: " + e.Reason.String(), true
	case *events.StreamError:
		return "connecting", "WhatsApp ended the connection (" + e.Code + ")", false
	}
	return "", "", false
}

func (a *adapter) reader() reader {
	return reader{pn: a.client.Store.GetJID(), lid: a.client.Store.GetLID(), spare: a.o.spare, ours: a.state.ours, phone: func(lid types.JID) types.JID {
		pn, err := a.client.Store.LIDs.GetPNForLID(a.ctx, lid)
		if err != nil {
			return types.EmptyJID
		}
		return pn
	}}
}

// chats tells which groups the account is in.
func (a *adapter) chats() {
	groups, err := a.net.GetJoinedGroups(a.ctx)
	if err != nil {
		return
	}
	list := []place{{a.client.Store.GetJID().ToNonAD().String(), "yourself"}}
	for _, g := range groups[:min(len(groups), 499)] {
		list = append(list, place{g.JID.String(), g.Name})
	}
	a.host.say("chats", line{"chats": list})
}

func (a *adapter) login() {
	select {
	case a.logins <- struct{}{}:
	default:
	}
}
