package discordtest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Refusal writes an error as the REST interface does.
func Refusal(w http.ResponseWriter, status, code int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(Object{"code": code, "message": text})
}

// Fail has a method, such as "POST messages", answered by f until it gives false. Nil
// ends that.
func (s *Server) Fail(method string, f func(http.ResponseWriter) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail[method] = f
}

// Refuse has a method answered with an error, n times.
func (s *Server) Refuse(method string, status, code int, text string, n int) {
	s.Fail(method, func(w http.ResponseWriter) bool {
		if n--; n < 0 {
			return false
		}
		Refusal(w, status, code, text)
		return true
	})
}

// Limit has a method answered with a rate limit, n times. With a bucket it is the one of
// the method, without one that of the whole network before Discord.
func (s *Server) Limit(method string, seconds float64, bucket string, n int) {
	s.Fail(method, func(w http.ResponseWriter) bool {
		if n--; n < 0 {
			return false
		}
		w.Header().Set("Retry-After", strconv.Itoa(int(seconds)))
		if bucket != "" {
			w.Header().Set("X-RateLimit-Bucket", bucket)
			w.Header().Set("Via", "1.1 google")
		}
		w.WriteHeader(http.StatusTooManyRequests)
		json.NewEncoder(w).Encode(Object{"message": "You are being rate limited.", "retry_after": seconds, "global": false})
		return true
	})
}

// Calls says how often a method was called.
func (s *Server) Calls(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[method]
}

// Messages are those of a channel that the bot posted and that are there still.
func (s *Server) Messages(channel string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Message
	for _, m := range s.messages {
		if m.Channel == channel {
			out = append(out, m)
		}
	}
	return out
}

// Posted waits for the next message that the bot posts.
func (s *Server) Posted(ctx context.Context) (Message, error) {
	select {
	case m := <-s.posted:
		return m, nil
	case <-ctx.Done():
		return Message{}, ctx.Err()
	}
}

// Answered are the interactions that were answered, each as ID/TOKEN/TYPE.
func (s *Server) Answered() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.pressed)
}

// serveAPI answers the methods of the REST interface that the adapter uses.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	part := strings.Split(strings.TrimPrefix(r.URL.Path, "/api/"), "/")
	method := r.Method + " " + part[0]
	if len(part) > 2 && part[0] != "interactions" {
		method = r.Method + " " + part[2]
	}
	s.mu.Lock()
	s.calls[method]++
	fail := s.fail[method]
	s.mu.Unlock()
	if fail != nil && fail(w) {
		return
	}
	if part[0] != "interactions" && r.Header.Get("Authorization") != "Bot "+Token {
		Refusal(w, 401, 0, "401: Unauthorized")
		return
	}
	status, answer := s.answer(method, part, r)
	if status >= 400 {
		Refusal(w, status, answer.(Object)["code"].(int), "refused")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if answer != nil {
		json.NewEncoder(w).Encode(answer)
	}
}

func (s *Server) answer(method string, part []string, r *http.Request) (int, any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch method {
	case "GET users":
		return 200, Object{"id": BotID, "username": "andy", "bot": true}
	case "GET gateway":
		return 200, Object{"url": s.gateway() + "/ws", "shards": 1, "session_start_limit": Object{"total": 1000, "remaining": 999, "reset_after": 1, "max_concurrency": 1}}
	case "GET channels":
		switch part[1] {
		case General:
			return 200, Object{"id": General, "type": 0, "guild_id": Guild, "parent_id": "5000000000000000009"}
		case Thread:
			return 200, Object{"id": Thread, "type": 11, "guild_id": Guild, "parent_id": General}
		case Direct:
			return 200, Object{"id": Direct, "type": 1}
		}
		return 404, Object{"code": 10003}
	case "GET threads":
		return 200, Object{"threads": []any{Object{"id": Thread, "type": 11, "parent_id": General}, Object{"id": "5000000000000000008", "type": 11, "parent_id": "5"}}}
	case "POST messages":
		return s.postLocked(part[1], r)
	case "GET messages":
		return s.historyLocked(part, r)
	case "PATCH messages", "DELETE messages":
		return s.changeLocked(method, part, r)
	case "PUT messages":
		return s.reactLocked(part)
	case "POST interactions":
		var body struct {
			Type int `json:"type"`
		}
		json.NewDecoder(r.Body).Decode(&body)
		s.pressed = append(s.pressed, fmt.Sprintf("%s/%s/%d", part[1], part[2], body.Type))
		return 204, nil
	}
	return 404, Object{"code": 0}
}

// postLocked posts a message, unless one with the same nonce is there.
func (s *Server) postLocked(channel string, r *http.Request) (int, any) {
	var body struct {
		Content    string          `json:"content"`
		Nonce      string          `json:"nonce"`
		Enforce    bool            `json:"enforce_nonce"`
		Flags      int             `json:"flags"`
		Mentions   json.RawMessage `json:"allowed_mentions"`
		Components json.RawMessage `json:"components"`
	}
	m := Message{Channel: channel}
	if r.ParseMultipartForm(32<<20) == nil {
		json.Unmarshal([]byte(r.FormValue("payload_json")), &body)
		if f, head, err := r.FormFile("files[0]"); err == nil {
			data, _ := io.ReadAll(f)
			m.File, m.Body = head.Filename, string(data)
		}
	} else {
		json.NewDecoder(r.Body).Decode(&body)
	}
	m.Text, m.Nonce, m.Flags, m.Mentions, m.Components = body.Content, body.Nonce, body.Flags, string(body.Mentions), string(body.Components)
	if utf8.RuneCountInString(m.Text) > 2000 || m.Text == "" && m.File == "" || len(m.Nonce) > 25 {
		return 400, Object{"code": 50035}
	}
	if at := slices.IndexFunc(s.messages, func(old Message) bool { return body.Enforce && old.Nonce == m.Nonce && m.Nonce != "" }); at >= 0 {
		return 200, Object{"id": s.messages[at].ID, "channel_id": channel}
	}
	m.ID = s.idLocked()
	s.messages = append(s.messages, m)
	s.history[channel] = append(s.history[channel], Object{"id": m.ID, "channel_id": channel, "type": 0, "content": m.Text, "author": Object{"id": BotID, "username": "andy", "bot": true}})
	s.posted <- m
	return 200, Object{"id": m.ID, "channel_id": channel, "content": m.Text, "components": []any{Object{"type": 999}}}
}

// historyLocked is newest first; of one message it is that.
func (s *Server) historyLocked(part []string, r *http.Request) (int, any) {
	after, _ := strconv.ParseUint(r.URL.Query().Get("after"), 10, 64)
	limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
	out := []Object{}
	for _, m := range s.history[part[1]] {
		id, _ := strconv.ParseUint(m["id"].(string), 10, 64)
		if len(part) == 4 {
			if part[3] == m["id"] {
				return 200, m
			}
			continue
		}
		if id > after && len(out) < limit {
			without := Object{}
			for k, v := range m {
				if k != "guild_id" && k != "member" {
					without[k] = v
				}
			}
			out = append(out, without)
		}
	}
	if len(part) == 4 {
		return 404, Object{"code": 10008}
	}
	slices.Reverse(out)
	return 200, out
}

// changeLocked edits or deletes a message of the bot.
func (s *Server) changeLocked(method string, part []string, r *http.Request) (int, any) {
	at := slices.IndexFunc(s.messages, func(m Message) bool { return m.Channel == part[1] && m.ID == part[3] })
	if at < 0 {
		return 404, Object{"code": 10008}
	}
	if method == "DELETE messages" {
		s.messages = slices.Delete(s.messages, at, at+1)
		return 204, nil
	}
	var body struct {
		Content string `json:"content"`
	}
	json.NewDecoder(r.Body).Decode(&body)
	s.messages[at].Text = body.Content
	return 200, Object{"id": part[3]}
}

func (s *Server) serveFile(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	body, ok := s.files[strings.TrimPrefix(r.URL.Path, "/files/")]
	s.mu.Unlock()
	if !ok || r.Header.Get("Authorization") != "" {
		http.Error(w, "no", http.StatusNotFound)
		return
	}
	io.WriteString(w, body)
}
