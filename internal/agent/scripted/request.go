package scripted

import (
	"encoding/json"
	"net/http"
	"strings"
)

// Request is one request that the agent made.
type Request struct {
	Method string
	Path   string
	Header http.Header
	// Body is the request as it came: what must not have left is searched here.
	Body   []byte
	Model  string
	Stream bool
	// UserText is the text of the last message that a user wrote: messages of
	// role system and blocks that begin with <system-reminder> are the agent's own.
	UserText string
	// ToolResults are what the tools answered, if they answered last.
	ToolResults []string
	// Tools are the names of the tools that the model is offered.
	Tools []string
}

func parseRequest(r *http.Request, body []byte) Request {
	req := Request{Method: r.Method, Path: r.URL.Path, Header: r.Header.Clone(), Body: body}
	var b struct {
		Model    string `json:"model"`
		Stream   bool   `json:"stream"`
		Messages []struct {
			Role    string          `json:"role"`
			Content json.RawMessage `json:"content"`
		} `json:"messages"`
		Tools []struct {
			Name string `json:"name"`
		} `json:"tools"`
	}
	if json.Unmarshal(body, &b) != nil {
		return req
	}
	req.Model, req.Stream = b.Model, b.Stream
	for _, t := range b.Tools {
		req.Tools = append(req.Tools, t.Name)
	}
	for i := len(b.Messages) - 1; i >= 0; i-- {
		if b.Messages[i].Role != "user" {
			continue
		}
		text, results := readContent(b.Messages[i].Content)
		if text == "" && results == nil {
			continue
		}
		req.UserText, req.ToolResults = text, results
		break
	}
	return req
}

// readContent parts a message into what a user wrote and what tools answered.
func readContent(raw json.RawMessage) (text string, results []string) {
	for _, block := range contentBlocks(raw) {
		switch block.Type {
		case "text":
			if t := block.Text; !strings.HasPrefix(strings.TrimSpace(t), "<system-reminder>") {
				text += t
			}
		case "tool_result":
			var parts []string
			for _, inner := range contentBlocks(block.Content) {
				parts = append(parts, inner.Text)
			}
			results = append(results, strings.Join(parts, "\n"))
		}
	}
	return text, results
}

type contentBlock struct {
	Type    string          `json:"type"`
	Text    string          `json:"text"`
	Content json.RawMessage `json:"content"`
}

// contentBlocks reads content, which is a text or a list of blocks.
func contentBlocks(raw json.RawMessage) []contentBlock {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return []contentBlock{{Type: "text", Text: s}}
	}
	var blocks []contentBlock
	if json.Unmarshal(raw, &blocks) != nil {
		return nil
	}
	return blocks
}
