package control

import (
	"context"
	"io"
	"net/http"

	"nanoclaw/internal/chat"
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
	said struct {
		Message chat.MessageID `json:"message"`
	}
	nothing struct{}
)

// routes is the list of acts. All are POST, since none is for a browser to
// remember.
func (s *Server) routes() http.Handler {
	h := s.host
	mux := http.NewServeMux()
	mux.Handle("POST /v1/chat", s.stream(chatProtocol, s.chat))
	mux.Handle("POST /v1/exec", s.stream(execProtocol, s.exec))
	mux.Handle("POST /v1/send", act(func(ctx context.Context, r SayRequest) (said, error) {
		id, err := h.Say(ctx, r)
		return said{id}, err
	}))
	mux.Handle("POST /v1/wait", act(func(ctx context.Context, r waitRequest) (Answer, error) {
		return h.Wait(ctx, r.Group, r.Message)
	}))
	mux.Handle("POST /v1/interrupt", act(func(ctx context.Context, r groupRequest) (nothing, error) {
		return nothing{}, h.Interrupt(ctx, r.Group)
	}))
	mux.Handle("POST /v1/stop", act(s.stop))
	mux.Handle("POST /v1/pause", act(func(ctx context.Context, r PauseRequest) (nothing, error) { return nothing{}, h.Pause(ctx, r) }))
	mux.Handle("POST /v1/resume", act(func(ctx context.Context, r PauseRequest) (nothing, error) { return nothing{}, h.Resume(ctx, r) }))
	mux.Handle("POST /v1/credentials", act(func(ctx context.Context, _ nothing) (map[string]string, error) { return h.Credentials(ctx) }))
	mux.Handle("POST /v1/shutdown", act(func(ctx context.Context, _ nothing) (nothing, error) {
		return nothing{}, h.Shutdown(ctx)
	}))
	mux.Handle("POST /v1/approvals", act(func(ctx context.Context, _ nothing) ([]Approval, error) { return h.Approvals(ctx) }))
	mux.Handle("POST /v1/approve", act(h.Approve))
	mux.Handle("POST /v1/status", act(func(ctx context.Context, _ nothing) (Status, error) { return h.Status(ctx) }))
	mux.Handle("POST /v1/groups", act(func(ctx context.Context, _ nothing) ([]GroupInfo, error) { return h.Groups(ctx) }))
	mux.Handle("POST /v1/runs", act(h.Runs))
	mux.Handle("POST /v1/run", act(func(ctx context.Context, r runRequest) (RunInfo, error) { return h.RunByID(ctx, r.Run) }))
	mux.Handle("POST /v1/policy", act(h.Policy))
	mux.Handle("POST /v1/config/plan", act(func(ctx context.Context, _ nothing) (ConfigPlan, error) { return h.ConfigPlan(ctx) }))
	mux.Handle("POST /v1/config/reload", act(func(ctx context.Context, _ nothing) (ConfigPlan, error) { return h.ConfigReload(ctx) }))
	mux.Handle("POST /v1/mcp", act(h.Servers))
	mux.Handle("POST /v1/doctor", act(h.Doctor))
	mux.Handle("POST /v1/quarantine", act(h.Quarantine))
	mux.Handle("POST /v1/quarantine/act", act(h.QuarantineAct))
	mux.Handle("POST /v1/audit/list", act(h.AuditList))
	mux.Handle("POST /v1/audit/verify", act(h.AuditVerify))
	mux.HandleFunc("POST /v1/audit/export", s.export)
	mux.Handle("POST /v1/why", act(h.Why))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, &Error{
			Code:    CodeNotFound,
			Message: "the daemon does not know " + r.Method + " " + r.URL.Path,
			Hint:    "if it is of another version than this command, restart it",
		})
	})
	return mux
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
