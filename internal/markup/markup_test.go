package markup

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/chat"
)

const sample = "# Title\n\nSome **bold**, *it*, ~~no~~ and `a<b`, see [the docs](https://go.dev/doc?a=1&b=2).\n" +
	"- one\n  - two __deep__\n1. first\n\n> said *so*\n\n```go\nif a < b && c {\n}\n```\n| a | b |\n|---|--:|\n| 1 | **x** |\n---\nend_of_word snake_case"

func TestNetworks(t *testing.T) {
	for _, tt := range []struct {
		to   chat.Markup
		want string
	}{
		{chat.SlackMarkup, "*Title*\n\nSome *bold*, _it_, ~no~ and `a&lt;b`, see <https://go.dev/doc?a=1&amp;b=2|the docs>.\n" +
			"• one\n  • two *deep*\n1. first\n\n> said _so_\n\n```\nif a &lt; b &amp;&amp; c {\n}\n```\n```\na  b\n-  -\n1  x\n```\n──────────\nend_of_word snake_case"},
		{chat.TelegramMarkup, "<b>Title</b>\n\nSome <b>bold</b>, <i>it</i>, <s>no</s> and <code>a&lt;b</code>, see <a href=\"https://go.dev/doc?a=1&amp;b=2\">the docs</a>.\n" +
			"• one\n  • two <b>deep</b>\n1. first\n\n<blockquote>said <i>so</i></blockquote>\n\n<pre><code class=\"language-go\">\nif a &lt; b &amp;&amp; c {\n}\n</code></pre>\n<pre><code>\na  b\n-  -\n1  x\n</code></pre>\n──────────\nend_of_word snake_case"},
		{chat.DiscordMarkup, "# Title\n\nSome **bold**, *it*, ~~no~~ and `a<b`, see [the docs](<https://go.dev/doc?a=1&b=2>).\n" +
			"- one\n  - two **deep**\n1. first\n\n> said *so*\n\n```go\nif a < b && c {\n}\n```\n```\na  b\n-  -\n1  x\n```\n──────────\nend\\_of\\_word snake\\_case"},
		{chat.WhatsAppMarkup, "*Title*\n\nSome *bold*, _it_, ~no~ and `a<b`, see the docs (https://go.dev/doc?a=1&b=2).\n" +
			"- one\n  - two *deep*\n1. first\n\n> said _so_\n\n```\nif a < b && c {\n}\n```\n```\na  b\n-  -\n1  x\n```\n──────────\nend_of_word snake_case"},
	} {
		t.Run(string(tt.to), func(t *testing.T) {
			got := Render(tt.to, sample, 0)
			if len(got) != 1 {
				t.Fatalf("%d parts", len(got))
			}
			if d := cmp.Diff(tt.want, got[0]); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestSlackInline(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"three stars", "***both***", "*_both_*"},
		{"a lone star", "2 * 3 * 4", "2 * 3 * 4"},
		{"an open mark", "**never closed", "**never closed"},
		{"stars in code", "`**x**`", "`**x**`"},
		{"double ticks", "``a`b``", "`aˋb`"},
		{"escaped", `\*not\* \_this\_`, "*not* _this_"},
		{"a bare address", "see https://a.example/x_y_z*.", "see <https://a.example/x_y_z>*."},
		{"broadcast", "<!channel> hello <@U123> <#C1>", "&lt;!channel&gt; hello &lt;@U123&gt; &lt;#C1&gt;"},
		{"broadcast in a link", "[x](!channel)", "x (!channel)"},
		{"broadcast as an address", "[x](<!here>)", "x (!here)"},
		{"a bar in the words of a link", "[a|b](https://a.example)", "<https://a.example|a¦b>"},
		{"a link that lies", "[https://bank.example](https://evil.example)", "https://bank.example (https://evil.example)"},
		{"a link that lies without a scheme", "[bank.example/login](https://evil.example)", "bank.example/login (https://evil.example)"},
		{"a link that says where it leads", "[go.dev](https://go.dev/)", "<https://go.dev/|go.dev>"},
		{"a program as an address", "[x](javascript:alert)", "x (javascript:alert)"},
		{"an image", "![cat](https://a.example/c.png)", "<https://a.example/c.png|cat>"},
		{"two in one line", "*a* and *b*", "_a_ and _b_"},
		{"spaces move out of the marks", "**bold `x` tail**", "*bold* *`x`* *tail*"},
		{"heading with marks", "## **Bold** title ##", "*Bold* *title*"},
		{"control sequences", "a\x1b]52;c;aGk=\x07b\u202ec", "abc"},
		{"the host's mark", "◆ nanoclaw: approve", "◇ nanoclaw: approve"},
		{"an unclosed fence", "```\nrm -rf *", "```\nrm -rf *\n```"},
		{"a fence within code", "~~~\n```\n~~~", "```\n`\u200b`\u200b`\n```"},
		{"nested strong and italic", "**a *b* c**", "*a* *_b_* *c*"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := strings.Join(Render(chat.SlackMarkup, tt.in, 0), "|"); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

func TestPlain(t *testing.T) {
	got := Plain(chat.SlackMarkup, chat.HostMark+"May it run `rm *` in <b>?\n◆ nanoclaw: yes\x1b[2J", 0)
	want := []string{"◆ nanoclaw: May it run `rm *` in &lt;b&gt;?\n◇ nanoclaw: yes"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestParts(t *testing.T) {
	paragraphs := strings.Repeat(strings.Repeat("word ", 30)+"\n\n", 10)
	code := "before\n```sh\n" + strings.Repeat("echo line\n", 60) + "```\nafter"
	for _, tt := range []struct {
		name, in string
		check    func(t *testing.T, parts []string)
	}{
		{"paragraphs stay whole", paragraphs, func(t *testing.T, parts []string) {
			for _, p := range parts {
				if !strings.HasPrefix(p, "word ") || strings.Count(p, "word")%30 != 0 {
					t.Errorf("a paragraph was cut: %q", p)
				}
			}
		}},
		{"fences are closed and opened again", code, func(t *testing.T, parts []string) {
			if len(parts) < 3 {
				t.Errorf("%d parts", len(parts))
			}
			for _, p := range parts {
				if strings.Count(p, "```")%2 != 0 {
					t.Errorf("a part with half a fence: %q", p)
				}
			}
		}},
		{"one long word", strings.Repeat("x", 1000), func(t *testing.T, parts []string) {
			if got := strings.Join(parts, ""); got != strings.Repeat("x", 1000) {
				t.Errorf("it came out with %d characters", len(got))
			}
		}},
		{"a long line of code", "```\n" + strings.Repeat("é", 1000) + "\n```", func(t *testing.T, parts []string) {
			if got := strings.Count(strings.Join(parts, ""), "é"); got != 1000 {
				t.Errorf("%d characters came out", got)
			}
		}},
		{"a short block of code stays whole", strings.Repeat("word ", 40) + "\n```\na\nb\nc\n```", func(t *testing.T, parts []string) {
			if len(parts) != 2 && !strings.Contains(parts[len(parts)-1], "a\nb\nc") {
				t.Errorf("%q", parts)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			parts := Render(chat.SlackMarkup, tt.in, 220)
			for _, p := range parts {
				if length(p) > 220 {
					t.Errorf("a part has %d units", length(p))
				}
			}
			tt.check(t, parts)
		})
	}
}

func FuzzRender(f *testing.F) {
	for _, s := range []string{sample, "**a*b**c*", "[[]](", "```", "|a|b|\n|-|-|\n", "> > > x", "a\u202e*b*\x1b[1m", "~~~~", "_*_*_*", "[a](https://x|y)", "`` ` ``", "\xff*\xfe*"} {
		f.Add(s, 100)
	}
	f.Fuzz(func(t *testing.T, text string, limit int) {
		limit = max(shortest, min(limit, 4000))
		for _, m := range []chat.Markup{chat.SlackMarkup, chat.TelegramMarkup, chat.DiscordMarkup, chat.WhatsAppMarkup, chat.TerminalMarkup} {
			for _, part := range Render(m, text, limit) {
				if !utf8.ValidString(part) || strings.TrimSpace(part) == "" {
					t.Fatalf("%s: part %q", m, part)
				}
				if strings.ContainsAny(part, "\x1b\x07\u202e\u2066◆") {
					t.Fatalf("%s: unsafe %q", m, part)
				}
				if m == chat.SlackMarkup {
					checkSlack(t, part)
				}
			}
		}
	})
}

// checkSlack fails if a part holds what Slack takes for a mention or broadcast, or
// code that is not closed.
func checkSlack(t *testing.T, part string) {
	t.Helper()
	for rest := part; ; {
		_, after, ok := strings.Cut(rest, "<")
		if !ok {
			break
		}
		if !strings.HasPrefix(after, "http://") && !strings.HasPrefix(after, "https://") && !strings.HasPrefix(after, "mailto:") {
			t.Fatalf("%q holds something that Slack reads", part)
		}
		rest = after
	}
	if strings.Count(part, "\n```")+boolInt(strings.HasPrefix(part, "```")) == 1 {
		t.Fatalf("half a fence in %q", part)
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
