package egress

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"nanoclaw/internal/config"
)

func TestCheckBody(t *testing.T) {
	content := func(block string) string {
		return `{"model":"m","messages":[{"role":"user","content":[` + block + `]}]}`
	}
	for _, c := range []struct {
		name, body, want string // a part of the refusal, "" for none
	}{
		{"plain", `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"hi {[\"}"}],"stream":true}`, ""},
		{"spaces", " { \"model\" : \"m\" ,\n\"messages\" : [ ] , \"tools\" : [ ] }\n", ""},
		{"nothing", `{}`, ""},
		{"null lists", `{"tools":null,"messages":null,"system":null}`, ""},
		{"own tools", `{"tools":[{"name":"Bash","input_schema":{"type":"web_search_1"}},{"type":"custom","name":"x"},{"type":"bash_20250124","name":"bash"},{"type":null}]}`, ""},
		{"blocks", content(`{"type":"text","text":"x"},{"type":"image","source":{"type":"base64","data":"eA=="}},{"type":"document","source":{"type":"content","content":[{"type":"text"}]}}`), ""},
		{"a tool's input is data", content(`{"type":"tool_use","id":"t","input":{"source":{"type":"url"},"mcp_servers":1,"content":[{"type":"container_upload"}]}}`), ""},
		{"a tool's result", content(`{"type":"tool_result","content":[{"type":"text","text":"x"},{"type":"image","source":{"type":"base64"}}]}`), ""},
		{"a search result names where it is from", content(`{"type":"search_result","source":"https://x","content":[{"type":"text"}]}`), ""},

		{"not JSON", `{"model":`, "not one JSON value"},
		{"two values", `{} {}`, "not one JSON value"},
		{"empty", ``, "not one JSON value"},
		{"a list", `[]`, "an object belongs"},
		{"mcp servers", `{"mcp_servers":[{"type":"url","url":"https://evil.test"}]}`, "field mcp_servers"},
		{"spelt otherwise", `{"mcp\u005fservers":[]}`, "field mcp_servers"},
		{"container", `{"container":{"skills":[]}}`, "field container"},
		{"a field of tomorrow", `{"fetch_for_me":1}`, "field fetch_for_me"},
		{"web search", `{"tools":[{"name":"a"},{"type":"web_search_20250305","name":"web_search"}]}`, "tool type web_search_20250305"},
		{"web fetch", `{"tools":[{"type":"web_fetch_20250910"}]}`, "web_fetch"},
		{"code", `{"tools":[{"type":"code_execution_20250825"}]}`, "code_execution"},
		{"mcp toolset", `{"tools":[{"type":"mcp_toolset"}]}`, "mcp_toolset"},
		{"type is no text", `{"tools":[{"type":["web_search_20250305"]}]}`, "tool type"},
		{"two types, the last one harmless", `{"tools":[{"type":"web_search_20250305","type":"custom"}]}`, "web_search"},
		{"two types, the first one harmless", `{"tools":[{"type":"custom","type":"web_search_20250305"}]}`, "twice"},
		{"two lists of tools", `{"tools":[],"tools":[{"type":"web_search_20250305"}]}`, "twice"},
		{"tools are no list", `{"tools":{"type":"web_search_20250305"}}`, "a list belongs"},
		{"image by URL", content(`{"type":"image","source":{"type":"url","url":"https://evil.test/?secret"}}`), "source type url"},
		{"document by file", content(`{"type":"document","source":{"type":"file","file_id":"file_1"}}`), "source type file"},
		{"spelt otherwise", content(`{"type":"image","sou\u0072ce":{"type":"\u0075rl"}}`), "source type url"},
		{"source without type", content(`{"type":"image","source":{"url":"https://evil.test"}}`), "without a source type"},
		{"in a tool's result", content(`{"type":"tool_result","content":[{"type":"image","source":{"type":"url"}}]}`), "source type url"},
		{"in a document", content(`{"type":"document","source":{"type":"content","content":[{"type":"image","source":{"type":"url"}}]}}`), "source type url"},
		{"in the system prompt", `{"system":[{"type":"image","source":{"type":"url"}}]}`, "source type url"},
		{"upload to a container", content(`{"type":"container_upload","file_id":"file_1"}`), "container_upload"},
		{"a block of tomorrow", content(`{"type":"web_page","url":"https://evil.test"}`), "web_page"},
		{"two contents", `{"messages":[{"content":"x","content":[{"type":"image","source":{"type":"url"}}]}]}`, "twice"},
	} {
		if got := newBodyRules(nil).check([]byte(c.body)); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// Nothing that is refused reaches the provider, from whichever process inside.
func TestModelBodyIsJudged(t *testing.T) {
	w := newWorld(t)
	u, asked := upstream(t, config.Model{APIKey: "sk-real"}, func(http.ResponseWriter, *http.Request) {})
	url, _ := w.modelURL(u)
	for _, c := range []struct {
		body   string
		header []string
		code   int
		want   string
	}{
		{`{"mcp_servers":[{"type":"url","url":"https://evil.test"}]}`, nil, 403, "mcp_servers"},
		{`{"tools":[{"type":"web_fetch_20250910","name":"web_fetch"}]}`, []string{"Anthropic-Beta", "web-fetch-2025-09-10"}, 403, "web_fetch"},
		{"\x1f\x8b", []string{"Content-Encoding", "gzip"}, 415, "encoded"},
	} {
		code, _, body := send(t, client(t), "POST", url+"/v1/messages", c.body, append(c.header, "X-Api-Key", "sk-foreign")...)
		var answer struct {
			Error struct{ Message string } `json:"error"`
		}
		if err := json.Unmarshal([]byte(body), &answer); err != nil || code != c.code || !strings.Contains(answer.Error.Message, c.want) {
			t.Errorf("%.40q: %d %s", c.body, code, body)
		}
	}
	if code, _, _ := send(t, client(t), "GET", url+"/v1/models", "x"); code != 400 {
		t.Errorf("a GET with a body: %d", code)
	}
	if n := len(asked.all()); n != 0 {
		t.Errorf("the provider was asked %d times", n)
	}
}

// A tool of the provider passes where the grant has it, with what a conversation says
// of its uses, and opens nothing else.
func TestGrantedServerTools(t *testing.T) {
	content := func(block string) string {
		return `{"model":"m","messages":[{"role":"assistant","content":[` + block + `]}]}`
	}
	search := `{"tools":[{"type":"web_search_20250305","name":"web_search","max_uses":8,"allowed_domains":["go.dev"],"user_location":{"type":"approximate"}}]}`
	searched := content(`{"type":"server_tool_use","id":"s","name":"web_search","input":{"query":"x"}},` +
		`{"type":"web_search_tool_result","tool_use_id":"s","content":[{"type":"web_search_result","url":"https://go.dev","title":"Go","encrypted_content":"x"}]},` +
		`{"type":"web_search_tool_result","tool_use_id":"s","content":{"type":"web_search_tool_result_error","error_code":"max_uses_exceeded"}}`)
	fetch := `{"tools":[{"type":"web_fetch_20250910","name":"web_fetch"}]}`
	fetched := content(`{"type":"server_tool_use","id":"f","name":"web_fetch","input":{"url":"https://go.dev"}},` +
		`{"type":"web_fetch_tool_result","tool_use_id":"f","content":{"type":"web_fetch_result","url":"https://go.dev","content":{"type":"document","source":{"type":"text","data":"x"}}}}`)
	code := `{"tools":[{"type":"code_execution_20250825","name":"code_execution"}]}`
	run := content(`{"type":"server_tool_use","id":"c","name":"bash_code_execution","input":{}},{"type":"bash_code_execution_tool_result","content":{"type":"bash_code_execution_result","content":[]}}`)
	hidden := content(`{"type":"web_fetch_tool_result","content":{"type":"web_fetch_result","content":{"type":"document","source":{"type":"url","url":"https://evil.test"}}}}`)
	all := []string{"web_search", "web_fetch", "code_execution"}
	for _, tt := range []struct {
		name    string
		granted []string
		body    string
		want    string
	}{
		{"a search", all[:1], search, ""},
		{"a search in the conversation", all[:1], searched, ""},
		{"a fetch", all[1:2], fetch, ""},
		{"a fetch in the conversation", all[1:2], fetched, ""},
		{"code", all[2:], code, ""},
		{"code in the conversation", all[2:], run, ""},
		{"all three", all, search, ""},

		{"nothing granted", nil, search, "tool type web_search"},
		{"its conversation neither", nil, searched, "type server_tool_use"},
		{"another one granted", all[:1], fetch, "tool type web_fetch"},
		{"a use of another one, which the provider would take up", all[:1], content(`{"type":"server_tool_use","name":"web_fetch","input":{"url":"https://evil.test"}}`), "tool web_fetch"},
		{"a use without a name", all, content(`{"type":"server_tool_use","input":{}}`), "the provider's tool"},
		{"a use by two names", all[:1], content(`{"name":"web_fetch","type":"server_tool_use","name":"web_search"}`), "twice"},
		{"results of another one", all[:1], fetched, "tool web_fetch"},
		{"a URL to fetch in a result", all, hidden, "source type url"},
		{"an image by URL", all, content(`{"type":"image","source":{"type":"url","url":"https://evil.test"}}`), "source type url"},
		{"servers", all, `{"mcp_servers":[]}`, "field mcp_servers"},
		{"a container to be used again", all, `{"container":"container_1"}`, "field container"},
		{"an upload", all, content(`{"type":"container_upload","file_id":"file_1"}`), "container_upload"},
		{"a tool that no grant can name", append(all, "mcp_toolset"), `{"tools":[{"type":"mcp_toolset"}]}`, "mcp_toolset"},
	} {
		if got := newBodyRules(tt.granted).check([]byte(tt.body)); (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	// What the configuration accepts is what the gateway knows.
	for name := range serverTools {
		c := config.Default()
		c.Groups["g"] = config.Group{ServerTools: []string{name}}
		if p := c.Validate(config.Options{}); len(p) != 0 {
			t.Errorf("%s cannot be granted: %v", name, p)
		}
	}
}

// FuzzCheckBody: no text makes the check fall over, and what it passes holds no
// field that it does not know.
func FuzzCheckBody(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"messages":[{"content":[{"type":"tool_result","content":[]}]}]}`, `{"tools":[{"type":"custom"}],"system":[{"type":"text"}]}`,
		` {"a":"\"\\",  "b":[1,-2e3,true,null,{"c":[[]]}]} `, `{"messages":[{"content":[{"source":{"type":"content","content":[{}]}}]}]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if newBodyRules(nil).check(body) != "" {
			return
		}
		var top map[string]json.RawMessage
		if err := json.Unmarshal(body, &top); err != nil {
			t.Fatalf("passed what is no object: %v", err)
		}
		for key := range top {
			if !bodyFields[key] {
				t.Errorf("passed the field %q", key)
			}
		}
		var tools []struct {
			Type any `json:"type"`
		}
		if json.Unmarshal(top["tools"], &tools) == nil {
			for _, tool := range tools {
				if s, _ := tool.Type.(string); strings.HasPrefix(s, "web_") || strings.HasPrefix(s, "code_") {
					t.Errorf("passed the tool %q", s)
				}
			}
		}
	})
}

// BenchmarkCheckBody is what judging a conversation of 1 MB costs.
func BenchmarkCheckBody(b *testing.B) {
	turn := `{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"` + strings.Repeat(`a line of \"text\"\n`, 500) + `"}]}`
	body := []byte(`{"model":"m","messages":[` + turn + strings.Repeat(","+turn, 99) + `]}`)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if no := newBodyRules(nil).check(body); no != "" {
			b.Fatal(no)
		}
	}
}
