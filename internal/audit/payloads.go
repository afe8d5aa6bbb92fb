package audit

import (
	"time"

	"nanoclaw/internal/chat"
)

// The payloads of the kinds of entry. Each is what a person needs to understand
// the entry without another file. Readers ignore fields they do not know, so
// fields may be added, never given another meaning.
type (
	// HostStartedData belongs to HostStarted.
	HostStartedData struct {
		Version string   `json:"version"`
		UID     int      `json:"uid"`
		PID     int      `json:"pid"`
		Owner   string   `json:"owner,omitempty"` // of the runs that this process claims
		Layers  []string `json:"layers,omitempty"`
		Missing []string `json:"missing,omitempty"`
	}
	// HostStoppedData belongs to HostStopped.
	HostStoppedData struct {
		Reason string `json:"reason"`
	}
	// StorePrunedData belongs to StorePruned: Count of What, older than Before, up to
	// the row Last. What is "messages", "replies", "runs", "costs" or "words".
	StorePrunedData struct {
		What   string    `json:"what"`
		Count  int       `json:"count"`
		Before time.Time `json:"before"`
		Last   int64     `json:"last,omitempty"`
	}
	// StoreRestoredData belongs to StoreRestored.
	StoreRestoredData struct {
		Made     time.Time `json:"made"` // when the backup was
		Version  string    `json:"version"`
		Restored time.Time `json:"restored"`
	}
	// ConfigChangedData belongs to ConfigChanged and ConfigRestored. Is says in words
	// what is not as it was.
	ConfigChangedData struct {
		Path string `json:"path,omitempty"`
		Was  string `json:"was"`
		Is   string `json:"is"`
		Plan any    `json:"plan,omitempty"` // what the change would mean
	}
	// ConfigAcceptedData belongs to ConfigAccepted. Was and Is are fingerprints.
	ConfigAcceptedData struct {
		By   string `json:"by"` // "restart" or "reload"
		Was  string `json:"was,omitempty"`
		Is   string `json:"is"`
		Plan any    `json:"plan"`
	}
	// ProbeData belongs to ProbeRan.
	ProbeData struct {
		Engine   string `json:"engine,omitempty"`
		Held     bool   `json:"held"`
		Finding  string `json:"finding,omitempty"`
		Attempts any    `json:"attempts,omitempty"`
		// Attestation names the signed record of a boundary that held; Signed is
		// the record. Cached says that an earlier process made it.
		Attestation string `json:"attestation,omitempty"`
		Cached      bool   `json:"cached,omitempty"`
		Signed      string `json:"signed,omitempty"`
	}
	// InboundData belongs to Inbound.
	InboundData struct {
		From    chat.Address   `json:"from"`
		ID      chat.MessageID `json:"id"`
		Row     int64          `json:"row"`
		Sender  chat.Sender    `json:"sender"`
		Text    string         `json:"text"`
		Verdict string         `json:"verdict"`
		Reason  string         `json:"reason"`
	}
	// RunStartedData belongs to RunStarted. Grant is the whole grant.
	RunStartedData struct {
		Trigger any    `json:"trigger"`
		Mode    string `json:"mode,omitempty"`
		Agent   string `json:"agent,omitempty"`
		Grant   any    `json:"grant"`
	}
	// SessionPreparedData belongs to SessionPrepared. Grant is the whole grant.
	SessionPreparedData struct {
		Mode  string `json:"mode"`
		Agent string `json:"agent"`
		Grant any    `json:"grant"`
	}
	// SessionStartedData belongs to SessionStarted.
	SessionStartedData struct {
		Engine  string   `json:"engine"`
		Layers  []string `json:"layers"`
		Missing []string `json:"missing,omitempty"`
		InitPID int      `json:"initPid"`
		// Prepared says that the boundary stood ready before it was needed.
		Prepared bool `json:"prepared,omitempty"`
		// Attestation names the record of the probe that the session rests on.
		Attestation string `json:"attestation,omitempty"`
		// Server is the MCP server for which the boundary was made, "" for agents.
		Server string `json:"server,omitempty"`
		// Adapter is the external channel for whose adapter it was made.
		Adapter string `json:"adapter,omitempty"`
	}
	// SessionEndedData belongs to SessionEnded.
	SessionEndedData struct {
		Reason string `json:"reason,omitempty"`
		Ms     int64  `json:"ms,omitempty"`
	}
	// ToolCalledData belongs to ToolCalled.
	ToolCalledData struct {
		Tool string `json:"tool"`
		// Input is without credentials, and bounded.
		Input   any    `json:"input,omitempty"`
		Verdict string `json:"verdict,omitempty"` // "allowed" or "denied"
		// Rule is what decided, Reason what the agent was told, and Count the place
		// of the call among those of its run.
		Rule     string `json:"rule,omitempty"`
		Reason   string `json:"reason,omitempty"`
		Count    int    `json:"count,omitempty"`
		Subagent string `json:"subagent,omitempty"`
	}
	// ApprovalData belongs to ApprovalAsked, which has Effect, and ApprovalEnded,
	// which has State, Reason and, where somebody answered, By and From.
	ApprovalData struct {
		Act    string        `json:"act"`
		Title  string        `json:"title"`
		Hash   string        `json:"hash"`
		Effect string        `json:"effect,omitempty"` // without credentials
		Until  time.Time     `json:"until,omitzero"`
		State  string        `json:"state,omitempty"`
		Reason string        `json:"reason,omitempty"`
		By     chat.SenderID `json:"by,omitempty"`
		From   string        `json:"from,omitempty"`
		Role   string        `json:"role,omitempty"`   // as which By answered
		Choice string        `json:"choice,omitempty"` // what a yes chose
	}
	// RightData belongs to RightAllowed and RightEnded: a lasting answer of the owner.
	// By and From are who allowed it where, or who took it back.
	RightData struct {
		Right   string    `json:"right"` // its kind
		Subject string    `json:"subject"`
		Hash    string    `json:"hash,omitempty"`
		Until   time.Time `json:"until,omitzero"`
		By      string    `json:"by"`
		From    string    `json:"from"`
		Reason  string    `json:"reason,omitempty"`
	}
	// PairingData belongs to Pairing. Sender is who gave a code, empty where one was
	// made. The code itself is in no entry.
	PairingData struct {
		State  string    `json:"state"` // made, used, wrong, locked
		Sender string    `json:"sender,omitempty"`
		From   string    `json:"from,omitempty"`
		Until  time.Time `json:"until,omitzero"`
	}
	// HostToolCalledData belongs to HostToolCalled.
	HostToolCalledData struct {
		Tool    string `json:"tool"`
		Args    any    `json:"args,omitempty"`
		Verdict string `json:"verdict"`
		Reason  string `json:"reason,omitempty"`
	}
	// MCPCalledData belongs to MCPCalled.
	MCPCalledData struct {
		Server  string `json:"server"`
		Method  string `json:"method"`
		Tool    string `json:"tool,omitempty"`
		Verdict string `json:"verdict"`
		Reason  string `json:"reason,omitempty"`
	}
	// MCPToolsData belongs to MCPTools. Was and Is are hashes of all definitions
	// together, Was "" if nothing was known; Tools has that of each.
	MCPToolsData struct {
		Server string            `json:"server"`
		Says   string            `json:"says,omitempty"` // what it calls itself
		Was    string            `json:"was,omitempty"`
		Is     string            `json:"is"`
		Change string            `json:"change"` // in words
		Tools  map[string]string `json:"tools"`
	}
	// RunJoinedData belongs to RunJoined.
	RunJoinedData struct {
		Trigger any     `json:"trigger"`
		Rows    []int64 `json:"rows"`
	}
	// AgentUnaskedData belongs to AgentUnasked. More says that further ones are
	// not recorded.
	AgentUnaskedData struct {
		Origin string `json:"origin,omitempty"`
		Text   string `json:"text"`
		More   bool   `json:"more,omitempty"`
	}
	// EgressData belongs to EgressTried. Up and Down are bytes.
	EgressData struct {
		Method  string `json:"method,omitempty"`
		Host    string `json:"host"`
		Port    int    `json:"port"`
		Path    string `json:"path,omitempty"`
		Addr    string `json:"addr,omitempty"`
		Verdict string `json:"verdict"`
		Reason  string `json:"reason,omitempty"`
		Up      int64  `json:"up,omitempty"`
		Down    int64  `json:"down,omitempty"`
		Ms      int64  `json:"ms,omitempty"`
		Usage   *struct {
			Model  string `json:"model"`
			Input  int64  `json:"input"`
			Read   int64  `json:"cache_read"`
			Write  int64  `json:"cache_write"`
			Output int64  `json:"output"`
		} `json:"usage,omitempty"`
	}
	// FilesChangedData belongs to FilesChanged.
	FilesChangedData struct {
		Folders []ChangedFolder `json:"folders"`
	}
	// ChangedFolder is a folder that the run could write, by its path inside.
	ChangedFolder struct {
		Folder string        `json:"folder"`
		Files  []ChangedFile `json:"files"`
		// More is how many files changed beyond those listed.
		More int `json:"more,omitempty"`
		// Short says why the search was not complete.
		Short string `json:"short,omitempty"`
	}
	// ChangedFile is a file as the run left it. SHA256 is of its content, in hex;
	// "" for a file that was too large to read, and for what is no file.
	ChangedFile struct {
		Path   string `json:"path"`
		Bytes  int64  `json:"bytes,omitempty"`
		SHA256 string `json:"sha256,omitempty"`
		// Kind is "link", "fifo", "socket" or "device" for what is no file.
		Kind string `json:"kind,omitempty"`
	}
	// RunEndedData belongs to RunEnded. State is the run's last state.
	RunEndedData struct {
		Closing
		State string `json:"state"`
		Error string `json:"error,omitempty"`
		Ms    int64  `json:"ms,omitempty"`
		// CostUSD is what the agent claims: the host knows no prices.
		CostUSD   float64 `json:"costUsd,omitempty"`
		ToolCalls int     `json:"toolCalls,omitempty"`
		// Model is what the model's provider counted; nil if it was not asked.
		Model *ModelUse `json:"model,omitempty"`
		// Class is the kind of a failure, and Raw what the agent said of it, with what
		// looks like a secret masked.
		Class string `json:"class,omitempty"`
		Raw   string `json:"raw,omitempty"`
		// Found are files that run code later, new or changed, each in words.
		Found []string `json:"found,omitempty"`
	}
	// ModelUse is what answers of models cost, as their provider counted it: tokens,
	// and searches and fetches that the provider made.
	ModelUse struct {
		Answers    int   `json:"answers"`
		Input      int64 `json:"input"`
		CacheRead  int64 `json:"cacheRead,omitempty"`
		CacheWrite int64 `json:"cacheWrite,omitempty"`
		Output     int64 `json:"output"`
		Searches   int64 `json:"searches,omitempty"`
		Fetches    int64 `json:"fetches,omitempty"`
		// Partial is how many answers did not come to their end: they may have cost more.
		Partial int `json:"partial,omitempty"`
	}
	// RunHeldData belongs to RunHeld. The run itself is gone: its messages begin
	// another one.
	RunHeldData struct {
		Rule  string    `json:"rule"`
		Text  string    `json:"text"`
		Rows  []int64   `json:"rows"`
		Until time.Time `json:"until"`
	}
	// TroubleData belongs to Trouble. Until is when it is tried again.
	TroubleData struct {
		Key   string    `json:"key"`
		Class string    `json:"class"`
		Text  string    `json:"text,omitempty"`
		State string    `json:"state"`
		Until time.Time `json:"until,omitzero"`
	}
	// BudgetExtendedData belongs to BudgetExtended. Money is in millionths of a dollar.
	BudgetExtendedData struct {
		Account string `json:"account"`
		Day     string `json:"day"`
		Micros  int64  `json:"micros,omitempty"`
		Tokens  int64  `json:"tokens,omitempty"`
		By      string `json:"by"`
	}
	// RunRefusedData belongs to RunRefused.
	RunRefusedData struct {
		Closing
		Rule string `json:"rule"`
		Text string `json:"text"`
	}
	// OutboxData belongs to Outbox, Delivered and GivenUp. The words themselves
	// are in the outbox row.
	OutboxData struct {
		ID      int64             `json:"id"`
		To      chat.Address      `json:"to"`
		Kind    chat.OutboundKind `json:"kind"`
		Bytes   int               `json:"bytes"`
		Network chat.MessageID    `json:"network,omitempty"`
		Tries   int               `json:"tries,omitempty"`
		Cause   string            `json:"cause,omitempty"`
	}
	// ExecStartedData belongs to ExecStarted.
	ExecStartedData struct {
		Argv  []string `json:"argv"`
		Grant any      `json:"grant,omitempty"`
	}
	// ExecEndedData belongs to ExecEnded.
	ExecEndedData struct {
		Exit   int      `json:"exit"`
		Signal string   `json:"signal,omitempty"`
		Error  string   `json:"error,omitempty"`
		Ms     int64    `json:"ms,omitempty"`
		Found  []string `json:"found,omitempty"` // as of a run
	}
	// DelayedData belongs to DelayedFound and DelayedMoved.
	DelayedData struct {
		Folder string   `json:"folder"`
		Files  []string `json:"files,omitempty"` // each in words
		// Odd are files with names elsewhere, sockets, FIFOs and devices.
		Odd        []string `json:"odd,omitempty"`
		Quarantine string   `json:"quarantine,omitempty"`
		Failed     []string `json:"failed,omitempty"`
		// Short says why the search was not complete.
		Short string `json:"short,omitempty"`
	}
	// WireFailedData belongs to WireFailed.
	WireFailedData struct {
		Reason string `json:"reason"`
	}
	// OwnerActedData belongs to OwnerActed.
	OwnerActedData struct {
		Act    string `json:"act"`
		Target string `json:"target,omitempty"`
		Detail string `json:"detail,omitempty"`
		// By is who did it in a chat, as CHANNEL:SENDER, and Role what they are there;
		// empty for the owner in a terminal. From is the chat.
		By   string `json:"by,omitempty"`
		Role string `json:"role,omitempty"`
		From string `json:"from,omitempty"`
		// Entries are the ids of entries whose words were erased.
		Entries []int64 `json:"entries,omitempty"`
	}
)

// The states of a trouble.
const (
	TroubleBegan = "began"
	TroubleAgain = "again"
	TroubleOver  = "over"
)
