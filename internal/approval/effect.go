package approval

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"nanoclaw/internal/chat"
)

// Effect is what would be done.
type Effect struct {
	// Act is the kind of act, such as "tool".
	Act string `json:"act"`
	// Title says it in one line, in the host's words.
	Title string `json:"title"`
	// Group, Run and Session are on whose behalf.
	Group   chat.Group     `json:"group"`
	Run     chat.RunID     `json:"run"`
	Session chat.SessionID `json:"session"`
	// Key tells effects apart that are equal otherwise, such as the same message sent
	// twice. It is not shown.
	Key string `json:"key,omitempty"`
	// By are those on whose behalf it is, as Identity names them, and OwnerSelf for
	// the owner; none for the host itself. From is the chat in which they asked.
	By   []string     `json:"by,omitempty"`
	From chat.Address `json:"from,omitzero"`
	// Grows says that a yes makes rights grow that last. It is taken only from the
	// owner, and only in a terminal of theirs or in another chat than From.
	Grows bool `json:"grows,omitempty"`
	// FourEyes says that none of By may say yes. OtherChat says that a yes counts in
	// no case in the chat From.
	FourEyes  bool `json:"fourEyes,omitempty"`
	OtherChat bool `json:"otherChat,omitempty"`
	// Choices are the words of which one may follow the code of a yes. Without one it
	// is the first. None: there is nothing to choose.
	Choices []Choice `json:"choices,omitempty"`
	// Parts are everything else that matters, in the order in which it is shown.
	Parts []Part `json:"parts"`
}

// Part gives the value of the first part of a name, "" for none.
func (e Effect) Part(name string) string {
	for _, p := range e.Parts {
		if p.Name == name {
			return p.Value
		}
	}
	return ""
}

// Choice is one way to say yes.
type Choice struct {
	Word string `json:"word"`
	// Says is what it allows, in a few words of the host.
	Says string `json:"says"`
	// Grows is as in Effect, for this choice alone.
	Grows bool `json:"grows,omitempty"`
}

// Part is one part of an effect. Its value may come from inside.
type Part struct {
	Name  string
	Value string
}

// partForm is a part as it is kept and hashed. JSON holds only text, and replaces
// what is none: then the bytes are there instead, so that no two parts look alike.
type partForm struct {
	Name  string `json:"name"`
	Value string `json:"value,omitempty"`
	Bytes []byte `json:"bytes,omitempty"`
}

// MarshalJSON writes a part without losing a byte of its value.
func (p Part) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(p.Value) {
		return json.Marshal(partForm{Name: p.Name, Value: p.Value})
	}
	return json.Marshal(partForm{Name: p.Name, Bytes: []byte(p.Value)})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (p *Part) UnmarshalJSON(b []byte) error {
	var f partForm
	if err := json.Unmarshal(b, &f); err != nil {
		return err
	}
	*p = Part{f.Name, f.Value + string(f.Bytes)}
	return nil
}

// Bounds of a question that a person can be asked to read.
const (
	maxShown = 8 << 10 // bytes of all its parts, as shown
	maxParts = 40
)

// ErrTooLong says that an effect is more than a person can be asked to review.
var ErrTooLong = errors.New("it is too long for a person to review")

// Hash is the SHA-256 of the canonical form: JSON of the fields above, in their
// order. Two effects with one hash are the same.
func (e Effect) Hash() string {
	b, err := json.Marshal(e)
	if err != nil {
		panic("approval: an effect is made of texts alone: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Show gives the effect for a person, whole: title and parts, each line of a
// value behind a bar, with everything that could not be seen written as its
// number. It fails with ErrTooLong.
func (e Effect) Show() (string, error) {
	if len(e.Parts) > maxParts {
		return "", fmt.Errorf("%w: it has %d parts, and %d are the most", ErrTooLong, len(e.Parts), maxParts)
	}
	var b strings.Builder
	b.WriteString(visible(e.Title) + "\n")
	for _, p := range e.Parts {
		b.WriteString(visible(strings.ReplaceAll(p.Name, "\n", " ")) + ":\n")
		for line := range strings.SplitSeq(p.Value, "\n") {
			b.WriteString("  │ " + visible(line) + "\n")
		}
		if b.Len() > maxShown {
			return "", fmt.Errorf("%w: it has more than %d bytes", ErrTooLong, maxShown)
		}
	}
	return b.String(), nil
}

// visible writes every character that prints nothing, or moves others, as its
// number in ⟨⟩, and those brackets too, so that the form is unambiguous.
func visible(s string) string {
	var b strings.Builder
	for i, r := range s {
		_, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, "⟨byte %02X⟩", s[i])
		case plain(r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, "⟨U+%04X⟩", r)
		}
	}
	return b.String()
}

// plain says that a character can be seen as what it is.
func plain(r rune) bool {
	switch {
	case r == ' ', r == '\t':
		return true
	case r == '⟨', r == '⟩', r == 0x2800: // the blank of Braille
		return false
	}
	return unicode.IsGraphic(r) && !unicode.In(r, unicode.White_Space, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point)
}

// Fields makes parts of JSON arguments: one for each field of an object, by name,
// and one for anything else. Text that is no JSON is shown as it is.
func Fields(raw json.RawMessage) []Part {
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil || fields == nil {
		return []Part{{"arguments", string(raw)}}
	}
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	var parts []Part
	for _, name := range names {
		var text string
		if json.Unmarshal(fields[name], &text) != nil {
			text = string(fields[name])
		}
		parts = append(parts, Part{name, text})
	}
	return parts
}
