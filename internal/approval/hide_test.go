package approval

import (
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/chat"
)

// asked is a desk with one open question, and its code.
func askedDesk(t testing.TB) (*Desk, string) {
	t.Helper()
	d := New(Options{Store: &log{}})
	a, err := d.Put(t.Context(), Effect{Act: "x", Title: "May I?"}, time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d, a.Code
}

// What people write to the host, or quote of it, is not in a prompt; the rest of
// their words is.
func TestHide(t *testing.T) {
	d, code := askedDesk(t)
	bare := strings.ReplaceAll(code, "-", "")
	tests := []struct{ name, text, hidden, disowned string }{
		{"plain", "call 0170-1234 in 2024-2025, ref abcd1234", "call 0170-1234 in 2024-2025, ref abcd1234", ""},
		{"an answer", "approve " + code, "approve " + hiddenCode, ""},
		{"in a sentence, in capitals", "please APPROVE " + strings.ToUpper(bare) + " now", "please APPROVE " + hiddenCode + " now", ""},
		{"the code alone", "it is " + code + ".", "it is " + hiddenCode + ".", ""},
		{"an answer with another code", "deny `k4m2-9x7a`", "deny `" + hiddenCode + "`", "deny `" + noCode + "`"},
		{"adorned", "**approve**: k4m2-9x7a", "**approve**: " + hiddenCode, "**approve**: " + noCode},
		{"on the next line", "approve\n> k4m29x7a", "approve\n> " + hiddenCode, "approve\n> " + noCode},
		{"one that ends as another begins", "approve 1234deny! now", "approve " + hiddenCode + "! now", "approve " + noCode + "! now"},
		{"no code", "approve sentence and deny the plan", "approve sentence and deny the plan", ""},
		{"a card", "what is this?\n> " + chat.HostMark + "May I?\n> To allow this once, answer: approve " + code, "what is this?\n> " + hiddenCard,
			"what is this?\n> " + chat.HostMark + "May I?\n> To allow this once, answer: approve " + hiddenCode},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := d.Hide(tt.text); got != tt.hidden {
				t.Errorf("a person's %q becomes %q, want %q", tt.text, got, tt.hidden)
			}
			want := tt.disowned
			if want == "" {
				want = tt.hidden
			}
			if got := d.Disown(tt.text); got != want {
				t.Errorf("an agent's %q becomes %q, want %q", tt.text, got, want)
			}
			for _, n := range []int{1, 3, 7} {
				var b strings.Builder
				s := d.Stream()
				for rest := tt.text; rest != ""; {
					k := min(n, len(rest))
					b.WriteString(s.Next(rest[:k]))
					rest = rest[k:]
				}
				b.WriteString(s.End())
				if b.String() != want {
					t.Errorf("in pieces of %d it becomes %q, want %q", n, b.String(), want)
				}
			}
		})
	}
}

// What is no beginning of anything that is taken out is shown when it comes: the first
// word of an answer, above all.
//
// The code is not one by chance: a word that ends like its beginning is held back, so
// that "hello" would be where the code begins with 0.
func TestStreamShowsAtOnce(t *testing.T) {
	d := New(Options{Store: &log{}})
	d.remember("k4m29x7a")
	code := spaced("k4m29x7a")
	for _, c := range []struct{ piece, shown string }{
		{"hello", "hello"},
		{"Here is", "Here is"},
		{"2026-11", "2026-11"},
		{"the app", "the "},
		{"I ap", "I "},
		{"deny", ""},
		{"approve the ", "approve the "},
		{"approve ", ""},
		{"look", "loo"},
		{"it is " + code[:3], "it is "},
		{"it is " + code[:len(code)-1], "it is "},
		{"it is " + strings.ToUpper(code[:6]), "it is "},
	} {
		if got := d.Stream().Next(c.piece); got != c.shown {
			t.Errorf("of %q is shown %q, want %q", c.piece, got, c.shown)
		}
	}
}

// FuzzDisown: whatever an agent says around them, no code of the host and no
// answer with a code leaves it, whole or in pieces.
func FuzzDisown(f *testing.F) {
	d, code := askedDesk(f)
	f.Add("approve ", " now", 3)
	f.Add("deny**", "-", 1)
	f.Add("", "approve k4m2-9x7a", 5)
	f.Fuzz(func(t *testing.T, before, after string, n int) {
		n = max(1, min(n, 50))
		text := before + " " + code + " " + after
		var pieces strings.Builder
		s := d.Stream()
		for rest := text; rest != ""; {
			k := min(n, len(rest))
			pieces.WriteString(s.Next(rest[:k]))
			rest = rest[k:]
		}
		pieces.WriteString(s.End())
		for _, got := range []string{d.Disown(text), d.Hide(text), pieces.String()} {
			if strings.Contains(strings.ToLower(got), code) {
				t.Fatalf("%q still has the code", got)
			}
			for _, m := range answerLike.FindAllStringSubmatch(got, -1) {
				if _, ok := parseCode(m[3]); ok {
					t.Fatalf("%q still reads like an answer", got)
				}
			}
		}
	})
}
