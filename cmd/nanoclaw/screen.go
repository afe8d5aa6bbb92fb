package main

import (
	"bytes"
	"io"
	"os"
	"sync"

	"golang.org/x/term"
)

// screen is the terminal of an interactive chat. It has two states: at the
// prompt, where a line is edited and what arrives is shown above it, and busy,
// where a run goes on and its answer is written as it comes. Keys typed while
// it is busy wait for the next prompt. While it asks it is both: the run that
// goes on waits for what is typed at the prompt.
type screen struct {
	tty  *os.File
	term *term.Terminal
	keys *keys

	mu     sync.Mutex // guards busy and asking, and keeps writes whole
	busy   bool
	asking bool
}

// The keys that the screen looks at, and those it sends to the line editor.
const (
	ctrlC    = 0x03
	ctrlD    = 0x04
	clearAll = "\x05\x15" // to the end of the line, then delete to its beginning
)

// newScreen reads keys from in and writes to tty, which is in raw mode.
// interrupt is called for Ctrl-C while a run goes on.
func newScreen(in io.Reader, tty *os.File, prompt string, interrupt func()) *screen {
	s := &screen{tty: tty}
	s.keys = newKeys(s, interrupt)
	s.term = term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{s.keys, tty}, prompt)
	s.term.SetBracketedPasteMode(true)
	s.resize()
	go s.keys.pump(in)
	return s
}

func (s *screen) close() { s.term.SetBracketedPasteMode(false) }

func (s *screen) resize() {
	rows, cols := sizeOf(s.tty)
	s.term.SetSize(int(cols), int(rows))
}

// write appends text. At the prompt it has to be whole lines.
func (s *screen) write(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.busy || s.asking {
		s.term.Write([]byte(text))
		return
	}
	s.tty.Write(bytes.ReplaceAll([]byte(text), []byte("\n"), []byte("\r\n")))
}

func (s *screen) setBusy(busy bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = busy
}

func (s *screen) setAsking(asking bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asking = asking
}

func (s *screen) isBusy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.busy
}

// message reads one message. A text that is pasted is one message with all its
// lines, sent by the next Enter. io.EOF is the wish to leave.
func (s *screen) message() (string, error) {
	var pasted []byte
	for {
		line, err := s.term.ReadLine()
		switch {
		case err == term.ErrPasteIndicator:
			pasted = append(append(pasted, line...), '\n')
		case err != nil:
			return "", err
		default:
			return string(append(pasted, line...)), nil
		}
	}
}

// keys is what is typed, less Ctrl-C, until the line editor asks for it.
type keys struct {
	screen    *screen
	interrupt func()

	mu      sync.Mutex // guards all below
	more    *sync.Cond
	typed   []byte
	err     error
	leaving bool // the last key was Ctrl-C at the prompt
}

// maxTyped bounds the keys that wait.
const maxTyped = 64 << 10

func newKeys(s *screen, interrupt func()) *keys {
	k := &keys{screen: s, interrupt: interrupt}
	k.more = sync.NewCond(&k.mu)
	return k
}

// Read gives keys to the line editor.
func (k *keys) Read(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.typed) == 0 {
		if k.err != nil {
			return 0, k.err
		}
		k.more.Wait()
	}
	n := copy(p, k.typed)
	k.typed = k.typed[n:]
	return n, nil
}

// pump reads the keyboard until it ends.
func (k *keys) pump(in io.Reader) {
	buf := make([]byte, 4096)
	for {
		n, err := in.Read(buf)
		for _, b := range buf[:n] {
			k.key(b)
		}
		if err != nil {
			k.mu.Lock()
			k.err = err
			k.mu.Unlock()
			k.more.Broadcast()
			return
		}
	}
}

// key takes one byte from the keyboard. Ctrl-C interrupts the run; at the
// prompt it empties the line, and a second one leaves.
func (k *keys) key(b byte) {
	if b != ctrlC {
		k.put(string([]byte{b}), false)
		return
	}
	if k.screen.isBusy() {
		k.interrupt()
		return
	}
	k.mu.Lock()
	leaving := k.leaving
	k.mu.Unlock()
	if leaving {
		k.put(clearAll+string([]byte{ctrlD}), false)
		return
	}
	k.put(clearAll, true)
	k.screen.write("(Ctrl-C again or Ctrl-D leaves)\n")
}

func (k *keys) put(typed string, leaving bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.leaving = leaving
	if len(k.typed)+len(typed) <= maxTyped {
		k.typed = append(k.typed, typed...)
	}
	k.more.Broadcast()
}
