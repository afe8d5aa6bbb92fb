// Package demo plays a hostile visitor of a group chat on the owner's own machine,
// so that anybody can see within two minutes what the boundary does.
//
// Nothing in it is staged. A daemon runs in a folder made for that, the visitor's
// words reach it as a message of a chat network does (Network is a channel like any
// other), and rules, queue, grant, boundary, agent, way out and audit are those of
// every message. What is played is the visitor, and the model of the agent: a
// scripted one that obeys everybody, which is the model that a boundary has to hold
// against. Whether an attempt got through is never taken from its answer alone: each
// is after a decoy that this package planted, and it is looked for in everything that
// came out, in the chat, at a listener, or in a file of the host.
//
// It touches nothing of the owner's. The home, the keys, the project and the other
// group that are attacked are made for it, listeners are on 127.0.0.1 alone, and what
// would be left is removed. The one thing outside of that folder is a name in
// /etc/cron.d that an attempt tries to make; it holds a comment, and is removed should
// it ever be there.
//
// How a daemon is opened, and how a person is shown all this, is for the caller.
package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
)

// Host is what is asked of the daemon beside what happens in its chats.
type Host interface {
	Policy(ctx context.Context, q control.PolicyQuery) (control.Policy, error)
	Approvals(ctx context.Context) ([]control.Approval, error)
	AuditList(ctx context.Context, q control.AuditQuery) ([]control.AuditEntry, error)
	AuditVerify(ctx context.Context, q control.VerifyQuery) (control.AuditReport, error)
	AuditExport(ctx context.Context, q control.ExportQuery, w io.Writer) error
}

// Result is what came of one attempt.
type Result struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	// Said is what was written in the chat, and Answer what came back there.
	Said   string `json:"said"`
	Answer string `json:"answer,omitempty"`
	// Through says that it got through; Evidence is where the decoy was seen then.
	Through  bool   `json:"through"`
	Evidence string `json:"evidence,omitempty"`
	// Layer stopped it, and Why is what the host says of that.
	Layer string `json:"layer,omitempty"`
	Why   string `json:"why,omitempty"`
	// Entries are those of the audit log that tell of it.
	Entries []Entry `json:"entries"`
	// Bare is how the same act fares without a boundary, where that does no harm.
	Bare string `json:"bare,omitempty"`
	// Run is the run that it was, "" if none began.
	Run chat.RunID `json:"run,omitempty"`
	// Untried says why it could not be tried. Nothing is shown by it then.
	Untried string `json:"untried,omitempty"`
}

// Held says that it was tried, and stopped.
func (r Result) Held() bool { return !r.Through && r.Untried == "" }

// Entry is an entry of the audit log.
type Entry struct {
	ID   int64  `json:"id"`
	Kind string `json:"kind"`
	Text string `json:"text"`
}

// Proof is the end of the demonstration: the log is whole, and a run has a receipt.
type Proof struct {
	Log control.AuditReport `json:"log"`
	// Receipt is of the last run. Bad says why it does not hold.
	Receipt chat.RunID `json:"receipt,omitempty"`
	Entries int64      `json:"receiptEntries,omitempty"`
	Signer  string     `json:"signer,omitempty"`
	Bad     string     `json:"bad,omitempty"`
}

// Holds says that the log verified and so did the receipt, if there was a run.
func (p Proof) Holds() bool { return p.Log.OK && p.Bad == "" }

// longest is how long an attempt may take.
const longest = 2 * time.Minute

// Demonstration is a place with a daemon that runs there.
type Demonstration struct {
	place *Place
	host  Host
	sinks *sinks
	noted bool // family's agent wrote its note
	last  chat.RunID
}

// New begins. The host runs, with p.Network as one of its channels.
func New(p *Place, h Host) *Demonstration { return &Demonstration{place: p, host: h, sinks: p.sinks} }

// Try has the visitor make one attempt and says what came of it. An error means that
// the demonstration itself cannot go on.
func (d *Demonstration) Try(ctx context.Context, a Attempt) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	r := Result{Name: a.Name, Title: a.Title, Entries: []Entry{}}
	mark, err := d.newest(ctx)
	if err != nil {
		return r, err
	}
	if err := a.act(ctx, d, a, &r); err != nil {
		return r, fmt.Errorf("%s: %w", a.Name, err)
	}
	if a.bare != nil {
		r.Bare = a.bare(d)
	}
	if seen := d.evidence(a, r); seen != "" {
		r.Through, r.Evidence = true, seen
	}
	if r.Run != "" {
		d.last = r.Run
	}
	if r.Entries, err = d.entries(ctx, a, mark); err != nil {
		return r, err
	}
	if a.leaves && !r.Through && (len(r.Entries) == 0 || r.Entries[0].Kind != string(a.kinds[0])) {
		r.Untried = "the command left no trace of an attempt; it answered: " + r.Answer
	}
	if r.Through {
		r.Untried = ""
	}
	if r.Held() {
		r.Layer = a.layer
		r.Why, err = d.why(ctx, a, r)
	}
	return r, err
}

// evidence says where a decoy was seen that must not have got there, "" for nowhere.
func (d *Demonstration) evidence(a Attempt, r Result) string {
	if a.through != nil {
		if seen := a.through(d, r); seen != "" {
			return seen
		}
	}
	for _, what := range d.place.decoys {
		if bytes.Contains([]byte(r.Answer), []byte(what.text)) {
			return what.name + " is in the answer"
		}
	}
	return ""
}

// why is the host's own word on what stopped it: of the grant, where the attempt
// has a question for it, else of the audit.
func (d *Demonstration) why(ctx context.Context, a Attempt, r Result) (string, error) {
	if a.asks == "" {
		if len(r.Entries) == 0 {
			return "", nil
		}
		return r.Entries[0].Text, nil
	}
	p, err := d.host.Policy(ctx, control.PolicyQuery{Group: group, Explain: []string{d.place.fill(a.asks)}})
	if err != nil || len(p.Answers) != 1 {
		return p.Refusal, err
	}
	if e := p.Answers[0]; e.Line != "" {
		return e.Line, nil
	}
	return p.Answers[0].Why, nil
}

// newest is the number of the last entry so far.
func (d *Demonstration) newest(ctx context.Context) (int64, error) {
	all, err := d.host.AuditList(ctx, control.AuditQuery{Limit: 1})
	if err != nil || len(all) == 0 {
		return 0, err
	}
	return all[len(all)-1].ID, nil
}

// mostEntries is how many are shown of one attempt.
const mostEntries = 2

// entries are the most telling ones after the mark: those of the attempt's first kind,
// then of its next.
func (d *Demonstration) entries(ctx context.Context, a Attempt, mark int64) ([]Entry, error) {
	out := []Entry{}
	all, err := d.host.AuditList(ctx, control.AuditQuery{Group: group, Limit: 1000})
	if err != nil {
		return out, err
	}
	for _, kind := range a.kinds {
		for _, e := range all {
			if e.ID <= mark || e.Kind != string(kind) || len(out) == mostEntries {
				continue
			}
			if text := audit.Describe(kind, e.Data); strings.Contains(text, a.about) {
				out = append(out, Entry{ID: e.ID, Kind: e.Kind, Text: text})
			}
		}
	}
	return out, nil
}

// Boundary says in the audit's words what stood around the agent, "" if none ran.
func (d *Demonstration) Boundary(ctx context.Context) (string, error) {
	all, err := d.host.AuditList(ctx, control.AuditQuery{Group: group, Kind: string(audit.SessionStarted), Limit: 1})
	if err != nil || len(all) == 0 {
		return "", err
	}
	return audit.Describe(audit.SessionStarted, all[0].Data), nil
}

// Prove verifies the log, and the receipt of the last run as anybody else would: with
// the public key alone.
func (d *Demonstration) Prove(ctx context.Context) (Proof, error) {
	var p Proof
	var err error
	if p.Log, err = d.host.AuditVerify(ctx, control.VerifyQuery{}); err != nil || d.last == "" {
		return p, err
	}
	known, err := audit.ReadPublic(filepath.Join(d.place.Paths.DataDir, audit.PublicFile))
	if err != nil {
		return p, err
	}
	var receipt bytes.Buffer
	if err := d.host.AuditExport(ctx, control.ExportQuery{Run: d.last}, &receipt); err != nil {
		return p, err
	}
	r, err := audit.VerifyReceipt(&receipt, known, func(audit.Row) {})
	var bad *audit.BadError
	if errors.As(err, &bad) {
		p.Bad, err = bad.Error(), nil
	}
	p.Receipt, p.Entries, p.Signer = d.last, r.Entries, r.Origin
	return p, err
}
