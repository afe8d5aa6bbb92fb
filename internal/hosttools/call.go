package hosttools

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/authority"
)

// tool is one thing that an agent may ask for.
type tool struct {
	name        string
	description string // for the model
	schema      json.RawMessage
	// act is what a call does, in the table of who may do what: to the caller's own
	// group, if it can be done to others too. A group is offered the tools whose
	// act is not denied to it.
	act authority.Act
	// asks says that the judgement asks the owner where the act is held for them.
	asks bool
	// judge reads the arguments and decides, without any effect.
	judge func(ctx context.Context, s *Server, args json.RawMessage) (act, error)
}

// act is a call that was judged.
type act struct {
	// note is what the audit keeps of the arguments: bounded, in our own words.
	note any
	// do acts, and gives the words for the agent.
	do func(ctx context.Context) (string, error)
}

// refusal is an answer in words for the agent. Other errors are the host's own
// and are not shown inside.
type refusal string

func (r refusal) Error() string { return string(r) }

func refuse(format string, args ...any) error { return refusal(fmt.Sprintf(format, args...)) }

// The verdicts in the audit.
const (
	allowed = "allowed"
	refused = "refused"
	failed  = "failed" // it was allowed, and the host could not do it
)

// guard answers every call of a tool; the protocol's library does the rest. A
// panic costs the caller its answer, not the host its life.
func (s *Server) guard(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, req mcp.Request) (result mcp.Result, err error) {
		defer func() {
			if p := recover(); p != nil {
				result, err = nil, errors.New("the host failed to answer")
			}
		}()
		leave, ok := s.enter()
		if !ok {
			return nil, ErrClosed
		}
		defer leave()
		params, ok := req.GetParams().(*mcp.CallToolParamsRaw)
		if !ok {
			return next(ctx, method, req)
		}
		text, err := s.call(ctx, params.Name, params.Arguments)
		if err != nil {
			return &mcp.CallToolResult{IsError: true, Content: []mcp.Content{&mcp.TextContent{Text: err.Error()}}}, nil
		}
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}, nil
	}
}

// call is the whole way of a call: bounded, judged, recorded, done. The error
// is in words for the agent.
func (s *Server) call(ctx context.Context, name string, args json.RawMessage) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()

	c := audit.HostToolCalledData{Tool: clip(name, 100)}
	ok, first, unrecorded := s.calls.take(time.Now())
	if unrecorded > 0 {
		c.Reason = fmt.Sprintf("%d refused calls before this one, of a flood, have no entry", unrecorded)
	}
	if !ok {
		why := refuse("too many calls: at most %d at once and one each %v after that; wait, then go on", burst, refill)
		if first {
			return "", s.refused(ctx, c, why)
		}
		return "", why
	}
	if s.id.Run != nil && s.id.Run() == "" {
		return "", s.refused(ctx, c, refuse("no run is going on: host tools work only while a message is being answered"))
	}
	t, ok := s.tools[name]
	if !ok {
		return "", s.refused(ctx, c, refuse("there is no tool %q here%s", clip(name, 100), s.choices()))
	}
	if err := s.may(t.act); err != nil && !(t.asks && s.held(t.act)) {
		return "", s.refused(ctx, c, err)
	}
	if s.id.Consented != nil && !s.id.Consented(name, args) {
		return "", s.refused(ctx, c, refuse("a rule has a word about this tool, or the owner has to consent to it, and nobody let this very call pass: call it as a tool of yours, and not in another way"))
	}
	a, err := t.judge(ctx, s, args)
	c.Args = a.note
	if err != nil {
		return "", s.refused(ctx, c, err)
	}
	c.Verdict = allowed
	if err := s.record(ctx, c); err != nil {
		return "", errors.New("refused: the host cannot record this call, and does nothing unrecorded; tell the owner")
	}
	text, err := a.do(ctx)
	if err != nil {
		c.Verdict, c.Reason = failed, err.Error()
		s.record(ctx, c)
		return "", fmt.Errorf("the host could not do this: %s failed; the owner can find the reason in the log", t.name)
	}
	return text, nil
}

// may asks whether the agent on this wire may do an act now. What would be held
// for the owner is refused: a tool that can ask does so in its judgement.
func (s *Server) may(a authority.Act) error {
	if v := authority.Decide(a, s.who()); !v.Allowed() {
		return refuse("%s", v.Reason)
	}
	return nil
}

// held says that an act waits for the owner's word.
func (s *Server) held(a authority.Act) bool {
	return authority.Decide(a, s.who()).Outcome == authority.Hold
}

// who is asking, as the wire proves.
func (s *Server) who() authority.Actor { return authority.Agent(s.id.Group) }

// refused records a refusal and gives the words for the agent.
func (s *Server) refused(ctx context.Context, c audit.HostToolCalledData, why error) error {
	c.Verdict, c.Reason = refused, strings.TrimPrefix(c.Reason+"; "+why.Error(), "; ")
	if err := s.record(ctx, c); err != nil {
		return errors.New("refused, and the host cannot record it; tell the owner")
	}
	var r refusal
	if !errors.As(why, &r) {
		return errors.New("refused: the host could not judge this call; the owner can find the reason in the log")
	}
	return fmt.Errorf("refused: %w", why)
}

// record writes an entry. That nobody waits for the answer any more is no reason to
// leave it out: else hanging up would hide an attempt.
func (s *Server) record(ctx context.Context, c audit.HostToolCalledData) error {
	e := audit.Entry{At: time.Now(), Kind: audit.HostToolCalled, Group: s.id.Group, Session: s.id.Session, Data: c}
	if s.id.Run != nil {
		e.Run = s.id.Run()
	}
	return s.host.Record(context.WithoutCancel(ctx), e)
}

// choices names the tools that there are.
func (s *Server) choices() string {
	var names []string
	for _, t := range all() {
		if _, ok := s.tools[t.name]; ok {
			names = append(names, t.name)
		}
	}
	if names == nil {
		return ""
	}
	return ": there are " + strings.Join(names, ", ")
}

// clip shortens text for the audit and for answers.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
