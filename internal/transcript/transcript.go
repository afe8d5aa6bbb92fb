// Package transcript reads what Claude Code writes down of a conversation, and
// makes a page of it that people and agents can read.
//
// It exists because a conversation that grew too long is compacted: the agent
// keeps a summary, and the words themselves would be lost to it. Read takes the
// lines of the program's own file (one JSON object each, undocumented and of many
// kinds) and keeps what people and the agent said; Page writes it as Markdown, in
// the form that agents of the first NanoClaw know.
//
// # Trust
//
// The file lies where an agent may write, so every line may be forged. All that
// can be gained is another text in a file that the agent could write anyhow.
// What is read is bounded: lines, messages and the whole, whatever their number.
// Where the file is opened and the page is written is not decided here.
package transcript

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds.
const (
	maxLine    = 4 << 20 // longer lines hold outputs of tools and are passed over
	maxMessage = 2000    // characters that are kept of a message
	maxKept    = 2 << 20 // bytes of all messages; the oldest go first
	maxTitle   = 200
)

// Message is what somebody said.
type Message struct {
	// Agent says that the agent spoke, and not a person.
	Agent bool
	Text  string
}

// Transcript is what was said since the conversation began or was last
// compacted.
type Transcript struct {
	// Title is what the agent called the conversation, "" for nothing.
	Title    string
	Messages []Message
	// Cut says that the beginning was too much to keep.
	Cut bool

	kept int
}

// line is what we look at of a line.
type line struct {
	Type      string `json:"type"`
	Subtype   string `json:"subtype"`
	Sidechain bool   `json:"isSidechain"`
	Meta      bool   `json:"isMeta"`
	Summary   bool   `json:"isCompactSummary"`
	Visible   bool   `json:"isVisibleInTranscriptOnly"`
	APIError  bool   `json:"isApiErrorMessage"`
	Message   struct {
		Content json.RawMessage `json:"content"`
	} `json:"message"`
	AITitle     string `json:"aiTitle"`
	CustomTitle string `json:"customTitle"`
}

// Read reads a transcript to its end. Lines that are not understood are passed
// over; an error is one of reading.
func Read(r io.Reader) (Transcript, error) {
	var t Transcript
	in := bufio.NewReaderSize(r, 64<<10)
	for {
		text, err := next(in)
		if len(text) > 0 {
			t.take(text)
		}
		if errors.Is(err, io.EOF) {
			return t, nil
		}
		if err != nil {
			return t, err
		}
	}
}

// next gives a line, empty where it was too long.
func next(in *bufio.Reader) ([]byte, error) {
	var out []byte
	for long := false; ; {
		part, err := in.ReadSlice('\n')
		if long = long || len(out)+len(part) > maxLine; long {
			out = nil
		} else {
			out = append(out, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return out, err
		}
	}
}

func (t *Transcript) take(text []byte) {
	var l line
	if json.Unmarshal(text, &l) != nil || l.Sidechain || l.Meta || l.Visible || l.APIError {
		return
	}
	switch l.Type {
	case "custom-title":
		t.Title = l.CustomTitle
	case "ai-title":
		if t.Title == "" {
			t.Title = l.AITitle
		}
	case "system":
		if l.Subtype == "compact_boundary" { // what came before is in another archive
			*t = Transcript{Title: t.Title}
		}
	case "user", "assistant":
		if said := words(l.Message.Content); said != "" && !l.Summary {
			t.add(Message{Agent: l.Type == "assistant", Text: said})
		}
	}
}

// add keeps a message, and of all messages the last ones.
func (t *Transcript) add(m Message) {
	m.Text = shorten(m.Text, maxMessage)
	t.Messages = append(t.Messages, m)
	t.kept += len(m.Text)
	for t.kept > maxKept {
		t.kept -= len(t.Messages[0].Text)
		t.Messages, t.Cut = t.Messages[1:], true
	}
}

// words is the text of a message: of what tools were asked and answered there is
// nothing, and nothing of what the program itself put in.
func words(content json.RawMessage) string {
	var s string
	if json.Unmarshal(content, &s) == nil {
		return own(s)
	}
	var blocks []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	if json.Unmarshal(content, &blocks) != nil {
		return ""
	}
	var parts []string
	for _, b := range blocks {
		if text := own(b.Text); b.Type == "text" && text != "" {
			parts = append(parts, text)
		}
	}
	return strings.Join(parts, "\n")
}

func own(s string) string {
	if s = strings.TrimSpace(s); strings.HasPrefix(s, "<system-reminder>") {
		return ""
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// shorten cuts after n characters, and shows it.
func shorten(s string, n int) string {
	if len(s) <= n || utf8.RuneCountInString(s) <= n {
		return s
	}
	for i := range s {
		if n--; n < 0 {
			return s[:i] + "..."
		}
	}
	return s
}

// Page writes the transcript as Markdown. assistant is how the agent is called.
func (t Transcript) Page(assistant string, at time.Time) []byte {
	var b strings.Builder
	title := strings.Join(strings.Fields(shorten(t.Title, maxTitle)), " ")
	if title == "" {
		title = "Conversation"
	}
	fmt.Fprintf(&b, "# %s\n\nArchived: %s\n\n---\n\n", title, at.Format("2006-01-02 15:04 MST"))
	if t.Cut {
		b.WriteString("(What was said before was too much to keep.)\n\n")
	}
	for _, m := range t.Messages {
		who := "User"
		if m.Agent {
			who = assistant
		}
		fmt.Fprintf(&b, "**%s**: %s\n\n", who, m.Text)
	}
	return []byte(b.String())
}

// Name is the name of the page's file, without its ending: the day and the title,
// or the time where there is none. It holds a-z, 0-9 and '-' alone.
func (t Transcript) Name(at time.Time) string {
	slug := slug(t.Title)
	if slug == "" {
		slug = "conversation-" + at.Format("1504")
	}
	return at.Format("2006-01-02") + "-" + slug
}

// slug is a title as part of a file's name, at most 50 characters long.
func slug(title string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(title) {
		switch {
		case b.Len() >= 50:
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	return strings.TrimSuffix(b.String(), "-")
}
