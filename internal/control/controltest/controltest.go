// Package controltest is a host for tests of the control socket and of the
// commands: a struct of functions, and a process that is one function. It
// promises nothing beyond that; the real host is the daemon's.
package controltest

import (
	"context"
	"io"
	"sync"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/task"
)

// Host is a control.Host. A function that is nil gives the zero answer.
type Host struct {
	OnCost         func(context.Context, control.CostQuery) (control.Cost, error)
	OnAttach       func(context.Context, chat.Group) (control.Terminal, error)
	OnSay          func(context.Context, control.SayRequest) (chat.MessageID, error)
	OnWait         func(context.Context, chat.Group, chat.MessageID) (control.Answer, error)
	OnExec         func(context.Context, control.ExecRequest) (control.Process, error)
	OnInterrupt    func(context.Context, chat.Group) error
	OnStop         func(context.Context, control.StopRequest) (control.Stopped, error)
	OnShutdown     func(context.Context) error
	OnLogin        func(context.Context) (map[string]string, error)
	OnConfigPlan   func(context.Context) (control.ConfigPlan, error)
	OnConfigReload func(context.Context) (control.ConfigPlan, error)
	OnChannelLogin func(context.Context, control.ChannelRequest) (control.ChannelInfo, error)
	OnApprovals    func(context.Context) ([]control.Approval, error)
	OnApprove      func(context.Context, control.ApproveRequest) (control.Approved, error)
	OnStatus       func(context.Context) (control.Status, error)
	OnGroups       func(context.Context) ([]control.GroupInfo, error)
	OnRuns         func(context.Context, control.RunsQuery) ([]control.RunInfo, error)
	OnLogs         func(context.Context, control.LogsQuery) ([]control.RunLog, error)
	OnRun          func(context.Context, chat.RunID) (control.RunInfo, error)
	OnPolicy       func(context.Context, control.PolicyQuery) (control.Policy, error)
	OnServers      func(context.Context, control.ServersQuery) ([]control.ServerInfo, error)
	OnPin          func(context.Context, control.PinRequest) (control.Pin, error)
	OnTrust        func(context.Context, control.TrustRequest) (control.Trust, error)
	OnDoctor       func(context.Context, control.DoctorQuery) (control.DoctorReport, error)
	OnTalk         func(context.Context, control.TalkQuery) ([]control.Exchange, error)
	OnHealth       func(context.Context) (control.Health, error)
	OnList         func(context.Context, control.AuditQuery) ([]control.AuditEntry, error)
	OnExport       func(context.Context, control.ExportQuery, io.Writer) error
	OnPause        func(context.Context, control.PauseRequest) (struct{}, error)
	OnResume       func(context.Context, control.PauseRequest) (struct{}, error)
	OnWhy          func(context.Context, control.WhyQuery) (control.Why, error)
	OnVerify       func(context.Context, control.VerifyQuery) (control.AuditReport, error)
	OnKept         func(context.Context, control.QuarantineQuery) ([]control.Quarantined, error)
	OnKeptAct      func(context.Context, control.QuarantineAct) ([]control.Quarantined, error)
	OnNodes        func(context.Context) ([]control.Node, error)
	OnDead         func(context.Context) ([]control.DeadLetter, error)
	OnDeadAct      func(context.Context, control.DeadAct) (control.DeadLetter, error)
	OnErase        func(context.Context, control.EraseRequest) (control.Erased, error)
	OnTokens       func(context.Context) ([]control.TokenInfo, error)
	OnTokenAdd     func(context.Context, control.TokenSpec) (control.TokenMade, error)
	OnTokenRemove  func(context.Context, control.TokenSpec) error
	OnRetain       func(context.Context, control.RetainRequest) ([]control.Retained, error)
	OnPeople       func(context.Context) ([]control.Person, error)
	OnPeopleAct    func(context.Context, control.PeopleAct) (control.Person, error)
	OnPair         func(context.Context, control.PairRequest) (control.PairingCode, error)
	OnTasks        func(context.Context, chat.Group) ([]task.Task, error)
	OnTaskAdd      func(context.Context, control.TaskSpec) (task.Task, error)
	OnTaskEdit     func(context.Context, control.TaskSpec) (task.Task, error)
	OnTaskAct      func(context.Context, control.TaskAct) (control.TaskDone, error)
	OnTaskHistory  func(context.Context, chat.TaskID) (control.TaskPast, error)
	OnRights       func(context.Context) ([]control.Right, error)
	OnRemoveRight  func(context.Context, int64) error
}

var _ control.Host = (*Host)(nil)

func call[Q, A any](do func(context.Context, Q) (A, error), ctx context.Context, q Q) (A, error) {
	if do == nil {
		var zero A
		return zero, nil
	}
	return do(ctx, q)
}

func ask[A any](do func(context.Context) (A, error), ctx context.Context) (A, error) {
	if do == nil {
		var zero A
		return zero, nil
	}
	return do(ctx)
}

// Attach connects a terminal; without OnAttach, one that nothing arrives at.
func (h *Host) Attach(ctx context.Context, g chat.Group) (control.Terminal, error) {
	if h.OnAttach == nil {
		return NewTerminal(), nil
	}
	return h.OnAttach(ctx, g)
}

// Say calls OnSay.
func (h *Host) Say(ctx context.Context, r control.SayRequest) (chat.MessageID, error) {
	return call(h.OnSay, ctx, r)
}

// Wait calls OnWait.
func (h *Host) Wait(ctx context.Context, g chat.Group, id chat.MessageID) (control.Answer, error) {
	if h.OnWait == nil {
		return control.Answer{Message: id, State: control.Succeeded}, nil
	}
	return h.OnWait(ctx, g, id)
}

// Exec calls OnExec; without it there is no such command.
func (h *Host) Exec(ctx context.Context, r control.ExecRequest) (control.Process, error) {
	if h.OnExec == nil {
		return nil, &control.Error{Code: control.CodeNoCommand, Message: "no such command"}
	}
	return h.OnExec(ctx, r)
}

// Interrupt calls OnInterrupt.
func (h *Host) Interrupt(ctx context.Context, g chat.Group) error {
	if h.OnInterrupt == nil {
		return nil
	}
	return h.OnInterrupt(ctx, g)
}

// Stop calls OnStop.
func (h *Host) Stop(ctx context.Context, r control.StopRequest) (control.Stopped, error) {
	return call(h.OnStop, ctx, r)
}

// Credentials calls OnLogin.
func (h *Host) Credentials(ctx context.Context) (map[string]string, error) {
	return ask(h.OnLogin, ctx)
}

// ConfigPlan calls OnConfigPlan.
func (h *Host) ConfigPlan(ctx context.Context) (control.ConfigPlan, error) {
	return ask(h.OnConfigPlan, ctx)
}

// ChannelLogin calls OnChannelLogin.
func (h *Host) ChannelLogin(ctx context.Context, r control.ChannelRequest) (control.ChannelInfo, error) {
	return call(h.OnChannelLogin, ctx, r)
}

// ConfigReload calls OnConfigReload.
func (h *Host) ConfigReload(ctx context.Context) (control.ConfigPlan, error) {
	return ask(h.OnConfigReload, ctx)
}

// Shutdown calls OnShutdown.
func (h *Host) Shutdown(ctx context.Context) error {
	if h.OnShutdown == nil {
		return nil
	}
	return h.OnShutdown(ctx)
}

// Cost calls OnCost.
func (h *Host) Cost(ctx context.Context, q control.CostQuery) (control.Cost, error) {
	return call(h.OnCost, ctx, q)
}

// Approvals calls OnApprovals.
func (h *Host) Approvals(ctx context.Context) ([]control.Approval, error) {
	return ask(h.OnApprovals, ctx)
}

// Approve calls OnApprove.
func (h *Host) Approve(ctx context.Context, r control.ApproveRequest) (control.Approved, error) {
	return call(h.OnApprove, ctx, r)
}

// Rights calls OnRights.
func (h *Host) Rights(ctx context.Context) ([]control.Right, error) { return ask(h.OnRights, ctx) }

// RemoveRight calls OnRemoveRight.
func (h *Host) RemoveRight(ctx context.Context, id int64) error {
	if h.OnRemoveRight == nil {
		return nil
	}
	return h.OnRemoveRight(ctx, id)
}

// Status calls OnStatus.
func (h *Host) Status(ctx context.Context) (control.Status, error) { return ask(h.OnStatus, ctx) }

// Groups calls OnGroups.
func (h *Host) Groups(ctx context.Context) ([]control.GroupInfo, error) { return ask(h.OnGroups, ctx) }

// Runs calls OnRuns.
func (h *Host) Runs(ctx context.Context, q control.RunsQuery) ([]control.RunInfo, error) {
	return call(h.OnRuns, ctx, q)
}

// RunByID calls OnRun.
func (h *Host) RunByID(ctx context.Context, id chat.RunID) (control.RunInfo, error) {
	return call(h.OnRun, ctx, id)
}

// Logs calls OnLogs.
func (h *Host) Logs(ctx context.Context, q control.LogsQuery) ([]control.RunLog, error) {
	return call(h.OnLogs, ctx, q)
}

// Policy calls OnPolicy.
func (h *Host) Policy(ctx context.Context, q control.PolicyQuery) (control.Policy, error) {
	return call(h.OnPolicy, ctx, q)
}

// Servers calls OnServers.
func (h *Host) Servers(ctx context.Context, q control.ServersQuery) ([]control.ServerInfo, error) {
	return call(h.OnServers, ctx, q)
}

// PinServer calls OnPin.
func (h *Host) PinServer(ctx context.Context, r control.PinRequest) (control.Pin, error) {
	return call(h.OnPin, ctx, r)
}

// Trust calls OnTrust.
func (h *Host) Trust(ctx context.Context, r control.TrustRequest) (control.Trust, error) {
	return call(h.OnTrust, ctx, r)
}

// Doctor calls OnDoctor.
func (h *Host) Doctor(ctx context.Context, q control.DoctorQuery) (control.DoctorReport, error) {
	return call(h.OnDoctor, ctx, q)
}

// AuditList calls OnList.
func (h *Host) AuditList(ctx context.Context, q control.AuditQuery) ([]control.AuditEntry, error) {
	return call(h.OnList, ctx, q)
}

// AuditExport calls OnExport.
func (h *Host) AuditExport(ctx context.Context, q control.ExportQuery, w io.Writer) error {
	if h.OnExport == nil {
		return nil
	}
	return h.OnExport(ctx, q, w)
}

// Pause calls OnPause.
func (h *Host) Pause(ctx context.Context, r control.PauseRequest) error {
	_, err := call(h.OnPause, ctx, r)
	return err
}

// Resume calls OnResume.
func (h *Host) Resume(ctx context.Context, r control.PauseRequest) error {
	_, err := call(h.OnResume, ctx, r)
	return err
}

// Why calls OnWhy.
func (h *Host) Why(ctx context.Context, q control.WhyQuery) (control.Why, error) {
	return call(h.OnWhy, ctx, q)
}

// AuditVerify calls OnVerify.
func (h *Host) AuditVerify(ctx context.Context, q control.VerifyQuery) (control.AuditReport, error) {
	return call(h.OnVerify, ctx, q)
}

// Quarantine calls OnKept.
func (h *Host) Quarantine(ctx context.Context, q control.QuarantineQuery) ([]control.Quarantined, error) {
	return call(h.OnKept, ctx, q)
}

// QuarantineAct calls OnKeptAct.
func (h *Host) QuarantineAct(ctx context.Context, r control.QuarantineAct) ([]control.Quarantined, error) {
	return call(h.OnKeptAct, ctx, r)
}

// Nodes calls OnNodes.
func (h *Host) Nodes(ctx context.Context) ([]control.Node, error) { return ask(h.OnNodes, ctx) }

// Dead calls OnDead.
func (h *Host) Dead(ctx context.Context) ([]control.DeadLetter, error) { return ask(h.OnDead, ctx) }

// DeadAct calls OnDeadAct.
func (h *Host) DeadAct(ctx context.Context, r control.DeadAct) (control.DeadLetter, error) {
	return call(h.OnDeadAct, ctx, r)
}

// Erase calls OnErase.
func (h *Host) Erase(ctx context.Context, r control.EraseRequest) (control.Erased, error) {
	return call(h.OnErase, ctx, r)
}

// Tokens calls OnTokens.
func (h *Host) Tokens(ctx context.Context) ([]control.TokenInfo, error) {
	return ask(h.OnTokens, ctx)
}

// TokenAdd calls OnTokenAdd.
func (h *Host) TokenAdd(ctx context.Context, r control.TokenSpec) (control.TokenMade, error) {
	return call(h.OnTokenAdd, ctx, r)
}

// TokenRemove calls OnTokenRemove.
func (h *Host) TokenRemove(ctx context.Context, r control.TokenSpec) error {
	if h.OnTokenRemove == nil {
		return nil
	}
	return h.OnTokenRemove(ctx, r)
}

// Retain calls OnRetain.
func (h *Host) Retain(ctx context.Context, r control.RetainRequest) ([]control.Retained, error) {
	return call(h.OnRetain, ctx, r)
}

// People calls OnPeople.
func (h *Host) People(ctx context.Context) ([]control.Person, error) { return ask(h.OnPeople, ctx) }

// PeopleAct calls OnPeopleAct.
func (h *Host) PeopleAct(ctx context.Context, r control.PeopleAct) (control.Person, error) {
	return call(h.OnPeopleAct, ctx, r)
}

// Pair calls OnPair.
func (h *Host) Pair(ctx context.Context, r control.PairRequest) (control.PairingCode, error) {
	return call(h.OnPair, ctx, r)
}

// Terminal is a control.Terminal of which the test is the other end.
type Terminal struct {
	// Out and Progress are what Next gives. Both are unbuffered.
	Out      chan chat.Outbound
	Progress chan chat.Progress
	// Closed is closed by Close.
	Closed chan struct{}
	once   sync.Once
}

// NewTerminal makes one.
func NewTerminal() *Terminal {
	return &Terminal{Out: make(chan chat.Outbound), Progress: make(chan chat.Progress), Closed: make(chan struct{})}
}

// Next gives what the test sends.
func (t *Terminal) Next(ctx context.Context) (*chat.Outbound, *chat.Progress, error) {
	select {
	case m := <-t.Out:
		return &m, nil, nil
	case p := <-t.Progress:
		return nil, &p, nil
	case <-t.Closed:
		return nil, nil, io.EOF
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
}

// Close ends it.
func (t *Terminal) Close() error {
	t.once.Do(func() { close(t.Closed) })
	return nil
}

// Tasks calls OnTasks.
func (h *Host) Tasks(ctx context.Context, g chat.Group) ([]task.Task, error) {
	return call(h.OnTasks, ctx, g)
}

// TaskAdd calls OnTaskAdd.
func (h *Host) TaskAdd(ctx context.Context, r control.TaskSpec) (task.Task, error) {
	return call(h.OnTaskAdd, ctx, r)
}

// TaskEdit calls OnTaskEdit.
func (h *Host) TaskEdit(ctx context.Context, r control.TaskSpec) (task.Task, error) {
	return call(h.OnTaskEdit, ctx, r)
}

// TaskAct calls OnTaskAct.
func (h *Host) TaskAct(ctx context.Context, r control.TaskAct) (control.TaskDone, error) {
	return call(h.OnTaskAct, ctx, r)
}

// TaskHistory calls OnTaskHistory.
func (h *Host) TaskHistory(ctx context.Context, id chat.TaskID) (control.TaskPast, error) {
	return call(h.OnTaskHistory, ctx, id)
}

// Talk calls OnTalk.
func (h *Host) Talk(ctx context.Context, q control.TalkQuery) ([]control.Exchange, error) {
	return call(h.OnTalk, ctx, q)
}

// Health calls OnHealth.
func (h *Host) Health(ctx context.Context) (control.Health, error) { return ask(h.OnHealth, ctx) }
