package hosttools

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/authority"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/task"
)

// fakeHost is the host as these tests want it. It remembers the order of what
// was done.
type fakeHost struct {
	mu      sync.Mutex
	did     []string
	sendErr error
	recErr  error
	listErr error
	onSend  func()
	tasks   []task.Task
	host    bool // groups run in host mode

	effects  []Effect
	earlier  map[string]Begun
	ended    []string
	beginErr error
}

func (h *fakeHost) Rules(chat.Group) TaskRules {
	return TaskRules{Zone: "Europe/Berlin", Most: 3, Least: time.Minute, HostMode: h.host}
}

func (h *fakeHost) Tasks(_ context.Context, g chat.Group) ([]task.Task, error) {
	var out []task.Task
	for _, t := range h.tasks {
		if g == "" || t.Group == g {
			out = append(out, t)
		}
	}
	return out, nil
}

func (h *fakeHost) Schedule(_ context.Context, from Identity, t task.Task, ask bool) (string, error) {
	h.add(fmt.Sprintf("schedule %s->%s %s %s %s", from.Group, t.Group, t.Spec.Kind, t.Spec.Value, t.Spec.Zone))
	return said(ask), nil
}

func (h *fakeHost) Update(_ context.Context, from Identity, t task.Task, ask bool) (string, error) {
	h.add(fmt.Sprintf("update %s->%s %s %s %s", from.Group, t.ID, t.State, t.Spec.Value, t.Prompt))
	return said(ask), nil
}

func said(ask bool) string {
	if ask {
		return "the owner is asked"
	}
	return "done"
}

func (h *fakeHost) Act(_ context.Context, from Identity, id chat.TaskID, verb TaskVerb) (string, error) {
	h.add(fmt.Sprintf("%s %s->%s", verb, from.Group, id))
	return "done", nil
}

func (h *fakeHost) AskToRegister(_ context.Context, from Identity, g NewGroup) (string, error) {
	h.add(fmt.Sprintf("register %s->%+v", from.Group, g))
	return "the owner is asked", nil
}

func (h *fakeHost) Groups(context.Context) ([]GroupInfo, error) {
	return []GroupInfo{{Name: "main", Mode: "host"}, {Name: "family"}, {Name: "work"}}, h.listErr
}

func (h *fakeHost) Send(_ context.Context, from Identity, to chat.Group, text string) error {
	if h.onSend != nil {
		h.onSend()
	}
	h.add(fmt.Sprintf("send %s->%s %s", from.Group, to, clip(text, 20)))
	return h.sendErr
}

// Begin knows what earlier runs did, by tool, and notes what comes of the rest.
func (h *fakeHost) Begin(_ context.Context, _ Identity, e Effect) (Begun, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.beginErr != nil {
		return Begun{}, h.beginErr
	}
	h.effects = append(h.effects, e)
	if b, ok := h.earlier[e.Hash]; ok {
		return b, nil
	}
	key := fmt.Sprint("effect:", len(h.effects))
	return Begun{Key: key, End: func(_ context.Context, did bool, answer string) error {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.ended = append(h.ended, fmt.Sprint(key, " ", did, " ", answer))
		return nil
	}}, nil
}

func (h *fakeHost) GroupOf(to chat.Address) (chat.Group, error) {
	switch {
	case to.Channel != "chat":
		return "", errors.New("there is no channel here of that name")
	case to.Chat == "work":
		return "work", nil
	}
	return "", nil
}

func (h *fakeHost) SendFile(_ context.Context, _ Identity, f OutFile) (string, error) {
	return "Sent " + f.Path + ".", nil
}

func (h *fakeHost) React(_ context.Context, from Identity, emoji string) (string, error) {
	h.add(fmt.Sprintf("react %s %s", from.Group, emoji))
	return "Given: " + emoji, nil
}

func (h *fakeHost) AskToSend(_ context.Context, from Identity, to chat.Address, text string) (string, error) {
	h.add(fmt.Sprintf("ask %s->%s %s", from.Group, to, clip(text, 20)))
	return "the owner is asked", nil
}

func (h *fakeHost) Record(_ context.Context, e audit.Entry) error {
	d := e.Data.(audit.HostToolCalledData)
	h.add(fmt.Sprintf("record %s %s %s", e.Group, d.Tool, d.Verdict))
	return h.recErr
}

func (h *fakeHost) add(s string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.did = append(h.did, s)
}

func (h *fakeHost) all() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.did...)
}

// sends counts the messages that went out.
func (h *fakeHost) sends() (n int) {
	for _, d := range h.all() {
		if strings.HasPrefix(d, "send ") {
			n++
		}
	}
	return n
}

var everyTool = func() (all []grant.Tool) {
	for _, name := range Names() {
		all = append(all, grant.Tool{Name: name})
	}
	return all
}()

func newServer(t *testing.T, g chat.Group, tools []grant.Tool, h Host) *Server {
	t.Helper()
	s := New(Identity{Group: g, Session: "stest", Run: func() chat.RunID { return "rtest" }}, tools, h)
	t.Cleanup(s.Close)
	return s
}

// callTool makes a call by Message and gives the words of the answer.
func callTool(t *testing.T, s *Server, name, args string) (text string, isError bool) {
	t.Helper()
	raw, err := s.Message(t.Context(), json.RawMessage(fmt.Sprintf(
		`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, name, args)))
	if err != nil {
		t.Fatalf("message: %v", err)
	}
	return readAnswer(t, raw)
}

func readAnswer(t *testing.T, raw json.RawMessage) (text string, isError bool) {
	t.Helper()
	var r struct {
		ID     int `json:"id"`
		Result *struct {
			IsError bool                    `json:"isError"`
			Content []struct{ Text string } `json:"content"`
		} `json:"result"`
		Error *struct{ Message string } `json:"error"`
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	if r.Error != nil {
		return r.Error.Message, true
	}
	if r.ID != 7 || r.Result == nil || len(r.Result.Content) != 1 {
		t.Fatalf("answer = %s", raw)
	}
	return r.Result.Content[0].Text, r.Result.IsError
}

// TestAuthority is the table of who may do what, by the identity of the wire.
func TestAuthority(t *testing.T) {
	const leave = "only the agent of main may send to another group: leave out group to send to your own chat"
	tests := []struct {
		name  string
		group chat.Group
		tool  string
		args  string
		want  string // how the answer begins
		did   []string
	}{
		{"main to itself", "main", "send_message", `{"text":"hi"}`, "Sent to main.",
			[]string{"record main send_message allowed", "send main->main hi"}},
		{"main to another", "main", "send_message", `{"text":"hi","group":"family"}`, "Sent to family.",
			[]string{"record main send_message allowed", "send main->family hi"}},
		{"main to nobody", "main", "send_message", `{"text":"hi","group":"nobody"}`, `refused: there is no group "nobody": there are main, family, work`,
			[]string{"record main send_message refused"}},
		{"a group to itself", "family", "send_message", `{"text":"hi"}`, "Sent to family.",
			[]string{"record family send_message allowed", "send family->family hi"}},
		{"a group to itself by name", "family", "send_message", `{"text":"hi","group":"family"}`, "Sent to family.",
			[]string{"record family send_message allowed", "send family->family hi"}},
		{"a group to main", "family", "send_message", `{"text":"hi","group":"main"}`, "refused: " + leave,
			[]string{"record family send_message refused"}},
		{"a group to another", "family", "send_message", `{"text":"hi","group":"work"}`, "refused: " + leave,
			[]string{"record family send_message refused"}},
		{"a group to nobody learns nothing", "family", "send_message", `{"text":"hi","group":"nobody"}`, "refused: " + leave,
			[]string{"record family send_message refused"}},
		{"a name that looks alike", "family", "send_message", `{"text":"hi","group":"family "}`, "refused: " + leave,
			[]string{"record family send_message refused"}},
		{"a path", "family", "send_message", `{"text":"hi","group":"family/../main"}`, "refused: " + leave,
			[]string{"record family send_message refused"}},
		{"two groups named", "family", "send_message", `{"group":"family","text":"hi","group":"main"}`, `refused: the arguments are not understood: "group" is there twice`,
			[]string{"record family send_message refused"}},
		{"a name in another case", "family", "send_message", `{"text":"hi","GROUP":"main"}`, `refused: the arguments are not understood: unknown field "GROUP"`,
			[]string{"record family send_message refused"}},
		{"a name in letters that fold to it", "family", "send_message", `{"text":"hi","\u0067roup":"main"}`, "refused: " + leave,
			[]string{"record family send_message refused"}},
		{"no UTF-8", "main", "send_message", "{\"text\":\"\xff\"}", "refused: the arguments are not understood: they are no UTF-8",
			[]string{"record main send_message refused"}},
		{"nothing", "main", "send_message", "null", "refused: ", []string{"record main send_message refused"}},
		{"nested deeply", "main", "send_message", `{"text":` + strings.Repeat("[", 500) + strings.Repeat("]", 500) + `}`, "refused: the arguments are not understood",
			[]string{"record main send_message refused"}},
		{"a forged identity", "family", "send_message", `{"text":"hi","from":"main"}`, "refused: the arguments are not understood",
			[]string{"record family send_message refused"}},
		{"a forged session", "family", "send_message", `{"text":"hi","session":"smain","groupFolder":"main"}`, "refused: the arguments are not understood",
			[]string{"record family send_message refused"}},
		{"main lists", "main", "list_groups", `{}`, `[{"name":"main","mode":"host"},{"name":"family"},{"name":"work"}]`,
			[]string{"record main list_groups allowed"}},
		{"a group lists", "family", "list_groups", `{}`, `refused: there is no tool "list_groups" here: there are send_message`,
			[]string{"record family list_groups refused"}},
		{"arguments where there are none", "main", "list_groups", `{"all":true}`, "refused: the arguments are not understood",
			[]string{"record main list_groups refused"}},
		{"no text", "main", "send_message", `{}`, "refused: text is missing", []string{"record main send_message refused"}},
		{"empty text", "main", "send_message", `{"text":" \n"}`, "refused: text is missing", []string{"record main send_message refused"}},
		{"text of another type", "main", "send_message", `{"text":["a"]}`, "refused: the arguments are not understood", []string{"record main send_message refused"}},
		{"no object", "main", "send_message", `"text"`, "refused: the arguments are not understood", []string{"record main send_message refused"}},
		{"the longest text", "main", "send_message", `{"text":"` + strings.Repeat("x", maxText) + `"}`, "Sent to main.",
			[]string{"record main send_message allowed", "send main->main xxxxxxxxxxxxxxxxxxxx…"}},
		{"too long a text", "main", "send_message", `{"text":"` + strings.Repeat("x", maxText+1) + `"}`, "refused: the text is 65537 bytes",
			[]string{"record main send_message refused"}},
		{"main to a chat of a group", "main", "send_message", `{"text":"hi","chat":"chat:work"}`, "Sent to work.",
			[]string{"record main send_message allowed", "send main->work hi"}},
		{"main to a chat of nobody's", "main", "send_message", `{"text":"hi","chat":"chat:else:where"}`, "the owner is asked",
			[]string{"record main send_message allowed", "ask main->chat:else:where hi"}},
		{"main to no channel", "main", "send_message", `{"text":"hi","chat":"post:x"}`, "refused: there is no channel", []string{"record main send_message refused"}},
		{"main to no address", "main", "send_message", `{"text":"hi","chat":"work"}`, `refused: "work" is not an address`, []string{"record main send_message refused"}},
		{"main to a chat and a group", "main", "send_message", `{"text":"hi","chat":"chat:work","group":"work"}`, "refused: group and chat are both given", []string{"record main send_message refused"}},
		{"a group to a chat of nobody's", "family", "send_message", `{"text":"hi","chat":"chat:else"}`, "refused: only the agent of main may send to a chat that belongs to no group",
			[]string{"record family send_message refused"}},
		{"a group to a chat of another's learns nothing", "family", "send_message", `{"text":"hi","chat":"chat:work"}`, "refused: only the agent of main may send to a chat that belongs to no group",
			[]string{"record family send_message refused"}},
		{"a group to no channel learns nothing", "family", "send_message", `{"text":"hi","chat":"post:x"}`, "refused: only the agent of main may send to a chat that belongs to no group",
			[]string{"record family send_message refused"}},
		{"an unknown tool", "main", "run_on_host", `{}`, `refused: there is no tool "run_on_host" here: there are send_message, list_groups`,
			[]string{"record main run_on_host refused"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := &fakeHost{}
			text, isError := callTool(t, newServer(t, tt.group, everyTool, h), tt.tool, tt.args)
			if !strings.HasPrefix(text, tt.want) || isError != strings.HasPrefix(tt.want, "refused") {
				t.Errorf("answer = %q (error %v), want %q", text, isError, tt.want)
			}
			if d := cmp.Diff(tt.did, h.all()); d != "" {
				t.Errorf("what the host did (-want +got):\n%s", d)
			}
		})
	}
}

// TestTheCheckHoldsByItself calls list_groups as if New had offered the tool to
// the wrong group.
func TestTheCheckHoldsByItself(t *testing.T) {
	h := &fakeHost{}
	s := newServer(t, "family", everyTool, h)
	s.tools["list_groups"] = listGroups()
	if text, err := s.call(t.Context(), "list_groups", nil); err == nil || !strings.Contains(err.Error(), "only the agent of main may list the groups") {
		t.Errorf("a group that is not main may list the groups: %q, %v", text, err)
	}
	if d := cmp.Diff([]string{"record family list_groups refused"}, h.all()); d != "" {
		t.Errorf("what the host did (-want +got):\n%s", d)
	}
}

// TestEveryToolHasARule: a tool that does nothing the table knows is denied to
// everybody, and so would not be offered.
func TestEveryToolHasARule(t *testing.T) {
	for _, tool := range all() {
		if v := authority.Decide(tool.act, authority.Agent(chat.Main)); v.Outcome == authority.Deny {
			t.Errorf("%s: %s", tool.name, v.Reason)
		}
	}
}

func TestOnlyGrantedToolsExist(t *testing.T) {
	tests := []struct {
		name    string
		group   chat.Group
		granted []grant.Tool
		want    []string
	}{
		{"main, all", "main", everyTool, []string{"add_reaction", "cancel_task", "list_groups", "list_tasks", "pause_task", "register_group", "resume_task", "schedule_task", "send_file", "send_image", "send_message", "update_task"}},
		{"main, one", "main", everyTool[:1], []string{"send_message"}},
		{"main, none", "main", nil, nil},
		{"a group, all", "family", everyTool, []string{"add_reaction", "cancel_task", "list_tasks", "pause_task", "resume_task", "schedule_task", "send_file", "send_image", "send_message", "update_task"}},
		{"a tool that nobody knows", "main", []grant.Tool{{Name: "run_on_host"}}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := &fakeHost{}
			s := newServer(t, tt.group, tt.granted, h)
			var r struct {
				Result struct {
					Tools []struct{ Name, Description string }
				}
			}
			raw, err := s.Message(t.Context(), json.RawMessage(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`))
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(raw, &r); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, tool := range r.Result.Tools {
				got = append(got, tool.Name)
				if len(tool.Description) < 80 {
					t.Errorf("%s is described as %q", tool.Name, tool.Description)
				}
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("tools (-want +got):\n%s", d)
			}
			if tt.granted == nil {
				if text, isError := callTool(t, s, "send_message", `{"text":"hi"}`); !isError || h.sends() != 0 {
					t.Errorf("a tool outside the grant answered %q", text)
				}
			}
		})
	}
}

func TestNothingUnrecorded(t *testing.T) {
	h := &fakeHost{recErr: errors.New("disk full")}
	text, isError := callTool(t, newServer(t, "main", everyTool, h), "send_message", `{"text":"hi"}`)
	if !isError || !strings.Contains(text, "cannot record") || h.sends() != 0 {
		t.Errorf("answer = %q, done: %v", text, h.all())
	}
	if strings.Contains(text, "disk full") {
		t.Error("the host's own error is shown inside")
	}
}

func TestFailuresAreRecordedAndNotShownInside(t *testing.T) {
	h := &fakeHost{sendErr: errors.New("open /home/owner/secret.db")}
	text, isError := callTool(t, newServer(t, "main", everyTool, h), "send_message", `{"text":"hi"}`)
	if !isError || strings.Contains(text, "owner/secret") || !strings.Contains(text, "could not do this") {
		t.Errorf("answer = %q", text)
	}
	want := []string{"record main send_message allowed", "send main->main hi", "record main send_message failed"}
	if d := cmp.Diff(want, h.all()); d != "" {
		t.Errorf("what the host did (-want +got):\n%s", d)
	}
	h = &fakeHost{listErr: errors.New("open /home/owner/secret.db")}
	text, _ = callTool(t, newServer(t, "main", everyTool, h), "send_message", `{"text":"hi","group":"work"}`)
	if strings.Contains(text, "owner/secret") || h.sends() != 0 {
		t.Errorf("answer = %q, done: %v", text, h.all())
	}
}

func TestPanicCostsOneCall(t *testing.T) {
	h := &fakeHost{onSend: func() { panic("a bug") }}
	s := newServer(t, "main", everyTool, h)
	if text, isError := callTool(t, s, "send_message", `{"text":"hi"}`); !isError || strings.Contains(text, "a bug") {
		t.Errorf("answer = %q", text)
	}
	h.onSend = nil
	if text, isError := callTool(t, s, "send_message", `{"text":"hi"}`); isError {
		t.Errorf("the call after = %q", text)
	}
}

func TestNothingBetweenRuns(t *testing.T) {
	h := &fakeHost{}
	s := New(Identity{Group: "main", Run: func() chat.RunID { return "" }}, everyTool, h)
	defer s.Close()
	text, isError := callTool(t, s, "send_message", `{"text":"hi"}`)
	if !isError || !strings.Contains(text, "no run is going on") || h.sends() != 0 {
		t.Errorf("answer = %q, done: %v", text, h.all())
	}
}

func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &fakeHost{}
		s := newServer(t, "main", everyTool, h)
		for range burst + 100 {
			callTool(t, s, "send_message", `{"text":"hi"}`)
		}
		if h.sends() != burst {
			t.Errorf("%d messages went out, want %d", h.sends(), burst)
		}
		if n := len(h.all()); n != 2*burst+1 {
			t.Errorf("the flood made %d notes at the host, want %d", n, 2*burst+1)
		}
		if text, isError := callTool(t, s, "list_groups", `{}`); !isError || !strings.Contains(text, "too many calls") {
			t.Errorf("another tool in the flood = %q", text)
		}
		time.Sleep(refill + time.Millisecond)
		if text, isError := callTool(t, s, "send_message", `{"text":"hi"}`); isError {
			t.Errorf("a call after the wait = %q", text)
		}
	})
}

func TestAfterClose(t *testing.T) {
	h := &fakeHost{}
	s := newServer(t, "main", everyTool, h)
	call := json.RawMessage(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"send_message","arguments":{"text":"hi"}}}`)
	if _, err := s.Message(t.Context(), call); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := s.Message(t.Context(), call); !errors.Is(err, ErrClosed) {
		t.Errorf("a replayed call = %v, want ErrClosed", err)
	}
	ours, theirs := net.Pipe()
	s.Serve(ours)
	if _, err := theirs.Read(make([]byte, 1)); err == nil {
		t.Error("a connection was served after Close")
	}
	if h.sends() != 1 {
		t.Errorf("%d messages went out, want 1", h.sends())
	}
	s.Close()
}

// TestCloseWaitsForWork makes sure that nothing is done after Close returned.
func TestCloseWaitsForWork(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	h := &fakeHost{onSend: func() { close(begun); <-release }}
	s := newServer(t, "main", everyTool, h)
	go s.Message(context.Background(), json.RawMessage(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"send_message","arguments":{"text":"hi"}}}`))
	<-begun
	closed := make(chan struct{})
	go func() { s.Close(); close(closed) }()
	select {
	case <-closed:
		t.Error("Close returned while a call was in work")
	default:
	}
	close(release)
	<-closed
	if h.sends() != 1 {
		t.Error("the call in work was lost")
	}
}
