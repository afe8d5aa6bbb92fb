package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"

	"nanoclaw/internal/chat"
)

// ErrNotRunning says that no daemon answers at the socket.
var ErrNotRunning = errors.New("no nanoclaw daemon is running")

// Client calls the host behind a socket. Its methods are the acts of Host; see
// there. Errors of the host come back as *Error.
type Client struct {
	dial func(ctx context.Context) (net.Conn, error)
	http *http.Client
}

// NewClient calls over the connections that dial makes.
func NewClient(dial func(ctx context.Context) (net.Conn, error)) *Client {
	transport := &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		DisableCompression: true,
		MaxIdleConns:       2,
	}
	return &Client{dial: dial, http: &http.Client{Transport: transport}}
}

// Dial looks for a daemon at the socket path. It is ErrNotRunning if none is
// there.
func Dial(ctx context.Context, path string) (*Client, error) {
	if err := checkLength(path); err != nil {
		return nil, err
	}
	dial := func(ctx context.Context) (net.Conn, error) {
		d := net.Dialer{Timeout: 5 * time.Second}
		c, err := d.DialContext(ctx, "unix", path)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
			return nil, ErrNotRunning
		case errors.Is(err, fs.ErrPermission):
			return nil, &Error{Code: CodeRefused, Message: "the control socket is not yours: " + path, Hint: "run nanoclaw as the user that owns it"}
		case err != nil:
			return nil, fmt.Errorf("reach the daemon: %w", err)
		}
		return c, nil
	}
	c, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	c.Close()
	return NewClient(dial), nil
}

// Close frees idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// call performs one act.
func call[Answer any](ctx context.Context, c *Client, name string, request any) (Answer, error) {
	var answer Answer
	body, err := c.post(ctx, name, request)
	if err != nil {
		return answer, err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(&answer); err != nil {
		return answer, fmt.Errorf("the daemon's answer to %s cannot be understood: %w", name, err)
	}
	return answer, nil
}

// post sends a request and gives the body of a good answer.
func (c *Client) post(ctx context.Context, name string, request any) (io.ReadCloser, error) {
	b, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://nanoclaw/v1/"+name, bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, plainError(ctx, err)
	}
	if answer.StatusCode == http.StatusOK {
		return answer.Body, nil
	}
	defer answer.Body.Close()
	return nil, readError(answer)
}

// plainError takes the URL out of an error of net/http: it means nothing here.
func plainError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	var spoken *Error
	if errors.As(err, &spoken) || errors.Is(err, ErrNotRunning) {
		return err
	}
	return fmt.Errorf("the daemon did not answer: %w", err)
}

func readError(answer *http.Response) error {
	var e Error
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxBody)).Decode(&e); err != nil || e.Message == "" {
		return fmt.Errorf("the daemon answered %s", answer.Status)
	}
	return &e
}

// upgrade opens a two-way stream.
func (c *Client) upgrade(ctx context.Context, name, protocol string) (net.Conn, error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	stream, err := switchProtocol(conn, name, protocol)
	if err != nil {
		conn.Close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	return stream, nil
}

func switchProtocol(conn net.Conn, name, protocol string) (net.Conn, error) {
	_, writeErr := fmt.Fprintf(conn, "POST /v1/%s HTTP/1.1\r\nHost: nanoclaw\r\nConnection: Upgrade\r\nUpgrade: %s\r\nContent-Length: 0\r\n\r\n", name, protocol)
	// A peer that refuses us answers without reading, so its answer counts more
	// than a failed write.
	r := bufio.NewReader(conn)
	answer, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, fmt.Errorf("the daemon did not answer: %w", errors.Join(writeErr, err))
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		defer answer.Body.Close()
		return nil, readError(answer)
	}
	return &bufferedConn{conn, r}, nil
}

// Send stores a message of the owner; see Talker.Say.
func (c *Client) Send(ctx context.Context, r SayRequest) (chat.MessageID, error) {
	answer, err := call[said](ctx, c, "send", r)
	return answer.Message, err
}

// Wait waits for what becomes of a message; see Talker.Wait.
func (c *Client) Wait(ctx context.Context, g chat.Group, id chat.MessageID) (Answer, error) {
	return call[Answer](ctx, c, "wait", waitRequest{g, id})
}

// Interrupt ends what a group's agent is doing now.
func (c *Client) Interrupt(ctx context.Context, g chat.Group) error {
	_, err := call[nothing](ctx, c, "interrupt", groupRequest{g})
	return err
}

// Stop ends runs for good.
func (c *Client) Stop(ctx context.Context, r StopRequest) (Stopped, error) {
	return call[Stopped](ctx, c, "stop", r)
}

// Pause starts no more runs of a group, or of all.
func (c *Client) Pause(ctx context.Context, r PauseRequest) error {
	_, err := call[nothing](ctx, c, "pause", r)
	return err
}

// Resume undoes Pause.
func (c *Client) Resume(ctx context.Context, r PauseRequest) error {
	_, err := call[nothing](ctx, c, "resume", r)
	return err
}

// Credentials has the daemon take up what was stored or removed.
func (c *Client) Credentials(ctx context.Context) (map[string]string, error) {
	return call[map[string]string](ctx, c, "credentials", nothing{})
}

// Shutdown asks the daemon to end.
func (c *Client) Shutdown(ctx context.Context) error {
	_, err := call[nothing](ctx, c, "shutdown", nothing{})
	return err
}

// Status gives the daemon's state.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return call[Status](ctx, c, "status", nothing{})
}

// Groups lists the groups.
func (c *Client) Groups(ctx context.Context) ([]GroupInfo, error) {
	return call[[]GroupInfo](ctx, c, "groups", nothing{})
}

// Talk tells what was said in a group.
func (c *Client) Talk(ctx context.Context, q TalkQuery) ([]Exchange, error) {
	return call[[]Exchange](ctx, c, "talk", q)
}

// Runs lists runs, the newest first.
func (c *Client) Runs(ctx context.Context, q RunsQuery) ([]RunInfo, error) {
	return call[[]RunInfo](ctx, c, "runs", q)
}

// RunByID tells one run's story.
func (c *Client) RunByID(ctx context.Context, id chat.RunID) (RunInfo, error) {
	return call[RunInfo](ctx, c, "run", runRequest{id})
}

// Logs lists the files of runs, or gives that of one.
func (c *Client) Logs(ctx context.Context, q LogsQuery) ([]RunLog, error) {
	return call[[]RunLog](ctx, c, "logs", q)
}

// Policy decides what a session would be granted.
func (c *Client) Policy(ctx context.Context, q PolicyQuery) (Policy, error) {
	return call[Policy](ctx, c, "policy", q)
}

// PinServer shows what waits to be accepted of an MCP server, or accepts it.
func (c *Client) PinServer(ctx context.Context, r PinRequest) (Pin, error) {
	return call[Pin](ctx, c, "mcp/pin", r)
}

// Trust shows what an agent would obey of its workspace, or trusts it.
func (c *Client) Trust(ctx context.Context, r TrustRequest) (Trust, error) {
	return call[Trust](ctx, c, "trust", r)
}

// Servers tells of the MCP servers.
func (c *Client) Servers(ctx context.Context, q ServersQuery) ([]ServerInfo, error) {
	return call[[]ServerInfo](ctx, c, "mcp", q)
}

// Doctor examines the machine.
func (c *Client) Doctor(ctx context.Context, q DoctorQuery) (DoctorReport, error) {
	return call[DoctorReport](ctx, c, "doctor", q)
}

// Health says whether the host can do now what it is there for.
func (c *Client) Health(ctx context.Context) (Health, error) {
	return call[Health](ctx, c, "health", nothing{})
}

// AuditList lists entries of the audit log.
func (c *Client) AuditList(ctx context.Context, q AuditQuery) ([]AuditEntry, error) {
	return call[[]AuditEntry](ctx, c, "audit/list", q)
}

// AuditVerify checks the log in the store.
func (c *Client) AuditVerify(ctx context.Context, q VerifyQuery) (AuditReport, error) {
	return call[AuditReport](ctx, c, "audit/verify", q)
}

// Why explains a run, a message or an entry of the audit log.
func (c *Client) Why(ctx context.Context, q WhyQuery) (Why, error) {
	return call[Why](ctx, c, "why", q)
}

// AuditExport writes the log with its proofs to w.
func (c *Client) AuditExport(ctx context.Context, q ExportQuery, w io.Writer) error {
	body, err := c.post(ctx, "audit/export", q)
	if err != nil {
		return err
	}
	defer body.Close()
	if _, err := io.Copy(w, body); err != nil {
		return fmt.Errorf("the export is not complete: %w", err)
	}
	return nil
}
