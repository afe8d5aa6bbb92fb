package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types/events"
)

// The id of a part is the same at each attempt, and no other part has it.
func TestMessageID(t *testing.T) {
	seen := map[string]bool{}
	for _, key := range []string{"run:1", "run:2"} {
		for part := range 3 {
			id := messageID(key, part)
			if id != messageID(key, part) || seen[id] || len(id) != 22 || !strings.HasPrefix(id, whatsmeow.WebMessageIDPrefix) {
				t.Errorf("the id of %s, %d is %q", key, part, id)
			}
			seen[id] = true
		}
	}
}

func TestDestination(t *testing.T) {
	for chat, ok := range map[string]bool{
		"490000000001@s.whatsapp.net": true, "120363000000000001@g.us": true, "900000000001@lid": true,
		"": false, "x": false, "status@broadcast": false, "490000000001:3@s.whatsapp.net": false, "1@newsletter": false, "@g.us": false,
	} {
		if _, err := destination(chat); (err == nil) != ok {
			t.Errorf("%q gave %v", chat, err)
		}
	}
}

// A burst goes out at once, and what follows in its time.
func TestPace(t *testing.T) {
	p := pace{every: sendEvery}
	at := time.Unix(1000, 0)
	for i := range sendBurst + 3 {
		want := time.Duration(max(0, i+1-sendBurst)) * sendEvery
		if got := p.wait(at); got != want {
			t.Errorf("message %d waits %v, want %v", i, got, want)
		}
	}
	if got := p.wait(at.Add(time.Hour)); got != 0 {
		t.Errorf("after an hour it waits %v", got)
	}
}

// What is wrong with the connection is said in words.
func TestWords(t *testing.T) {
	for _, tt := range []struct {
		e           any
		state, want string
		over        bool
	}{
		{&events.ClientOutdated{}, "ended", "405", false},
		{&events.LoggedOut{Reason: events.ConnectFailureLoggedOut}, "waiting", "nanoclaw channel login wa", true},
		{&events.TemporaryBan{Expire: time.Hour}, "ended", "1h0m0s", false},
		{&events.StreamReplaced{}, "ended", "only one can", false},
		{&events.Disconnected{}, "connecting", "lost", false},
		{&events.Receipt{}, "", "", false},
	} {
		state, cause, over := words(tt.e, "wa")
		if state != tt.state || !strings.Contains(cause, tt.want) || over != tt.over {
			t.Errorf("%T is %q, %q, %v", tt.e, state, cause, over)
		}
	}
}

// Ids that were written down are known after a restart.
func TestSent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	for _, known := range []bool{false, true} {
		s, err := openState(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if s.ours("3EB0") != known || s.ours("other") {
			t.Errorf("the id is known: %v, want %v", s.ours("3EB0"), known)
		}
		if err := s.sending(t.Context(), "3EB0"); err != nil {
			t.Fatal(err)
		}
		s.close()
	}
}

// A device that is not linked says so, asks WhatsApp for nothing until somebody wants to
// log in, says then that it cannot reach WhatsApp, and ends with its input.
func TestNotLinked(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := run(ctx, []string{"-newest=false"}, inR, outW, nil)
		outW.Close()
		done <- err
	}()
	lines := bufio.NewScanner(outR)
	hear := func(kind, part string) {
		t.Helper()
		for lines.Scan() {
			var l struct{ Type string }
			if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
				t.Fatal(err)
			}
			if l.Type == kind && strings.Contains(lines.Text(), part) {
				return
			}
		}
		t.Fatalf("no line %q with %q", kind, part)
	}
	say := func(l string) {
		t.Helper()
		if _, err := fmt.Fprintln(inW, l); err != nil {
			t.Fatal(err)
		}
	}
	say(`{"type":"hello","version":1,"channel":"whatsapp","window":32}`)
	hear("hello", `"version":1`)
	hear("state", "nanoclaw channel login whatsapp")
	say(`{"type":"ping","nonce":"n1"}`)
	hear("pong", "n1")
	say(`{"type":"deliver","call":1,"chat":"nobody","key":"k","parts":["x"]}`)
	hear("result", `"failure":"never"`)
	say(`{"type":"deliver","call":2,"chat":"120363000000000001@g.us","key":"k","parts":["x"]}`)
	hear("result", `"failure":"later"`)
	say(`{"type":"login"}`)
	hear("state", "cannot be reached")
	say(`{"type":"login"}`)
	for lines.Scan() && !strings.Contains(lines.Text(), `"state"`) {
	}
	if !strings.Contains(lines.Text(), "cannot be reached") {
		t.Errorf("why it could not be linked is followed by %s", lines.Text())
	}
	inW.Close()
	go io.Copy(io.Discard, outR)
	if err := <-done; err != nil && !errors.Is(err, io.EOF) {
		t.Errorf("it ended with %v", err)
	}
}
