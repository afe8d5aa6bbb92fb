// Standin plays Claude Code, as far as a session of a benchmark needs: it says
// that it is initialised and answers each message. On "ask" it first asks the
// model and passes its words on; on "flood" it sends 2,000 pieces of text, one each
// millisecond, each with the time at which it was sent. It costs next to nothing,
// so that what is measured is what is around it.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"
)

func main() {
	in := bufio.NewReaderSize(os.Stdin, 64<<10)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var l struct {
			Type    string
			UUID    string
			ID      string `json:"request_id"`
			Message struct{ Content string }
		}
		if json.Unmarshal(line, &l) != nil {
			continue
		}
		switch l.Type {
		case "control_request":
			fmt.Printf(`{"type":"control_response","response":{"subtype":"success","request_id":%q,"response":{}}}`+"\n", l.ID)
		case "user":
			switch {
			case strings.Contains(l.Message.Content, "flood"):
				flood()
			case strings.Contains(l.Message.Content, "ask"):
				ask()
			}
			fmt.Printf(`{"type":"result","subtype":"success","result":"done","user_message_uuids":[%q]}`+"\n", l.UUID)
		}
	}
}

func flood() {
	began := time.Now()
	for i := range 2000 {
		time.Sleep(time.Until(began.Add(time.Duration(i) * time.Millisecond)))
		say(fmt.Sprintf(`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"%d "}}`, time.Now().UnixMicro()))
	}
}

func say(event string) {
	fmt.Printf(`{"type":"stream_event","event":%s,"session_id":"0","parent_tool_use_id":null,"uuid":"0"}`+"\n", event)
}

func ask() {
	body := `{"model":"claude-opus-5-5","max_tokens":100,"stream":true,"messages":[{"role":"user","content":"hello"}]}`
	resp, err := http.Post(os.Getenv("ANTHROPIC_BASE_URL")+"/v1/messages?beta=true", "application/json", strings.NewReader(body))
	if err != nil {
		say(fmt.Sprintf(`{"error":%q}`, err))
		return
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if event, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			say(event)
		}
	}
}
