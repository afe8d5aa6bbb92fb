package chat

// Markup is what a network makes of marks in a text.
type Markup string

// The kinds of markup. An adapter names the one of its network.
const (
	TerminalMarkup Markup = "terminal" // shows text as it is
	WhatsAppMarkup Markup = "whatsapp"
	SlackMarkup    Markup = "slack"
	TelegramMarkup Markup = "telegram"
	DiscordMarkup  Markup = "discord"
)

// Words tell an agent how to write for it, "" for a kind that is not known.
func (m Markup) Words() string {
	switch m {
	case TerminalMarkup:
		return "Answers are shown in a terminal, as plain text: no tables and no Markdown that is hard to read unrendered; short lists with - and indented code are fine."
	case WhatsAppMarkup:
		return "Answers are shown by WhatsApp: *bold*, _italic_, ~struck~, `code`, ```blocks```, lists with - or 1. and quotes with >. No headings, tables, double asterisks or [links](url): write addresses as they are."
	case SlackMarkup:
		return "Answers are shown by Slack. Write Markdown, which the host puts into its form: **bold**, *italic*, ~~struck~~, `code`, ```blocks```, lists with - or 1., quotes with >, [links](https://example.org), short headings and small tables. Nobody can be mentioned."
	case TelegramMarkup:
		return "Answers are shown by Telegram: **bold**, __italic__, ~~struck~~, `code`, ```blocks``` and [links](https://example.org). No headings and no tables; lists with -."
	case DiscordMarkup:
		return "Answers are shown by Discord: **bold**, *italic*, ~~struck~~, `code`, ```blocks```, headings with # to ###, lists with - and quotes with >. No tables; a message has at most 2000 characters."
	}
	return ""
}
