package slacktest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// serveAPI answers the methods of the web API that the adapter uses.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	method := strings.TrimPrefix(r.URL.Path, "/api/")
	r.ParseForm()
	s.mu.Lock()
	s.calls[method]++
	fail := s.fail[method]
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if fail != nil && fail(w) {
		return
	}
	key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if key == "" {
		key = r.Form.Get("token")
	}
	want := BotKey
	if method == "apps.connections.open" {
		want = AppKey
	}
	if key != want {
		fmt.Fprint(w, `{"ok":false,"error":"invalid_auth"}`)
		return
	}
	answer := s.answer(method, r)
	if answer["error"] == nil {
		answer["ok"] = true
	}
	json.NewEncoder(w).Encode(answer)
}

func (s *Server) answer(method string, r *http.Request) map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := r.Form
	switch method {
	case "auth.test":
		return map[string]any{"url": s.URL, "team": "Test", "user": "andy", "team_id": Team, "user_id": BotUser, "bot_id": BotID}
	case "apps.connections.open":
		return map[string]any{"url": "ws" + strings.TrimPrefix(s.URL, "http") + "/socket?ticket=secret"}
	case "users.info":
		return map[string]any{"user": map[string]any{"id": f.Get("user"), "profile": map[string]any{"display_name": "name-" + f.Get("user")}}}
	case "chat.postMessage":
		m := Message{TS: s.tsLocked(), Type: "message", User: BotUser, BotID: BotID, Team: Team, Text: f.Get("text"), Channel: f.Get("channel"),
			Thread: f.Get("thread_ts"), Blocks: f.Get("blocks"), Unfurl: f.Get("unfurl_links")}
		if meta := f.Get("metadata"); meta != "" {
			m.Metadata = json.RawMessage(meta)
		}
		s.postLocked(m)
		return map[string]any{"channel": m.Channel, "ts": m.TS}
	case "chat.update", "chat.delete":
		i := slices.IndexFunc(s.messages, func(m Message) bool { return m.TS == f.Get("ts") })
		if i < 0 {
			return map[string]any{"error": "message_not_found"}
		}
		if method == "chat.update" {
			s.messages[i].Text = f.Get("text")
		} else {
			s.messages = slices.Delete(s.messages, i, i+1)
		}
		return map[string]any{"channel": f.Get("channel"), "ts": f.Get("ts"), "text": f.Get("text")}
	case "conversations.history", "conversations.replies":
		return s.historyLocked(f.Get("channel"), f.Get("oldest"), f.Get("ts"))
	case "reactions.add":
		return s.reactLocked(f)
	case "files.info":
		file, ok := s.files[f.Get("file")]
		if !ok {
			return map[string]any{"error": "file_not_found"}
		}
		return map[string]any{"file": file}
	case "files.getUploadURLExternal":
		id := fmt.Sprintf("F%d", len(s.files)+1)
		s.files[id] = File{ID: id, Name: f.Get("filename")}
		return map[string]any{"upload_url": s.URL + "/upload/" + id, "file_id": id}
	case "files.completeUploadExternal":
		return s.completeLocked(r)
	}
	return map[string]any{"error": "unknown_method"}
}

func (s *Server) postLocked(m Message) {
	s.messages = append(s.messages, m)
	select {
	case s.posted <- m:
	default:
	}
}

// historyLocked is newest first, and without threads; of a thread it is oldest first.
func (s *Server) historyLocked(channel, oldest, thread string) map[string]any {
	var out []Message
	for _, m := range s.messages {
		inThread := m.Thread != "" && m.Thread != m.TS
		if m.Channel != channel || m.TS <= oldest {
			continue
		}
		if thread == "" && inThread || thread != "" && m.Thread != thread && m.TS != thread {
			continue
		}
		out = append(out, m)
	}
	if thread == "" {
		slices.Reverse(out)
	}
	return map[string]any{"messages": out, "has_more": false}
}

func (s *Server) completeLocked(r *http.Request) map[string]any {
	var files []struct {
		ID string `json:"id"`
	}
	json.Unmarshal([]byte(r.Form.Get("files")), &files)
	m := Message{TS: s.tsLocked(), Type: "message", User: BotUser, BotID: BotID, Team: Team, Channel: r.Form.Get("channel_id"), Text: r.Form.Get("initial_comment"), Thread: r.Form.Get("thread_ts")}
	if m.Channel == "" {
		m.Channel, _, _ = strings.Cut(r.Form.Get("channels"), ",")
	}
	for _, f := range files {
		m.Files = append(m.Files, s.files[f.ID])
	}
	s.postLocked(m)
	return map[string]any{"files": m.Files}
}
