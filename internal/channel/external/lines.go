package external

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/markup"
)

// Version is the protocol's. An adapter of another one is refused.
const Version = 1

// Bounds of what an adapter says.
const (
	maxLine   = 256 << 10 // bytes of one line
	maxID     = 300       // of an identifier
	maxWords  = 300       // of words for the owner
	maxQR     = 1000      // of what a QR code says
	maxText   = 64 << 10  // of a message
	maxQuotes = 10
	maxQuote  = 16 << 10
	maxFiles  = 20
	maxChunk  = 64 << 10  // of a piece of a file, either way
	maxFile   = 100 << 20 // that is sent
	maxParts  = 8         // of one message that goes out; a longer one becomes a file
	maxPast   = 1000      // messages of one history
	maxCalls  = 16        // at once
	maxChats  = 500       // that it tells the names of
	window    = 32        // messages that are not answered yet
)

// What an adapter can do, as its hello says.
const (
	abilityFiles   = "files"     // send files
	abilityFetch   = "fetch"     // fetch files that came
	abilityHistory = "history"   // tell what was said before
	abilityTyping  = "typing"    // show that an answer is being written
	abilityLogin   = "login"     // be logged in to by steps
	abilityReact   = "reactions" // give messages reactions
)

// errProtocol is what an adapter is ended for.
var errProtocol = errors.New("the adapter broke the protocol")

func broken(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errProtocol, fmt.Sprintf(format, args...))
}

// hello is the adapter's first line.
type hello struct {
	Type      string   `json:"type"`
	Version   int      `json:"version"`
	Name      string   `json:"name"`
	Abilities []string `json:"abilities"`
	Marks     string   `json:"markup"`
	MaxText   int      `json:"max_text"`
	MaxFile   int64    `json:"max_file"`
}

func (h hello) can(ability string) bool { return slices.Contains(h.Abilities, ability) }

// markup is one that we know, plain text otherwise.
func (h hello) markup() chat.Markup {
	if m := chat.Markup(h.Marks); m.Words() != "" {
		return m
	}
	return chat.TerminalMarkup
}

// limit is the longest text of one message.
func (h hello) limit() int {
	if h.MaxText >= 200 {
		return min(h.MaxText, 16<<10)
	}
	return markup.Limit(h.markup())
}

func (h hello) maxFile() int64 {
	if h.MaxFile > 0 {
		return min(h.MaxFile, maxFile)
	}
	return 16 << 20
}

func (h hello) check() error {
	switch {
	case h.Version != Version:
		return channel.Permanent(broken("it speaks version %d, and this program speaks %d", h.Version, Version))
	case len(h.Abilities) > 20 || h.MaxFile < 0 || h.MaxText < 0:
		return broken("its hello is out of bounds")
	}
	return nil
}

// The other lines of an adapter.
type (
	stateLine struct {
		Type  string `json:"type"`
		State string `json:"state"`
		Cause string `json:"cause"`
		Self  string `json:"self"`
	}
	loginLine struct {
		Type string `json:"type"`
		Text string `json:"text"`
		Copy string `json:"copy"`
		QR   string `json:"qr"`
	}
	messageLine struct {
		Type    string  `json:"type"`
		Seq     uint64  `json:"seq"`
		Message message `json:"message"`
	}
	pastLine struct {
		Type    string  `json:"type"`
		Call    uint64  `json:"call"`
		Message message `json:"message"`
	}
	chunkLine struct {
		Type string `json:"type"`
		Call uint64 `json:"call"`
		Data string `json:"data"`
	}
	resultLine struct {
		Type    string `json:"type"`
		Call    uint64 `json:"call"`
		ID      string `json:"id"`
		Failure string `json:"failure"`
		Error   string `json:"error"`
		After   int    `json:"after"` // seconds
	}
	chatsLine struct {
		Type  string         `json:"type"`
		Chats []channel.Room `json:"chats"`
	}
	pongLine struct {
		Type  string `json:"type"`
		Nonce string `json:"nonce"`
	}
)

// message is what somebody said on the adapter's network. There is no field for what
// only the host may say of a message.
type message struct {
	ID        string    `json:"id"`
	Chat      string    `json:"chat"`
	Sender    string    `json:"sender"`
	Name      string    `json:"name"`
	Self      bool      `json:"self"`
	Text      string    `json:"text"`
	Sent      time.Time `json:"sent"`
	Mentioned bool      `json:"mentioned"`
	Quotes    []quote   `json:"quotes"`
	Files     []file    `json:"files"`
}

type quote struct {
	Author    string `json:"author"`
	Text      string `json:"text"`
	Forwarded bool   `json:"forwarded"`
}

type file struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Size int64  `json:"size"`
	Ref  string `json:"ref"`
}

// decode reads one line of an adapter, in full or not at all.
func decode(line []byte) (any, error) {
	var kind struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(line, &kind); err != nil {
		return nil, broken("a line is no JSON object with a type")
	}
	switch kind.Type {
	case "hello":
		return strict[hello](line)
	case "state":
		return checked(line, stateLine.check)
	case "login":
		return checked(line, loginLine.check)
	case "message":
		return checked(line, func(l messageLine) error { return l.Message.check() })
	case "past":
		return checked(line, func(l pastLine) error { return l.Message.check() })
	case "chunk":
		return strict[chunkLine](line)
	case "result":
		return checked(line, resultLine.check)
	case "chats":
		return checked(line, chatsLine.check)
	case "pong":
		return strict[pongLine](line)
	}
	return nil, broken("there is no line of the type %q", channel.OneLine(kind.Type, 40))
}

// strict reads a line that has no field which we do not know.
func strict[T any](line []byte) (T, error) {
	var v T
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return v, broken("a line cannot be read: %s", channel.OneLine(err.Error(), 100))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return v, broken("more than one value on a line")
	}
	return v, nil
}

func checked[T any](line []byte, check func(T) error) (T, error) {
	v, err := strict[T](line)
	if err == nil {
		err = check(v)
	}
	return v, err
}

func (s stateLine) check() error {
	switch channel.State(s.State) {
	case channel.Connecting, channel.Connected, channel.Waiting, channel.Ended:
	default:
		return broken("there is no state %q", channel.OneLine(s.State, 40))
	}
	if s.Self != "" {
		return checkID("self", s.Self)
	}
	return nil
}

func (l loginLine) check() error {
	if len(l.QR) > maxQR || strings.ContainsFunc(l.QR, unicode.IsControl) {
		return broken("a QR code is too long, or no text")
	}
	return nil
}

func (l chatsLine) check() error {
	if len(l.Chats) > maxChats {
		return broken("it tells of more than %d chats", maxChats)
	}
	for i, c := range l.Chats {
		if err := checkID("a chat", string(c.Chat)); err != nil {
			return err
		}
		l.Chats[i].Name = channel.OneLine(c.Name, 100)
	}
	return nil
}

func (r resultLine) check() error {
	switch {
	case r.Failure != "" && r.Failure != failNobody && r.Failure != failNever && r.Failure != failLater:
		return broken("there is no failure %q", channel.OneLine(r.Failure, 40))
	case r.ID != "":
		return checkID("id", r.ID)
	}
	return nil
}

// The kinds of failure.
const (
	failNobody = "nobody" // nobody is there: it waits, and counts as no failure
	failNever  = "never"  // it can never work
	failLater  = "later"  // it may work later
)

// checkID refuses identifiers that could look like another one to a person, or break
// a line in which they are shown.
func checkID(what, id string) error {
	bad := func(r rune) bool {
		return r == utf8.RuneError || unicode.IsSpace(r) || !unicode.IsPrint(r)
	}
	if id == "" || len(id) > maxID || strings.ContainsFunc(id, bad) {
		return broken("%s is empty, too long or holds what no identifier has", what)
	}
	return nil
}

func (m message) check() error {
	for _, id := range []struct{ what, value string }{{"a message's id", m.ID}, {"a message's chat", m.Chat}, {"a message's sender", m.Sender}} {
		if err := checkID(id.what, id.value); err != nil {
			return err
		}
	}
	switch {
	case m.Sent.IsZero():
		return broken("a message has no time")
	case len(m.Quotes) > maxQuotes || len(m.Files) > maxFiles:
		return broken("a message has too many parts")
	}
	for _, f := range m.Files {
		if f.Size < 0 || len(f.Ref) > 4*maxID {
			return broken("a file's size or reference is out of bounds")
		}
	}
	return nil
}

// inbound makes our form of a message. Only what the message struct has can come in.
func (m message) inbound(id chat.ChannelID) chat.Inbound {
	in := chat.Inbound{
		From: chat.Address{Channel: id, Chat: chat.ChatID(m.Chat)}, ID: chat.MessageID(m.ID),
		Sender: chat.Sender{ID: chat.SenderID(m.Sender), Name: channel.OneLine(m.Name, 100), Self: m.Self},
		Sent:   m.Sent, Mentioned: m.Mentioned,
	}
	in.Text, in.Truncated = cut(m.Text, maxText)
	for _, q := range m.Quotes {
		text, shortened := cut(q.Text, maxQuote)
		in.Truncated = in.Truncated || shortened
		in.Quotes = append(in.Quotes, chat.Quote{Author: channel.OneLine(q.Author, 100), Text: text, Forwarded: q.Forwarded})
	}
	for _, f := range m.Files {
		in.Files = append(in.Files, chat.File{Name: channel.OneLine(f.Name, 200), Type: channel.OneLine(f.Type, 100), Size: f.Size, Ref: f.Ref})
	}
	return in
}

// cut shortens a text at the end of a character.
func cut(s string, most int) (string, bool) {
	if len(s) <= most {
		return s, false
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most], true
}

// bytes of a piece of a file.
func (c chunkLine) bytes() ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(c.Data)
	if err != nil || len(b) > maxChunk {
		return nil, broken("a piece of a file is no base64, or longer than %d bytes", maxChunk)
	}
	return b, nil
}

// toAdapter is any line of the host's. Fields are left out where they mean nothing.
type toAdapter struct {
	Type      string            `json:"type"`
	Version   int               `json:"version,omitempty"`
	Channel   string            `json:"channel,omitempty"`
	Assistant string            `json:"assistant,omitempty"`
	Secrets   map[string]string `json:"secrets,omitempty"`
	Window    int               `json:"window,omitempty"`
	Seq       uint64            `json:"seq,omitempty"`
	Error     string            `json:"error,omitempty"`
	Call      uint64            `json:"call,omitempty"`
	Chat      string            `json:"chat,omitempty"`
	ID        string            `json:"id,omitempty"`
	Emoji     string            `json:"emoji,omitempty"`
	Key       string            `json:"key,omitempty"`
	Again     bool              `json:"again,omitempty"`
	Parts     []string          `json:"parts,omitempty"`
	Code      string            `json:"code,omitempty"`
	File      *file             `json:"file,omitempty"`
	Ref       string            `json:"ref,omitempty"`
	Data      string            `json:"data,omitempty"`
	After     time.Time         `json:"after,omitzero"`
	Max       int               `json:"max,omitempty"`
	On        bool              `json:"on,omitempty"`
	Nonce     string            `json:"nonce,omitempty"`
}

// encode writes a line of the host's.
func encode(l toAdapter) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(l); err != nil { // strings and numbers alone: it cannot fail
		panic(err)
	}
	return b.Bytes()
}

// readLine reads one line of at most maxLine bytes.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		if len(line)+len(part) > maxLine {
			return nil, broken("a line has more than %d bytes", maxLine)
		}
		line = append(line, part...)
		switch {
		case err == nil:
			return line, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}
