package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// The lines of docs/adapters.md that this adapter uses.

// fromHost is any line of the host's.
type fromHost struct {
	Type    string   `json:"type"`
	Version int      `json:"version"`
	Channel string   `json:"channel"`
	Seq     uint64   `json:"seq"`
	Call    uint64   `json:"call"`
	Chat    string   `json:"chat"`
	Key     string   `json:"key"`
	Parts   []string `json:"parts"`
	File    *file    `json:"file"`
	Ref     string   `json:"ref"`
	Data    string   `json:"data"`
	On      bool     `json:"on"`
	Nonce   string   `json:"nonce"`
	ID      string   `json:"id"`
	Emoji   string   `json:"emoji"`
}

type file struct {
	Name string `json:"name,omitempty"`
	Type string `json:"type,omitempty"`
	Size int64  `json:"size,omitempty"`
	Ref  string `json:"ref,omitempty"`
}

type quote struct {
	Author    string `json:"author,omitempty"`
	Text      string `json:"text"`
	Forwarded bool   `json:"forwarded,omitempty"`
}

// message is what somebody said.
type message struct {
	ID        string    `json:"id"`
	Chat      string    `json:"chat"`
	Sender    string    `json:"sender"`
	Name      string    `json:"name,omitempty"`
	Self      bool      `json:"self,omitempty"`
	Text      string    `json:"text"`
	Sent      time.Time `json:"sent"`
	Mentioned bool      `json:"mentioned,omitempty"`
	Quotes    []quote   `json:"quotes,omitempty"`
	Files     []file    `json:"files,omitempty"`
}

type place struct {
	Chat string `json:"chat"`
	Name string `json:"name"`
}

// line is any of ours.
type line map[string]any

// host is the other end of the pipe.
type host struct {
	mu      sync.Mutex
	out     io.Writer
	seq     uint64
	waiting map[uint64]chan bool
	window  chan struct{}
	files   map[uint64]*bytes.Buffer // that are coming, by call; of the reader alone
	asked   map[uint64]fromHost
	name    string
}

// maxFile is the largest file that is sent: it is in memory twice.
const maxFile = 64 << 20

func newHost(out io.Writer) *host {
	return &host{out: out, waiting: map[uint64]chan bool{}, window: make(chan struct{}, 32), files: map[uint64]*bytes.Buffer{}, asked: map[uint64]fromHost{}}
}

// say writes a line. That the host is gone shows at the input.
func (h *host) say(kind string, l line) {
	l["type"] = kind
	data, err := json.Marshal(l)
	if err != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.out.Write(append(data, '\n'))
}

func (h *host) state(state, cause, self string) {
	h.say("state", line{"state": state, "cause": cause, "self": self})
}

// deliver hands a message over, and says whether the host has stored it.
func (h *host) deliver(ctx context.Context, m message) bool {
	select {
	case h.window <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	defer func() { <-h.window }()
	stored := make(chan bool, 1)
	h.mu.Lock()
	h.seq++
	seq := h.seq
	h.waiting[seq] = stored
	data, err := json.Marshal(line{"type": "message", "seq": seq, "message": m})
	if err == nil { // under the lock, since numbers have to grow
		_, err = h.out.Write(append(data, '\n'))
	}
	h.mu.Unlock()
	if err != nil {
		return false
	}
	select {
	case ok := <-stored:
		return ok
	case <-ctx.Done():
		return false
	}
}

func (h *host) answered(seq uint64, stored bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.waiting[seq]; c != nil {
		c <- stored
		delete(h.waiting, seq)
	}
}

// fail kinds of a result.
const (
	never = "never"
	later = "later"
)

// failure is an error with its kind.
type failure struct {
	kind string
	err  error
}

func (f *failure) Error() string { return f.err.Error() }

// result ends a call.
func (h *host) result(call uint64, id string, err error) {
	l := line{"call": call, "id": id}
	if err != nil {
		kind := later
		var f *failure
		if errors.As(err, &f) {
			kind = f.kind
		}
		l = line{"call": call, "failure": kind, "error": err.Error()}
	}
	h.say("result", l)
}

// chunk gives a piece of a file.
func (h *host) chunks(call uint64, data []byte) {
	const most = 48 << 10
	for len(data) > 0 {
		n := min(most, len(data))
		h.say("chunk", line{"call": call, "data": base64.StdEncoding.EncodeToString(data[:n])})
		data = data[n:]
	}
}

// handler is whoever works for the host. Calls return at once.
type handler interface {
	login()
	deliver(l fromHost, file []byte)
	fetch(l fromHost)
	react(l fromHost)
	typing(chat string, on bool)
	cancel(call uint64)
}

// read takes the host's lines until they end. Its error is io.EOF then.
func (h *host) read(in io.Reader, to handler) error {
	r := bufio.NewReaderSize(in, 64<<10)
	for {
		data, err := r.ReadBytes('\n')
		if err != nil {
			return err
		}
		var l fromHost
		if err := json.Unmarshal(data, &l); err != nil {
			return fmt.Errorf("the host said what is no line: %w", err)
		}
		if err := h.take(l, to); err != nil {
			return err
		}
	}
}

func (h *host) take(l fromHost, to handler) error {
	switch l.Type {
	case "hello":
		if l.Version != 1 {
			return fmt.Errorf("the host speaks version %d of the protocol, and this program version 1", l.Version)
		}
		h.mu.Lock()
		h.name = l.Channel
		h.mu.Unlock()
	case "ack", "nack":
		h.answered(l.Seq, l.Type == "ack")
	case "ping":
		h.say("pong", line{"nonce": l.Nonce})
	case "login":
		to.login()
	case "typing":
		to.typing(l.Chat, l.On)
	case "fetch":
		to.fetch(l)
	case "react":
		to.react(l)
	case "cancel":
		delete(h.files, l.Call)
		delete(h.asked, l.Call)
		to.cancel(l.Call)
	case "deliver":
		if l.File == nil {
			to.deliver(l, nil)
			return nil
		}
		h.files[l.Call], h.asked[l.Call] = &bytes.Buffer{}, l
	case "chunk":
		b, err := base64.StdEncoding.DecodeString(l.Data)
		if f := h.files[l.Call]; f != nil && err == nil && f.Len()+len(b) <= maxFile {
			f.Write(b)
		}
	case "end":
		if f := h.files[l.Call]; f != nil {
			to.deliver(h.asked[l.Call], f.Bytes())
		}
		delete(h.files, l.Call)
		delete(h.asked, l.Call)
	}
	return nil
}

// channel is how the host calls this network.
func (h *host) channel() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.name == "" {
		return "whatsapp"
	}
	return h.name
}
