package markup

import (
	"strings"
)

// row writes a line whose spans are written already.
func row(b block, bullet, text string) string {
	switch b.kind {
	case rule:
		return "──────────"
	case item:
		mark := b.mark
		if mark == "" {
			mark = bullet
		}
		return strings.Repeat("  ", b.depth) + mark + " " + text
	}
	return text
}

// style writes spans, each within its marks. A mark wants no space at its inner
// side, so spaces there are moved out.
func style(spans []span, inner func(span) string, marks func(span) (string, string)) string {
	var b strings.Builder
	for _, s := range spans {
		open, shut := marks(s)
		if open == "" || s.code {
			b.WriteString(open + inner(s) + shut)
			continue
		}
		text := strings.Trim(s.text, " ")
		if text == "" {
			b.WriteString(s.text)
			continue
		}
		lead := len(s.text) - len(strings.TrimLeft(s.text, " "))
		tail := len(s.text) - len(strings.TrimRight(s.text, " "))
		s.text = text
		b.WriteString(strings.Repeat(" ", lead) + open + inner(s) + shut + strings.Repeat(" ", tail))
	}
	return b.String()
}

// around gives the marks of bold, italic and struck text.
func around(bold, italic, struck string) func(span) (string, string) {
	return func(s span) (open, shut string) {
		for _, m := range []struct {
			on   bool
			mark string
		}{{s.bold, bold}, {s.italic, italic}, {s.struck, struck}} {
			if m.on {
				open, shut = open+m.mark, m.mark+shut
			}
		}
		return open, shut
	}
}

// headed makes the spans of a heading bold, for networks without headings.
func headed(b block) []span {
	if b.kind != heading {
		return b.spans
	}
	out := make([]span, len(b.spans))
	for i, s := range b.spans {
		s.bold = true
		out[i] = s
	}
	return out
}

// quotedBy puts the mark of a quote before a line.
func quotedBy(b block, mark, text string) string {
	if b.quote > 0 {
		return mark + text
	}
	return text
}

// unfenced keeps a text from ending a block of code: a zero-width space stands
// between its backticks.
func unfenced(s string) string { return strings.ReplaceAll(s, "```", "`\u200b`\u200b`") }

// noTicks keeps a text from ending a span of code.
func noTicks(s string) string { return strings.ReplaceAll(s, "`", "ˋ") }

// slack writes mrkdwn. Of its three special characters & < > every mention, link and
// broadcast begins with <, so with them escaped no text can make one.
// Source: docs.slack.dev/messaging/formatting-message-text.
type slack struct{}

var slackEscape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

func (slack) line(b block) string {
	text := style(headed(b), func(s span) string {
		words := slackEscape.Replace(s.text)
		switch {
		case s.code:
			return "`" + noTicks(words) + "`"
		case s.url != "" && s.url == s.text:
			return "<" + slackEscape.Replace(s.url) + ">"
		case s.url != "":
			return "<" + slackEscape.Replace(s.url) + "|" + strings.ReplaceAll(words, "|", "¦") + ">"
		}
		return words
	}, around("*", "_", "~"))
	return quotedBy(b, "> ", row(b, "•", unfenced(text)))
}

func (slack) open(string) string      { return "```" }
func (slack) code(line string) string { return slackEscape.Replace(unfenced(line)) }
func (slack) close() string           { return "```" }

// telegram writes its HTML. Source: core.telegram.org/bots/api#html-style.
type telegram struct{}

var htmlEscape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;")

func (telegram) line(b block) string {
	var out strings.Builder
	for _, s := range headed(b) {
		text := htmlEscape.Replace(s.text)
		if s.code {
			text = "<code>" + text + "</code>"
		}
		if s.url != "" {
			text = `<a href="` + htmlEscape.Replace(s.url) + `">` + text + "</a>"
		}
		if !s.code { // Telegram takes no other style in code
			for _, t := range []struct {
				on  bool
				tag string
			}{{s.struck, "s"}, {s.italic, "i"}, {s.bold, "b"}} {
				if t.on {
					text = "<" + t.tag + ">" + text + "</" + t.tag + ">"
				}
			}
		}
		out.WriteString(text)
	}
	text := row(b, "•", out.String())
	if b.quote > 0 {
		return "<blockquote>" + text + "</blockquote>"
	}
	return text
}

func (telegram) open(lang string) string {
	if lang == "" {
		return "<pre><code>"
	}
	return `<pre><code class="language-` + htmlEscape.Replace(lang) + `">`
}
func (telegram) code(line string) string { return htmlEscape.Replace(line) }
func (telegram) close() string           { return "</code></pre>" }

// discord writes its own Markdown, with every mark in the text escaped. Who may be
// notified is said beside the text (allowed_mentions), so "@everyone" is only text.
// Source: docs.discord.com, "Message Formatting".
type discord struct{}

var discordEscape = strings.NewReplacer(`\`, `\\`, "*", `\*`, "_", `\_`, "~", `\~`, "`", "\\`", "|", `\|`,
	">", `\>`, "<", `\<`, "#", `\#`, "[", `\[`, "]", `\]`, "-", `\-`, "+", `\+`, "@", "@\u200b")

func (discord) line(b block) string {
	text := style(b.spans, func(s span) string {
		switch {
		case s.code:
			return "`" + noTicks(s.text) + "`"
		case s.url != "" && s.url == s.text:
			return "<" + s.url + ">" // shown as a link, without a preview
		case s.url != "":
			return "[" + discordEscape.Replace(s.text) + "](<" + s.url + ">)"
		}
		return discordEscape.Replace(s.text)
	}, around("**", "*", "~~"))
	if b.kind == heading {
		text = strings.Repeat("#", min(b.depth, 3)) + " " + text
	}
	return quotedBy(b, "> ", row(b, "-", unfenced(text)))
}

func (discord) open(lang string) string { return "```" + lang }
func (discord) code(line string) string { return unfenced(line) }
func (discord) close() string           { return "```" }

// whatsapp has no escapes and no links with words.
type whatsapp struct{}

func (whatsapp) line(b block) string {
	text := style(headed(b), func(s span) string {
		switch {
		case s.code:
			return "`" + noTicks(s.text) + "`"
		case s.url != "" && s.url != s.text:
			return s.text + " (" + s.url + ")"
		}
		return s.text
	}, around("*", "_", "~"))
	return quotedBy(b, "> ", row(b, "-", unfenced(text)))
}

func (whatsapp) open(string) string      { return "```" }
func (whatsapp) code(line string) string { return unfenced(line) }
func (whatsapp) close() string           { return "```" }

// plain writes text without marks.
type plain struct{}

func (plain) line(b block) string {
	text := style(b.spans, func(s span) string {
		if s.url != "" && s.url != s.text {
			return s.text + " (" + s.url + ")"
		}
		return s.text
	}, around("", "", ""))
	return quotedBy(b, "> ", row(b, "-", text))
}

func (plain) open(string) string      { return "" }
func (plain) code(line string) string { return "    " + line }
func (plain) close() string           { return "" }
