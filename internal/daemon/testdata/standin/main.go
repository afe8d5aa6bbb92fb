// Standin plays Claude Code, as far as a session of a benchmark needs: it says
// that it is initialised, answers each message, and on "flood" first sends 2,000
// pieces of text, one each millisecond, each with the time at which it was sent.
// It costs next to nothing, so that what is measured is what is around it.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
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
			if strings.Contains(l.Message.Content, "flood") {
				flood()
			}
			fmt.Printf(`{"type":"result","subtype":"success","result":"done","user_message_uuids":[%q]}`+"\n", l.UUID)
		}
	}
}

func flood() {
	began := time.Now()
	for i := range 2000 {
		time.Sleep(time.Until(began.Add(time.Duration(i) * time.Millisecond)))
		fmt.Printf(`{"type":"stream_event","event":{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"%d "}},"session_id":"0","parent_tool_use_id":null,"uuid":"0"}`+"\n",
			time.Now().UnixMicro())
	}
}
