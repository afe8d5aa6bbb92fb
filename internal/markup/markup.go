// Package markup turns one Markdown, which agents write, into the formatting of
// each chat network, in parts that fit into its messages.
//
// It is pure. It reads the part of Markdown (CommonMark, with tables and strikes of
// GitHub's) that people and models use in chats: headings, lists, quotes, fenced
// code, tables, rules, and within a line bold, italic, struck, code and links. What
// it does not know it shows as it was written. A line stays a line, as it does in
// chats and not in CommonMark.
//
// # Trust
//
// What an agent made is hostile here. Everything goes through channel.SafeText
// first, so no control sequence and no mark that reorders text comes out. Then the
// structure is written anew for the network: no character of the text can begin a
// mention, a link or a broadcast there, a link shows where it leads if its words
// look like another address, and only http, https and mailto become links at all.
//
// What the host itself says is no Markdown: see Plain.
package markup

import (
	"strings"
	"unicode/utf16"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
)

// Limit is how many UTF-16 units one message of a network may have, with room for
// what the network itself adds. 0 is no limit.
//
// Sources: Slack chat.postMessage ("for best results, limit the number of
// characters to 4,000"), Telegram sendMessage (4096), Discord Create Message (2000);
// WhatsApp publishes no number for linked devices, and folds long texts.
func Limit(m chat.Markup) int {
	switch m {
	case chat.SlackMarkup:
		return 3800
	case chat.TelegramMarkup, chat.WhatsAppMarkup:
		return 4000
	case chat.DiscordMarkup:
		return 1950
	}
	return 0
}

// Render gives an agent's Markdown in the formatting of a network, in parts of at
// most limit UTF-16 units each. A part ends between paragraphs if it can, else
// between lines, else between words; code that goes on in the next part is closed
// in the one and opened again in the other. A limit below 64 is taken as 64.
// There is no part for a text without anything to show.
func Render(m chat.Markup, text string, limit int) []string {
	w := writerOf(m)
	return pack(w, parse(channel.SafeText(text)), limit)
}

// Plain is Render for words that are no Markdown, such as the host's own: every
// character is shown as it is, as far as the network can. The host's mark at the
// beginning stays; anywhere else it is taken out.
func Plain(m chat.Markup, text string, limit int) []string {
	mark := ""
	if rest, ok := strings.CutPrefix(text, chat.HostMark); ok {
		mark, text = chat.HostMark, rest
	}
	text = mark + channel.SafeText(text)
	var blocks []block
	for line := range strings.SplitSeq(text, "\n") {
		blocks = append(blocks, block{kind: paragraph, spans: []span{{text: line}}})
	}
	return pack(writerOf(m), blocks, limit)
}

// length is the length of a text as the networks count it.
func length(s string) int {
	n := 0
	for _, r := range s {
		n += max(1, utf16.RuneLen(r))
	}
	return n
}

// writer is the formatting of one network.
type writer interface {
	// line writes one line.
	line(b block) string
	// open and close begin and end a block of code; code writes a line of it.
	open(lang string) string
	code(line string) string
	close() string
}

func writerOf(m chat.Markup) writer {
	switch m {
	case chat.SlackMarkup:
		return slack{}
	case chat.TelegramMarkup:
		return telegram{}
	case chat.DiscordMarkup:
		return discord{}
	case chat.WhatsAppMarkup:
		return whatsapp{}
	}
	return plain{}
}
