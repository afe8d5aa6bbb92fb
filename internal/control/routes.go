package control

import (
	"context"
	"io"
	"net/http"

	"nanoclaw/internal/authority"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/task"
)

// The requests that carry one name.
type (
	groupRequest struct {
		Group chat.Group `json:"group"`
	}
	runRequest struct {
		Run chat.RunID `json:"run"`
	}
	waitRequest struct {
		Group   chat.Group     `json:"group"`
		Message chat.MessageID `json:"message"`
	}
	rightRequest struct {
		ID int64 `json:"id"`
	}
	said struct {
		Message chat.MessageID `json:"message"`
	}
	nothing struct{}
)

// route is one act of the socket: what it is in the table of who may do what,
// and what does it.
type route struct {
	path    string
	act     authority.Act
	handler http.Handler
}

// acts lists what can be asked for. Nothing else is served, and nothing of it
// before package authority allowed it to whoever is on the socket.
func (s *Server) acts() []route {
	h := s.host
	return []route{
		{"chat", authority.Speak, s.stream(chatProtocol, s.chat)},
		{"exec", authority.Exec, s.stream(execProtocol, s.exec)},
		{"send", authority.Speak, act(func(ctx context.Context, r SayRequest) (said, error) {
			id, err := h.Say(ctx, r)
			return said{id}, err
		})},
		{"wait", authority.Speak, act(func(ctx context.Context, r waitRequest) (Answer, error) {
			return h.Wait(ctx, r.Group, r.Message)
		})},
		{"interrupt", authority.InterruptOther, act(func(ctx context.Context, r groupRequest) (nothing, error) {
			return nothing{}, h.Interrupt(ctx, r.Group)
		})},
		{"stop", authority.StopAll, act(s.stop)},
		{"pause", authority.PauseAll, act(func(ctx context.Context, r PauseRequest) (nothing, error) { return nothing{}, h.Pause(ctx, r) })},
		{"resume", authority.ResumeAll, act(func(ctx context.Context, r PauseRequest) (nothing, error) { return nothing{}, h.Resume(ctx, r) })},
		{"credentials", authority.Credentials, act(func(ctx context.Context, _ nothing) (map[string]string, error) { return h.Credentials(ctx) })},
		{"shutdown", authority.Shutdown, act(func(ctx context.Context, _ nothing) (nothing, error) { return nothing{}, h.Shutdown(ctx) })},
		{"approvals", authority.Questions, act(func(ctx context.Context, _ nothing) ([]Approval, error) { return h.Approvals(ctx) })},
		{"rights", authority.Inspect, act(func(ctx context.Context, _ nothing) ([]Right, error) { return h.Rights(ctx) })},
		{"rights/remove", authority.RightRemove, act(func(ctx context.Context, r rightRequest) (nothing, error) {
			return nothing{}, h.RemoveRight(ctx, r.ID)
		})},
		{"approve", authority.ApproveGrowing, act(h.Approve)},
		{"people", authority.Inspect, act(func(ctx context.Context, _ nothing) ([]Person, error) { return h.People(ctx) })},
		{"people/allow", authority.SenderAllow, s.people(PersonAllow)},
		{"people/deny", authority.SenderDeny, s.people(PersonDeny)},
		{"people/remove", authority.SenderDeny, s.people(PersonRemove)},
		{"people/pair", authority.SenderPair, act(h.Pair)},
		{"tokens", authority.Inspect, act(func(ctx context.Context, _ nothing) ([]TokenInfo, error) { return h.Tokens(ctx) })},
		{"token/add", authority.SenderAllow, act(h.TokenAdd)},
		{"token/remove", authority.RightRemove, act(func(ctx context.Context, r TokenSpec) (nothing, error) { return nothing{}, h.TokenRemove(ctx, r) })},
		{"tasks", authority.TaskListOther, act(func(ctx context.Context, r groupRequest) ([]task.Task, error) { return h.Tasks(ctx, r.Group) })},
		{"task/history", authority.TaskListOther, act(func(ctx context.Context, r taskRequest) (TaskPast, error) { return h.TaskHistory(ctx, r.ID) })},
		{"task/add", authority.ScheduleHostMode, act(h.TaskAdd)},
		{"task/edit", authority.ScheduleHostMode, act(h.TaskEdit)},
		{"task/act", authority.TaskChangeOther, act(h.TaskAct)},
		{"status", authority.StatusAll, act(func(ctx context.Context, _ nothing) (Status, error) { return h.Status(ctx) })},
		{"groups", authority.GroupList, act(func(ctx context.Context, _ nothing) ([]GroupInfo, error) { return h.Groups(ctx) })},
		{"runs", authority.Inspect, act(h.Runs)},
		{"talk", authority.Inspect, act(h.Talk)},
		{"run", authority.Inspect, act(func(ctx context.Context, r runRequest) (RunInfo, error) { return h.RunByID(ctx, r.Run) })},
		{"logs", authority.Inspect, act(h.Logs)},
		{"policy", authority.Inspect, act(h.Policy)},
		{"config/plan", authority.Inspect, act(func(ctx context.Context, _ nothing) (ConfigPlan, error) { return h.ConfigPlan(ctx) })},
		{"config/reload", authority.ConfigReload, act(func(ctx context.Context, _ nothing) (ConfigPlan, error) { return h.ConfigReload(ctx) })},
		{"channel/login", authority.Credentials, act(h.ChannelLogin)},
		{"mcp", authority.Examine, act(h.Servers)},
		{"mcp/pin", authority.MCPChange, act(h.PinServer)},
		{"trust", authority.FolderTrust, act(h.Trust)},
		{"doctor", authority.Examine, act(h.Doctor)},
		{"health", authority.StatusAll, act(func(ctx context.Context, _ nothing) (Health, error) { return h.Health(ctx) })},
		{"quarantine", authority.Inspect, act(h.Quarantine)},
		{"quarantine/act", authority.Quarantine, act(h.QuarantineAct)},
		{"dead", authority.Inspect, act(func(ctx context.Context, _ nothing) ([]DeadLetter, error) { return h.Dead(ctx) })},
		{"nodes", authority.Inspect, act(func(ctx context.Context, _ nothing) ([]Node, error) { return h.Nodes(ctx) })},
		{"dead/act", authority.ResumeAll, act(h.DeadAct)},
		{"audit/list", authority.Inspect, act(h.AuditList)},
		{"audit/verify", authority.Inspect, act(h.AuditVerify)},
		{"audit/export", authority.Export, http.HandlerFunc(s.export)},
		{"erase", authority.Erase, act(h.Erase)},
		{"dashboard", authority.WebSignIn, act(s.link)},
		{"retention", authority.Erase, act(h.Retain)},
		{"cost", authority.Inspect, act(h.Cost)},
		{"why", authority.Inspect, act(h.Why)},
	}
}

// routes serves the acts. All are POST, since none is for a browser to remember.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	for _, r := range s.acts() {
		mux.Handle("POST /v1/"+r.path, s.guard(r.act, r.handler))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, &Error{
			Code:    CodeNotFound,
			Message: "the daemon does not know " + r.Method + " " + r.URL.Path,
			Hint:    "if it is of another version than this command, restart it",
		})
	})
	return mux
}

// guard asks whether whoever is on the socket may do an act. Nothing of the
// request is read before.
func (s *Server) guard(a authority.Act, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if v := authority.Decide(a, s.who); !v.Allowed() {
			writeError(w, &Error{Code: CodeRefused, Message: v.Reason})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// people makes a handler of one decision about somebody: that of the path, for
// which whoever is on the socket was let through.
func (s *Server) people(decision string) http.HandlerFunc {
	return act(func(ctx context.Context, r PeopleAct) (Person, error) {
		r.Act = decision
		return s.host.PeopleAct(ctx, r)
	})
}

func (s *Server) stop(ctx context.Context, r StopRequest) (Stopped, error) {
	named := 0
	for _, set := range []bool{r.Run != "", r.Group != "", r.All} {
		if set {
			named++
		}
	}
	if named != 1 {
		return Stopped{}, &Error{Code: CodeUsage, Message: "stop needs one of a run, a group, or all"}
	}
	return s.host.Stop(ctx, r)
}

// export streams the log. A failure after the first byte cannot be told in
// words any more, so the connection is cut and the reader sees that it is short.
func (s *Server) export(w http.ResponseWriter, r *http.Request) {
	var q ExportQuery
	if err := readBody(w, r, &q); err != nil {
		writeError(w, err)
		return
	}
	out := &countingWriter{w: w}
	err := s.host.AuditExport(r.Context(), q, out)
	switch {
	case err == nil:
	case out.n == 0:
		writeError(w, err)
	default:
		s.log.Error("the export of the audit log ended early", "cause", err)
		panic(http.ErrAbortHandler)
	}
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
