package telegramtest

import (
	"context"
	"encoding/json"
	"html"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
)

// serveAPI answers the methods of the Bot API that the adapter uses.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	method := strings.TrimPrefix(r.URL.Path, "/bot"+Token+"/")
	s.mu.Lock()
	s.calls[method]++
	fail := s.fail[method]
	s.mu.Unlock()
	if fail != nil && fail(w) {
		return
	}
	if method == "getUpdates" {
		s.serveUpdates(w, r)
		return
	}
	r.ParseMultipartForm(1 << 20)
	result, no := s.answer(method, r)
	if no != "" {
		Refusal(w, 400, "Bad Request: "+no, nil)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{"ok": true, "result": result})
}

func (s *Server) answer(method string, r *http.Request) (result any, no string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch method {
	case "getMe":
		return map[string]any{"id": BotID, "is_bot": true, "first_name": "Andy", "username": BotName}, ""
	case "answerCallbackQuery":
		return true, ""
	case "getFile":
		id := r.FormValue("file_id")
		if _, ok := s.files[id]; !ok {
			return nil, "invalid file_id"
		}
		return map[string]any{"file_id": id, "file_unique_id": id, "file_path": "documents/" + id}, ""
	case "sendMessageDraft":
		m, no := message(method, r)
		if no == "" && m.Chat < 0 {
			no = "TEXTDRAFT_PEER_INVALID"
		}
		if no == "" {
			s.drafts = append(s.drafts, m)
		}
		return true, no
	case "sendMessage", "sendPhoto", "sendDocument":
		m, no := message(method, r)
		if no != "" {
			return nil, no
		}
		s.ids[m.Chat]++
		m.ID = s.ids[m.Chat]
		s.messages = append(s.messages, m)
		s.posted <- m
		return sent(m), ""
	case "setMessageReaction":
		return s.reactLocked(r)
	case "editMessageText", "deleteMessage":
		return s.changeLocked(method, r)
	}
	return nil, "method not found"
}

// changeLocked edits or deletes a message.
func (s *Server) changeLocked(method string, r *http.Request) (any, string) {
	id, _ := strconv.Atoi(r.FormValue("message_id"))
	m, no := message(method, r)
	at := slices.IndexFunc(s.messages, func(old Message) bool { return old.ID == id && old.Chat == m.Chat })
	switch {
	case at < 0:
		return nil, "message to edit not found"
	case method == "deleteMessage":
		s.messages = slices.Delete(s.messages, at, at+1)
		return true, ""
	case no != "":
		return nil, no
	case s.messages[at].Text == m.Text:
		return nil, "message is not modified: specified new message content and reply markup are exactly the same as a current content and reply markup of the message"
	}
	s.messages[at].Text = m.Text
	return sent(s.messages[at]), ""
}

func sent(m Message) map[string]any {
	return map[string]any{"message_id": m.ID, "date": time.Now().Unix(), "chat": map[string]any{"id": m.Chat, "type": "supergroup"}, "text": m.Text,
		"from": map[string]any{"id": BotID, "is_bot": true, "first_name": "Andy"}}
}

// message reads what is to be sent, and says why it cannot be.
func message(method string, r *http.Request) (Message, string) {
	m := Message{Method: method, Text: r.FormValue("text"), Mode: r.FormValue("parse_mode"), Keyboard: r.FormValue("reply_markup"), Preview: r.FormValue("link_preview_options")}
	m.Chat, _ = strconv.ParseInt(r.FormValue("chat_id"), 10, 64)
	m.Topic, _ = strconv.Atoi(r.FormValue("message_thread_id"))
	most := 4096
	if field := map[string]string{"sendPhoto": "photo", "sendDocument": "document"}[method]; field != "" {
		m.Text, most = r.FormValue("caption"), 1024
		f, head, err := r.FormFile(field)
		if err != nil {
			return m, "there is no file in the request"
		}
		body, _ := io.ReadAll(f)
		m.File, m.Body = head.Filename, string(body)
	} else if m.Text == "" {
		return m, "message text is empty"
	}
	words := m.Text
	if m.Mode == "HTML" {
		var no string
		if words, no = parse(words); no != "" {
			return m, no
		}
	}
	if len(utf16.Encode([]rune(words))) > most {
		return m, "message is too long"
	}
	return m, ""
}

var tags = regexp.MustCompile(`<(/?)([a-z]+)[^>]*>`)

// parse takes the marks out of a text in Telegram's HTML, and says what is wrong with
// them. Source: core.telegram.org/bots/api#html-style.
func parse(s string) (words, no string) {
	var open []string
	for _, t := range tags.FindAllStringSubmatch(s, -1) {
		name := t[2]
		switch {
		case !slices.Contains([]string{"b", "i", "u", "s", "a", "code", "pre", "blockquote"}, name):
			return "", "can't parse entities: Unsupported start tag \"" + name + "\""
		case t[1] == "":
			open = append(open, name)
		case len(open) == 0 || open[len(open)-1] != name:
			return "", "can't parse entities: Unmatched end tag"
		default:
			open = open[:len(open)-1]
		}
	}
	rest := tags.ReplaceAllString(s, "")
	if len(open) > 0 || strings.ContainsAny(rest, "<>") {
		return "", "can't parse entities: Can't find end tag"
	}
	return html.UnescapeString(rest), ""
}

// serveUpdates answers a request for updates. One that comes while another waits ends
// that.
func (s *Server) serveUpdates(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Offset  int64    `json:"offset"`
		Timeout int      `json:"timeout"`
		Allowed []string `json:"allowed_updates"`
	}
	json.NewDecoder(r.Body).Decode(&q)
	ctx, cancel := context.WithTimeout(r.Context(), time.Duration(q.Timeout)*time.Second)
	defer cancel()
	dropped, drop := context.WithCancel(ctx)
	defer drop()
	s.begin(q.Offset, drop)
	defer s.end()
	for {
		s.mu.Lock()
		got := s.pendingLocked(q.Allowed)
		changed := s.changed
		s.mu.Unlock()
		if len(got) > 0 || q.Timeout == 0 {
			json.NewEncoder(w).Encode(map[string]any{"ok": true, "result": got})
			return
		}
		select {
		case <-changed:
		case <-dropped.Done():
			if ctx.Err() == nil {
				Hang(w)
				return
			}
			q.Timeout = 0
		}
	}
}

// begin confirms what is below an offset.
func (s *Server) begin(offset int64, drop context.CancelFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.poll = drop
	s.polls++
	s.most = max(s.most, s.polls)
	for len(s.updates) > 0 && s.updates[0].number < offset {
		close(s.updates[0].gone)
		s.updates = s.updates[1:]
	}
}

func (s *Server) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.polls--
}

// pendingLocked are the updates that are not confirmed, of the kinds that are wanted.
func (s *Server) pendingLocked(kinds []string) []map[string]any {
	out := []map[string]any{}
	for i := range s.updates {
		if len(out) == 100 {
			break
		}
		wanted := slices.ContainsFunc(kinds, func(k string) bool { return s.updates[i].body[k] != nil })
		if wanted || s.updates[i].body["raw"] != nil {
			s.updates[i].delivered++
			out = append(out, s.updates[i].body)
		}
	}
	if len(out) > 0 {
		close(s.changed)
		s.changed = make(chan struct{})
	}
	return out
}
