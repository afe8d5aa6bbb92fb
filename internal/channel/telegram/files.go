package telegram

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-telegram/bot"
	"github.com/go-telegram/bot/models"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
)

// Bounds of Telegram's own server. Source: core.telegram.org/bots/api, "getFile" and
// "Sending files".
const (
	maxDownload = 20 << 20
	maxUpload   = 50 << 20
	maxPhoto    = 10 << 20
	maxCaption  = 1000 // 1024, of which marks do not count
	fileTime    = 5 * time.Minute
)

// MaxFile is the largest file that is sent.
func (c *Channel) MaxFile() int64 { return maxUpload }

// Fetch writes a file that came with a message to w.
func (c *Channel) Fetch(ctx context.Context, f chat.File, w io.Writer) error {
	tooLarge := channel.Permanent(fmt.Errorf("the file is larger than the %d MB that Telegram gives to bots", maxDownload>>20))
	if f.Size > maxDownload {
		return tooLarge
	}
	ctx, cancel := context.WithTimeout(ctx, fileTime)
	defer cancel()
	var at *models.File
	err := c.call(ctx, "getFile", func(ctx context.Context) (err error) {
		at, err = c.client.GetFile(ctx, &bot.GetFileParams{FileID: f.Ref})
		return err
	})
	switch {
	case err != nil && strings.Contains(err.Error(), "file is too big"):
		return tooLarge
	case err != nil:
		return fmt.Errorf("telegram does not give the file: %w", err)
	case at.FilePath == "":
		return channel.Permanent(errors.New("telegram does not say where the file is"))
	}
	return c.download(ctx, at.FilePath, w)
}

// download fetches what lies at a path that Telegram named.
func (c *Channel) download(ctx context.Context, path string, w io.Writer) error {
	escaped := (&url.URL{Path: path}).EscapedPath()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.opt.API+"/file/bot"+c.opt.Bot+"/"+strings.TrimPrefix(escaped, "/"), nil)
	if err != nil {
		return channel.Permanent(errors.New("telegram names a place that is none"))
	}
	response, err := c.http.Do(r)
	if err != nil {
		return bare(err)
	}
	defer response.Body.Close()
	switch {
	case response.StatusCode == http.StatusNotFound:
		return channel.Permanent(errors.New("telegram does not have the file any more"))
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("telegram does not give the file: %s", response.Status)
	}
	_, err = io.Copy(w, response.Body)
	return err
}

// outfile is a file that goes out: the host's own copy of it, or a text.
type outfile struct {
	file    *chat.File
	text    string
	caption string
}

// text is a text as a file. The library takes pointers alone.
type text struct{ strings.Reader }

// Close does nothing.
func (*text) Close() error { return nil }

// open gives what is in it, from the beginning.
func (f outfile) open() (io.ReadCloser, int64, error) {
	if f.text != "" {
		return &text{*strings.NewReader(f.text)}, int64(len(f.text)), nil
	}
	r, err := os.Open(f.file.Path)
	if err != nil {
		return nil, 0, channel.Permanent(fmt.Errorf("the host's copy of the file is gone: %w", err))
	}
	info, err := r.Stat()
	if err != nil || info.Size() == 0 || info.Size() > maxUpload {
		r.Close()
		return nil, 0, channel.Permanent(fmt.Errorf("a file of %d bytes cannot be sent by Telegram, which takes %d MB from bots", f.file.Size, maxUpload>>20))
	}
	return r, info.Size(), nil
}

// photo says that a file can be shown as a picture.
func (f outfile) photo(size int64) bool {
	return size <= maxPhoto && (f.file.Type == "image/png" || f.file.Type == "image/jpeg")
}

// sendFile sends a file. A picture that Telegram does not show as one, since it is too
// long, goes as a document.
func (c *Channel) sendFile(ctx context.Context, to place, f outfile) (string, error) {
	r, size, err := f.open()
	if err != nil {
		return "", err
	}
	r.Close()
	if f.photo(size) {
		id, err := c.upload(ctx, "sendPhoto", f, func(ctx context.Context, file models.InputFile, mode models.ParseMode, caption string) (*models.Message, error) {
			return c.client.SendPhoto(ctx, &bot.SendPhotoParams{ChatID: to.chat, MessageThreadID: to.topic, Photo: file, Caption: caption, ParseMode: mode})
		})
		if err == nil || !errors.Is(err, bot.ErrorBadRequest) {
			return id, err
		}
	}
	return c.upload(ctx, "sendDocument", f, func(ctx context.Context, file models.InputFile, mode models.ParseMode, caption string) (*models.Message, error) {
		return c.client.SendDocument(ctx, &bot.SendDocumentParams{ChatID: to.chat, MessageThreadID: to.topic, Document: file, Caption: caption, ParseMode: mode})
	})
}

type sendUpload func(ctx context.Context, file models.InputFile, mode models.ParseMode, caption string) (*models.Message, error)

// upload does one upload, and another without marks if Telegram does not take those.
func (c *Channel) upload(ctx context.Context, method string, f outfile, send sendUpload) (id string, err error) {
	try := func(mode models.ParseMode, caption string) error {
		return c.gates.CallFor(ctx, c.opt.Log, method, fileTime, func(ctx context.Context) error {
			r, _, err := f.open()
			if err != nil {
				return err
			}
			defer r.Close()
			sent, err := send(ctx, &models.InputFileUpload{Filename: channel.OneLine(f.file.Name, 100), Data: r}, mode, caption)
			if err == nil {
				id = strconv.Itoa(sent.ID)
			}
			return judge(err)
		})
	}
	if f.caption == "" {
		return id, inWords(try("", ""))
	}
	err = try(models.ParseModeHTML, f.caption)
	if unmarked(err) {
		err = try("", bareText(f.caption))
	}
	return id, inWords(err)
}
