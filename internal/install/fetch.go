package install

import (
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"
)

// limits bound what is taken from a registry that may be anybody's.
type limits struct {
	archive int64         // bytes fetched
	program int64         // bytes unpacked
	stall   time.Duration // without a byte
	report  time.Duration // between two lines of progress
}

// orUsual gives the usual limits in place of none. The archive is 175 MB today
// and the program 381 MB.
func (l limits) orUsual() limits {
	if l == (limits{}) {
		return limits{archive: 512 << 20, program: 1 << 30, stall: time.Minute, report: 5 * time.Second}
	}
	return l
}

// tryAnother is what helps if a registry does not have what we want.
const tryAnother = "\nfix: try again, or name another npm registry in npm_config_registry"

// download gives the archive as a file without a name, from its beginning. Its
// hash is the pinned one.
func (o Options) download(ctx context.Context) (*os.File, error) {
	want, ok := strings.CutPrefix(o.Package.Integrity, "sha512-")
	if !ok {
		return nil, errors.New("it has no pinned hash")
	}
	from := *o.Registry
	from.Path += "/" + o.Package.file()
	o.Say(fmt.Sprintf("fetching %s from %s", o.Package, o.Registry.Redacted()))
	f, err := os.CreateTemp(o.Dir, ".archive*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	h := sha512.New()
	err = o.get(ctx, &from, io.MultiWriter(f, h))
	if got := base64.StdEncoding.EncodeToString(h.Sum(nil)); err == nil && got != want {
		err = fmt.Errorf("the archive is not the one that we know: its hash is sha512-%s, the pinned one sha512-%s; nothing of it was unpacked%s", got, want, tryAnother)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// get copies what is at an address. It ends if nothing comes for a while.
func (o Options) get(ctx context.Context, from *url.URL, to io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silent := time.AfterFunc(o.limits.stall, func() {
		cancel(fmt.Errorf("%s was silent for %v", from.Host, o.limits.stall))
	})
	defer silent.Stop()
	err := o.copyFrom(ctx, from, to, func() { silent.Reset(o.limits.stall) })
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	var far *farError
	if err == nil || errors.Is(err, context.Canceled) || errors.As(err, &far) && far.local {
		return err
	}
	return fmt.Errorf("%w%s", err, tryAnother)
}

// farError is a failure of copying that is not the registry's if local is set:
// then another registry would not help.
type farError struct {
	err   error
	local bool
}

func (e *farError) Error() string { return e.err.Error() }
func (e *farError) Unwrap() error { return e.err }

func (o Options) copyFrom(ctx context.Context, from *url.URL, to io.Writer, moved func()) error {
	transport := o.transport()
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, from.String(), nil)
	if err != nil {
		return err
	}
	r.Header.Set("User-Agent", "nanoclaw")
	answer, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", from.Redacted(), answer.Status)
	}
	tooLarge := fmt.Errorf("the archive is larger than %d bytes", o.limits.archive)
	if answer.ContentLength > o.limits.archive {
		return tooLarge
	}
	p := &progress{o: o, total: answer.ContentLength, last: time.Now(), moved: moved}
	n, err := io.Copy(&localWriter{to}, io.TeeReader(io.LimitReader(answer.Body, o.limits.archive+1), p))
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the archive broke off after %d bytes of %d", n, answer.ContentLength)
	case err != nil:
		return err
	case n > o.limits.archive:
		return tooLarge
	}
	return nil
}

// localWriter marks an error of writing as one of this machine.
type localWriter struct{ w io.Writer }

func (l *localWriter) Write(b []byte) (int, error) {
	n, err := l.w.Write(b)
	if err != nil {
		err = &farError{err, true}
	}
	return n, err
}

// progress tells how far it got.
type progress struct {
	o           Options
	done, total int64
	last        time.Time
	moved       func()
}

func (p *progress) Write(b []byte) (int, error) {
	p.moved()
	p.done += int64(len(b))
	if now := time.Now(); now.Sub(p.last) >= p.o.limits.report {
		p.last = now
		of := ""
		if p.total > 0 {
			of = fmt.Sprintf(" of %d", p.total/1e6)
		}
		p.o.Say(fmt.Sprintf("%d%s MB", p.done/1e6, of))
	}
	return len(b), nil
}

// transport heeds the owner's HTTPS_PROXY, and unpacks nothing by itself: the
// hash is of the bytes as they come.
func (o Options) transport() *http.Transport {
	env := func(name string) string {
		if v := o.Getenv(name); v != "" {
			return v
		}
		return o.Getenv(strings.ToLower(name))
	}
	proxy := (&httpproxy.Config{HTTPSProxy: env("HTTPS_PROXY"), HTTPProxy: env("HTTP_PROXY"), NoProxy: env("NO_PROXY")}).ProxyFunc()
	return &http.Transport{
		Proxy:                  func(r *http.Request) (*url.URL, error) { return proxy(r.URL) },
		DialContext:            (&net.Dialer{Timeout: 15 * time.Second}).DialContext,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		TLSHandshakeTimeout:    15 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}
