package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
)

// How often it is looked for something new while a page is open, and said that the
// connection lives.
const (
	lookTime  = time.Second
	aliveTime = 15 * time.Second
)

// events writes server-sent events (HTML Living Standard, section 9.2).
type events struct {
	w http.ResponseWriter
	c *http.ResponseController
}

func newEvents(w http.ResponseWriter) (*events, error) {
	e := &events{w, http.NewResponseController(w)}
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	return e, e.send("hello", nothing{})
}

type nothing struct{}

func (e *events) send(name string, v any) error {
	data, err := json.Marshal(v) // it has no line break
	if err != nil {
		return err
	}
	if err := e.c.SetWriteDeadline(time.Now().Add(aliveTime)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(e.w, "event: %s\ndata: %s\n\n", name, data); err != nil {
		return err
	}
	return e.c.Flush()
}

// live tells a page that something is other than it was. What, the page looks up.
func (s *Server) live(w http.ResponseWriter, r *http.Request) error {
	e, err := newEvents(w)
	if err != nil {
		return nil // nobody is there
	}
	look, alive := time.NewTicker(lookTime), time.NewTicker(aliveTime)
	defer look.Stop()
	defer alive.Stop()
	last, err := s.mark(r)
	for err == nil {
		select {
		case <-r.Context().Done():
			return nil
		case <-alive.C:
			err = e.send("alive", nothing{})
		case <-look.C:
			if !s.signedIn(r, false) {
				return nil
			}
			var now uint64
			if now, err = s.mark(r); err == nil && now != last {
				last, err = now, e.send("change", nothing{})
			}
		}
	}
	return nil
}

// mark is another number when something happened. It asks for what is cheap to tell: a
// whole status decides about each group, which is too much for every second.
func (s *Server) mark(r *http.Request) (uint64, error) {
	live, err := s.host.Runs(r.Context(), control.RunsQuery{Live: true})
	if err != nil {
		return 0, err
	}
	open, err := s.host.Approvals(r.Context())
	if err != nil {
		return 0, err
	}
	newest, err := s.host.AuditList(r.Context(), control.AuditQuery{Limit: 1})
	if err != nil {
		return 0, err
	}
	h := fnv.New64a()
	err = json.NewEncoder(h).Encode([]any{live, open, newest})
	return h.Sum64(), err
}

// chatLine is one thing to show in a chat. What it is for is in Kind: "answer", "host",
// or a chat.ProgressKind.
type chatLine struct {
	Kind string `json:"kind"`
	Text string `json:"text"`
}

// chatBody is what was said in a group, and a terminal of it, if Newest is.
type chatBody struct {
	control.GroupInfo
	Talk   []control.Exchange
	Newest bool
	// Older is the run before which the page before ends, "" for none.
	Older chat.RunID
}

// talked is how many runs a page of a chat shows.
const talked = 20

// chatPage is a terminal in the browser, beneath what was said before.
func (s *Server) chatPage(w http.ResponseWriter, r *http.Request) error {
	g, err := s.group(r)
	if err != nil {
		return err
	}
	before := chat.RunID(r.FormValue("before"))
	b := chatBody{GroupInfo: g, Newest: before == ""}
	if b.Talk, err = s.host.Talk(r.Context(), control.TalkQuery{Group: g.Name, Before: before, Limit: talked}); err != nil {
		return err
	}
	if len(b.Talk) == talked {
		b.Older = b.Talk[0].Run.ID
	}
	for i := range b.Talk {
		b.Talk[i].Replies = slices.DeleteFunc(b.Talk[i].Replies, comes)
	}
	return s.show(w, r, "chat", frame{Title: "Chat with " + string(g.Name), Here: "groups", Body: b})
}

// comes says of an answer that the terminal of the page will be given it.
func comes(s control.Words) bool {
	return strings.HasPrefix(s.Chat, string(chat.Console)+":") && (s.State == "pending" || s.State == "sending")
}

// stream is what comes for the owner's terminals of a group.
func (s *Server) stream(w http.ResponseWriter, r *http.Request) error {
	term, err := s.host.Attach(r.Context(), chat.Group(r.PathValue("group")))
	if err != nil {
		return err
	}
	defer term.Close()
	e, err := newEvents(w)
	for err == nil && s.signedIn(r, false) {
		var m *chat.Outbound
		var p *chat.Progress
		if m, p, err = term.Next(r.Context()); err != nil {
			break
		}
		err = e.send(shownAs(m, p))
	}
	if errors.Is(err, io.EOF) {
		e.send("closed", nothing{})
	}
	return nil // what was not shown waits for the next terminal
}

func shownAs(m *chat.Outbound, p *chat.Progress) (string, chatLine) {
	switch {
	case m == nil:
		return "progress", chatLine{string(p.Kind), channel.SafeText(p.Text)}
	case m.FromHost():
		return "message", chatLine{"host", channel.SafeText(m.Text)}
	}
	return "message", chatLine{"answer", channel.SafeText(m.Text)}
}
