package discord

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/disgoorg/disgo/discord"
	"github.com/disgoorg/disgo/rest"
	"github.com/disgoorg/snowflake/v2"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/markup"
)

// maxUpload is the largest file that Discord takes from a bot, in a server that pays
// for nothing. Source: docs.discord.com, "Uploading Files".
const maxUpload = 10 << 20

// MaxFile is the largest file that is sent.
func (c *Channel) MaxFile() int64 { return maxUpload }

// Deliver posts a message, in several parts if it is long. Of several the id is the
// first one's.
func (c *Channel) Deliver(ctx context.Context, m chat.Outbound) (chat.MessageID, error) {
	to, err := placeOf(m.To)
	if err != nil {
		return "", err
	}
	c.live.End(m.To)
	done := c.sent.Of(m.Key)
	parts, whole := c.parts(m)
	for i, part := range parts {
		p := plainMessage(part)
		if m.Code != "" && i == len(parts)-1 {
			p.Components = buttons(m.Code)
		}
		p.Nonce, p.EnforceNonce = nonce(m.Key, i), true
		if err := done.Once(i, func() (string, error) { return c.post(ctx, to, p) }); err != nil {
			return "", err
		}
	}
	if whole != nil {
		if err := done.Once(len(parts), func() (string, error) { return c.postFile(ctx, to, m, *whole, len(parts)) }); err != nil {
			return "", err
		}
	}
	return chat.MessageID(done.First()), nil
}

// Reacts implements channel.Reactor.
func (c *Channel) Reacts() bool { return true }

// React implements channel.Reactor.
func (c *Channel) React(ctx context.Context, in chat.Address, to chat.MessageID, emoji string) error {
	at, err := placeOf(in)
	if err != nil {
		return err
	}
	if !number(string(to)) {
		return channel.Permanent(fmt.Errorf("%q is no message of Discord's", to))
	}
	return c.do(ctx, rest.AddReaction.Compile(nil, at.target(), string(to), emoji), nil, nil)
}

// nonce is by what Discord knows a part that it has taken: at most 25 characters.
func nonce(key string, part int) string {
	sum := sha256.Sum256([]byte(key + "#" + strconv.Itoa(part)))
	return hex.EncodeToString(sum[:12])
}

// parts are the messages that a message becomes, and the file that goes after them, if
// one does: that of the message, or all of an answer that is very long.
func (c *Channel) parts(m chat.Outbound) (parts []string, file *outfile) {
	limit := markup.Limit(chat.DiscordMarkup)
	if m.FromHost() {
		parts = markup.Plain(chat.DiscordMarkup, m.Text, limit)
	} else {
		parts = markup.Render(chat.DiscordMarkup, m.Text, limit)
	}
	switch {
	case m.File != nil:
		f := &outfile{name: m.File.Name, path: m.File.Path}
		if len(parts) == 1 {
			f.caption, parts = parts[0], nil
		}
		return parts, f
	case len(parts) == 0:
		return []string{"(nothing to show)"}, nil
	case len(parts) > c.opt.MaxParts && m.Code == "":
		note := fmt.Sprintf("*The answer goes on for %d more messages: all of it is in the file.*", len(parts)-1)
		return append(parts[:1:1], note), &outfile{name: "answer.md", text: channel.SafeText(m.Text)}
	}
	return parts, nil
}

// plainMessage is a message that notifies nobody and has no previews, for which Discord
// would fetch whatever address an agent writes.
func plainMessage(text string) discord.MessageCreate {
	return discord.MessageCreate{Content: text, Flags: discord.MessageFlagSuppressEmbeds, AllowedMentions: nobody()}
}

// nobody is notified, whatever a text says.
func nobody() *discord.AllowedMentions {
	return &discord.AllowedMentions{Parse: []discord.AllowedMentionType{}, Roles: []snowflake.ID{}, Users: []snowflake.ID{}}
}

// buttons are the two answers to a question. Whoever may not answer can press them too,
// and is refused as they would be for the words.
func buttons(code string) []discord.LayoutComponent {
	return []discord.LayoutComponent{discord.NewActionRow(
		discord.NewSuccessButton("Approve", pressApprove+code), discord.NewDangerButton("Deny", pressDeny+code))}
}

// post sends one message and gives its number.
func (c *Channel) post(ctx context.Context, to place, p discord.MessageCreate) (string, error) {
	body, err := p.ToBody()
	if err != nil {
		return "", channel.Permanent(err)
	}
	var made struct {
		ID string `json:"id"`
	}
	err = c.do(ctx, rest.CreateMessage.Compile(nil, to.target()), body, &made)
	return made.ID, err
}

// outfile is a file that goes out: the host's own copy of it, or a text.
type outfile struct{ name, path, text, caption string }

// open gives what is in it.
func (f outfile) open() (io.ReadCloser, error) {
	if f.text != "" {
		if len(f.text) > maxUpload {
			return nil, channel.Permanent(fmt.Errorf("a text of %d bytes cannot be sent by Discord", len(f.text)))
		}
		return io.NopCloser(strings.NewReader(f.text)), nil
	}
	r, err := os.Open(f.path)
	if err != nil {
		return nil, channel.Permanent(fmt.Errorf("the host's copy of the file is gone: %w", err))
	}
	info, err := r.Stat()
	if err != nil || info.Size() == 0 || info.Size() > maxUpload {
		r.Close()
		return nil, channel.Permanent(fmt.Errorf("the file cannot be sent by Discord, which takes %d MB from bots", maxUpload>>20))
	}
	return r, nil
}

// fileName is a name that stays one where the library writes it between quotes.
func fileName(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '"' || r == '\\' || r == '/' {
			return '_'
		}
		return r
	}, channel.OneLine(s, 100))
}

// postFile sends a file.
func (c *Channel) postFile(ctx context.Context, to place, m chat.Outbound, f outfile, part int) (string, error) {
	r, err := f.open()
	if err != nil {
		return "", err
	}
	defer r.Close()
	p := plainMessage(f.caption)
	p.Nonce, p.EnforceNonce = nonce(m.Key, part), true
	p.Files = []*discord.File{{Name: fileName(f.name), Reader: r}}
	return c.post(ctx, to, p)
}
