// Package chat holds the words of the domain: who wrote what, where, and which
// work came of it. Every other package speaks in these values.
//
// It imports nothing of ours and decides nothing. Identifiers are opaque
// strings of their own types: the channel that made one is the only code that
// may look inside it.
package chat

import (
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
	"time"
)

// ChannelID names one connection to a chat network, such as "console".
type ChannelID string

// ChatID is a conversation in its channel's own spelling. Opaque elsewhere.
type ChatID string

// SenderID is a person or machine in its channel's own spelling. Opaque
// elsewhere. Display names are not identities.
type SenderID string

// MessageID is a message in its channel's own spelling. With the channel and
// the chat it is unique, which is how a message delivered twice is known.
type MessageID string

// Group names a group: one safe path element, see ParseGroup.
type Group string

// Main is the group of the owner's own chat, the only one with rights over
// others. No other group can take its name.
const Main Group = "main"

// RunID names one run. It is short, so that a person can type it, and random,
// so that it tells nothing.
type RunID string

// SessionID names one live boundary.
type SessionID string

// Address says where a message came from or goes to.
type Address struct {
	Channel ChannelID `json:"channel"`
	Chat    ChatID    `json:"chat"`
}

// String gives the form used in configuration: channel, colon, chat.
func (a Address) String() string { return string(a.Channel) + ":" + string(a.Chat) }

// Thread is a thread of a chat by its address in full, "" for none. It names a
// conversation: a group has one of its own, and one for each thread of its chats.
type Thread string

// Base is the chat in which a thread is, the address itself if it is no thread. A
// thread belongs to the group of its chat. A channel whose network has threads spells
// them as CHAT#THREAD, where THREAD is the id of the message that it began with if the
// network knows that; everybody else leaves # out.
func (a Address) Base() Address {
	base, _, _ := strings.Cut(string(a.Chat), "#")
	return Address{a.Channel, ChatID(base)}
}

// Thread is the thread that the address is, "" if it is a chat.
func (a Address) Thread() Thread {
	if !strings.Contains(string(a.Chat), "#") {
		return ""
	}
	return Thread(a.String())
}

// Beginning is the id of the message that a thread began with, "" if the address is no
// thread. Not every network names threads so: there may be no such message.
func (a Address) Beginning() MessageID {
	_, first, _ := strings.Cut(string(a.Chat), "#")
	return MessageID(first)
}

// ParseAddress reads the form that String writes.
func ParseAddress(s string) (Address, error) {
	ch, c, ok := strings.Cut(s, ":")
	if !ok || ch == "" || c == "" {
		return Address{}, fmt.Errorf("%q is not an address: write CHANNEL:CHAT, such as console:main", s)
	}
	return Address{ChannelID(ch), ChatID(c)}, nil
}

// Sender is who wrote a message, as the channel knows it.
type Sender struct {
	ID SenderID `json:"id"`
	// Name is for people to read. It is chosen by the sender and proves nothing.
	Name string `json:"name,omitempty"`
	// Owner is set by a channel only if its own connection proves that the
	// owner is speaking: for the console, the peer of the control socket.
	// Nothing in a message can set it.
	Owner bool `json:"owner,omitempty"`
	// Self is set by a channel if the message was sent by us, known by our
	// identity there or by the id we gave it, never by its text.
	Self bool `json:"self,omitempty"`
}

// Quote is text inside a message that someone else wrote.
type Quote struct {
	Author    string `json:"author,omitempty"`
	Text      string `json:"text"`
	Forwarded bool   `json:"forwarded,omitempty"`
}

// File is a file that goes with a message. Its name, type and size are what somebody
// said of it, and prove nothing.
type File struct {
	Name string `json:"name"`
	Type string `json:"type,omitempty"` // such as image/png
	Size int64  `json:"size,omitempty"` // 0: not known
	// Ref is, of one that came, what its channel fetches it by. Opaque elsewhere.
	Ref string `json:"ref,omitempty"`
	// Path is, of one that goes out, the host's own copy.
	Path string `json:"path,omitempty"`
	// Transcript is, of a voice note, what a command of the owner's heard in it, and
	// Unheard why it heard nothing. Both are for the run that asked, and are not stored.
	Transcript string `json:"-"`
	Unheard    string `json:"-"`
}

// Inbound is one message as a channel received it.
type Inbound struct {
	From   Address   `json:"from"`
	ID     MessageID `json:"id"`
	Sender Sender    `json:"sender"`
	Text   string    `json:"text"`
	Quotes []Quote   `json:"quotes,omitempty"`
	Files  []File    `json:"files,omitempty"`
	// Sent is the network's clock. It is shown to the agent and orders nothing.
	Sent time.Time `json:"sent"`
	// Mentioned is set by channels that mark mentions of us themselves.
	Mentioned bool `json:"mentioned,omitempty"`
	// Truncated is set where we cut a text that was too long.
	Truncated bool `json:"truncated,omitempty"`
	// Ask carries what only the owner's own terminal may ask for with a message.
	Ask Ask `json:"ask,omitzero"`
	// Task is set by the host alone, for a message that a scheduled task sends. From
	// is then the chat to answer to, and Sender who made the task.
	Task *TaskRef `json:"task,omitempty"`
}

// Ask is what the owner asked for beside the words, in the terminal.
type Ask struct {
	// Mounts are folders for this conversation alone, as DIR or DIR:rw.
	Mounts []string `json:"mounts,omitempty"`
	// Conversation is which of the agent's conversations the message belongs to.
	Conversation Conversation `json:"conversation,omitempty"`
}

// Conversation says what a message takes up of what was said before.
type Conversation string

// The conversations.
const (
	Ongoing  Conversation = ""         // the group's, as it stands
	Anew     Conversation = "new"      // the group's, begun anew
	Isolated Conversation = "isolated" // one of its own, and the group's stays as it is
)

// Console is the channel of the owner's own terminals.
const Console ChannelID = "console"

// The channels of programs, see ChannelID.Programs.
const (
	Webhook ChannelID = "webhook"
	API     ChannelID = "api"
)

// Programs says that whoever speaks on a channel is a program with a secret of one
// group's, which can be copied, and that answers nobody's question. So none of them is
// ever the owner, an admin, or one who approves, whatever is configured.
func (c ChannelID) Programs() bool { return c == Webhook || c == API }

// Terminal says that the owner wrote the message in a terminal of their own,
// where alone an Ask counts. A task of theirs is not written there when it is due.
func (in Inbound) Terminal() bool {
	return in.Sender.Owner && in.From.Channel == Console && in.Task == nil
}

// OutboundKind says why a message goes out.
type OutboundKind string

// The kinds of outbound message.
const (
	Reply  OutboundKind = "reply"  // the answer of a run
	Tool   OutboundKind = "tool"   // the agent called send_message
	Notice OutboundKind = "notice" // the host itself speaks: a refusal, a failure, a warning

	Question OutboundKind = "question" // the host asks the owner, and work waits for the answer
)

// Outbound is one message to deliver. Its ID is chosen and stored before the
// first attempt, so that a network which lets us choose ids sees no duplicate.
type Outbound struct {
	ID   int64        `json:"id"`
	To   Address      `json:"to"`
	Kind OutboundKind `json:"kind"`
	Text string       `json:"text"`
	// Run is empty if no run caused it.
	Run   RunID `json:"run,omitempty"`
	Group Group `json:"group,omitempty"`
	// Key is the idempotency key: the same key is stored once.
	Key string `json:"key"`
	// Failed marks the end of a run that did not succeed.
	Failed bool `json:"failed,omitempty"`
	// Last marks the message that ends its run.
	Last bool `json:"last,omitempty"`
	// File goes with the message, nil for none.
	File *File `json:"file,omitempty"`
	// React is the message to which Text, one of Reactions, is given as a reaction, ""
	// for a message of its own. Given twice it is there once.
	React MessageID `json:"react,omitempty"`
	// Code is, of a Question, the one that an answer names, so that a channel can show
	// buttons. Who presses one says "approve CODE" or "deny CODE", and no more.
	Code string `json:"code,omitempty"`
	// Again says that an earlier attempt was made, and may have arrived. Set by the
	// outbox for each attempt.
	Again bool `json:"again,omitempty"`
}

// Reactions are what a message can be given on every network that has reactions. Source:
// Telegram's list for bots (core.telegram.org/bots/api, ReactionTypeEmoji); others take more.
var Reactions = []string{"👍", "👎", "❤", "🔥", "👏", "😁", "🤔", "🎉", "👀", "🙏", "👌", "💯"}

// HostMark begins what the host itself says, in every chat. It is taken out of
// everybody else's words, see channel.Unmark.
const HostMark = "◆ nanoclaw: "

// FromHost says that the words are the host's own, and not an agent's.
func (m Outbound) FromHost() bool { return m.Kind == Notice || m.Kind == Question }

// Progress is what an agent is doing, for channels that can show it. It is
// not stored and may be dropped.
type Progress struct {
	Run   RunID        `json:"run"`
	Group Group        `json:"group"`
	To    Address      `json:"to"`
	Kind  ProgressKind `json:"kind"`
	// Text is a piece of the answer, or words such as "Bash: go test ./...".
	Text string `json:"text"`
}

// ProgressKind says what a Progress tells.
type ProgressKind string

// The kinds of progress.
const (
	Started  ProgressKind = "started"  // the run began; Text names agent and mode
	Text     ProgressKind = "text"     // Text is the next piece of the answer
	ToolUse  ProgressKind = "tool"     // the agent uses a tool
	Waiting  ProgressKind = "waiting"  // queued, retrying; Text says why
	Finished ProgressKind = "finished" // the run ended
)

// ErrNobody is returned by a channel that can deliver nothing now because
// nobody is connected. The message waits, and this is not counted as a failure.
var ErrNobody = errors.New("nobody is connected to this chat")

// reserved are names that a group cannot have: they would collide with paths
// inside the boundary, with our own folders, or with words of the commands.
var reserved = map[string]bool{
	"global": true, "all": true, "none": true, "errors": true, "extra": true,
	"group": true, "host": true, "owner": true, "system": true,
}

// ParseGroup checks a group name: 1 to 40 characters of a-z, 0-9, '-' and '_',
// starting with a letter or digit, and none of the reserved names. The rule is
// strict because the name becomes a folder, and because two names that look
// alike to a person must not be two groups.
func ParseGroup(s string) (Group, error) {
	if s == "" || len(s) > 40 {
		return "", fmt.Errorf("group name %q: use 1 to 40 characters", s)
	}
	for i, r := range s {
		ok := r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || i > 0 && (r == '-' || r == '_')
		if !ok {
			return "", fmt.Errorf("group name %q: use a-z, 0-9, '-' and '_', and begin with a letter or digit", s)
		}
	}
	if reserved[s] {
		return "", fmt.Errorf("group name %q is reserved: choose another", s)
	}
	return Group(s), nil
}

// NewRunID makes a run's name from 50 random bits.
func NewRunID() RunID { return RunID("r" + random(10)) }

// NewSessionID makes a session's name.
func NewSessionID() SessionID { return SessionID("s" + random(10)) }

// alphabet is Crockford's base 32 in lower case: no letters that look alike.
var alphabet = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

func random(n int) string {
	b := make([]byte, (n*5+7)/8)
	rand.Read(b) // never fails: crypto/rand ends the program instead
	return alphabet.EncodeToString(b)[:n]
}
