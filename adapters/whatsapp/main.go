// Nanoclaw-whatsapp connects WhatsApp to NanoClaw, as a linked device of an account:
// an adapter in the sense of docs/adapters.md, which the host starts inside a boundary
// of its own.
//
// It is a program and a module of its own since it links go.mau.fi/libsignal, which is
// under the GPL version 3, and so is under that licence itself (see LICENSE). Nothing
// of it is in the program nanoclaw, which speaks with it over a pipe.
//
// # What it promises
//
// A message is acknowledged to WhatsApp only after the host stored it. A message that
// goes out has an id that is made of the host's key for it, and is written down before
// it is sent, so that a second attempt is the same message, and so that our own
// messages are known by their id and by nothing else.
//
// # Trust
//
// Everything from WhatsApp is a stranger's. Who wrote a message is what WhatsApp says
// of it (types.MessageSource), and never its text or its name. What somebody quotes or
// forwards is handed over as somebody else's words.
//
// # What it leaves to others
//
// Noise, Signal and the multi-device protocol: go.mau.fi/whatsmeow. Who may speak, and
// what a message means: the host.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, nil); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// options are the program's arguments.
type options struct {
	phone   string
	spare   bool
	home    string
	version bool // whether WhatsApp is asked for its newest version
}

func parse(args []string) (options, error) {
	o := options{home: os.Getenv("HOME")}
	f := flag.NewFlagSet("nanoclaw-whatsapp", flag.ContinueOnError)
	f.StringVar(&o.phone, "phone", "", "link by a code that is typed in on the phone of this `number`, as 4917012345678, in place of a QR code")
	f.BoolVar(&o.spare, "spare-number", false, "the account is the assistant's own: a direct message or a mention calls it")
	f.BoolVar(&o.version, "newest", true, "ask WhatsApp for the newest version of its web client, and say that we are it")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("%q is no argument", f.Arg(0))
	}
	return o, nil
}

// run speaks with the host until the input ends. ready, if it is there, is called before.
func run(ctx context.Context, args []string, in io.Reader, out io.Writer, ready func(*adapter) error) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	h := newHost(out)
	st, err := openState(ctx, filepath.Join(o.home, "whatsapp.db"))
	if err != nil {
		return err
	}
	defer st.close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	a, err := newAdapter(ctx, o, h, st, cancel)
	if err != nil {
		return err
	}
	if ready != nil {
		if err := ready(a); err != nil {
			return err
		}
	}
	go func() { cancel(h.read(in, a)) }()
	a.serve(ctx)
	if err := context.Cause(ctx); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
