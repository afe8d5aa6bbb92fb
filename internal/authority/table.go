package authority

// Act is something that not everybody may do. Those that are done to a group
// have further forms, for another group than the actor's own and for all.
type Act string

// The acts that lastingly grow or shrink rights.
const (
	GroupRegister Act = "group.register"
	GroupRemove   Act = "group.remove"
	GroupMode     Act = "group.mode"
	MountChange   Act = "mount.change"
	EgressChange  Act = "egress.change"
	MCPChange     Act = "mcp.change"
	FolderTrust   Act = "folder.trust"
	RoleGrant     Act = "role.grant"
	RoleRevoke    Act = "role.revoke"
	SenderAllow   Act = "sender.allow"
	SenderDeny    Act = "sender.deny"
	SenderPair    Act = "sender.pair"
	LimitChange   Act = "limit.change"
	ConfigChange  Act = "config.change"
	ConfigReload  Act = "config.reload"
	Credentials   Act = "credential.reload"
	WebSignIn     Act = "web.signin"
)

// The answers to questions of the host.
const (
	Approve        Act = "approve"
	ApproveOther   Act = Approve + other
	ApproveGrowing Act = "approve.growing"
	Questions      Act = "question.list"
	RightRemove    Act = "right.remove"
)

// What goes on, and how it is stopped.
const (
	Speak            Act = "speak"
	NewConversation  Act = "conversation.new"
	Interrupt        Act = "interrupt"
	InterruptOther   Act = Interrupt + other
	Stop             Act = "stop"
	StopOther        Act = Stop + other
	StopAll          Act = Stop + all
	Pause            Act = "pause"
	PauseOther       Act = Pause + other
	PauseAll         Act = Pause + all
	Resume           Act = "resume"
	ResumeOther      Act = Resume + other
	ResumeAll        Act = Resume + all
	Status           Act = "status"
	StatusOther      Act = Status + other
	StatusAll        Act = Status + all
	ModeShow         Act = "mode"
	ModeShowOther    Act = ModeShow + other
	ModeShowAll      Act = ModeShow + all
	CostShow         Act = "cost"
	CostShowOther    Act = CostShow + other
	CostShowAll      Act = CostShow + all
	Explain          Act = "explain"
	ExplainOther     Act = Explain + other
	HelpShow         Act = "help"
	Shutdown         Act = "shutdown"
	Exec             Act = "exec"
	Send             Act = "send"
	SendOther        Act = Send + other
	SendUnregistered Act = "send.unregistered"
	GroupList        Act = "group.list"
)

// Tasks that run later.
const (
	Schedule         Act = "schedule"
	ScheduleOther    Act = Schedule + other
	ScheduleHostMode Act = "schedule.host"
	TaskChange       Act = "task.change"
	TaskChangeOther  Act = TaskChange + other
	TaskList         Act = "task.list"
	TaskListOther    Act = TaskList + other
	TaskListAll      Act = TaskList + all
)

// Looking at what was done, and tidying up.
const (
	Inspect    Act = "inspect"
	Export     Act = "audit.export"
	Erase      Act = "erase"
	Quarantine Act = "quarantine"
	Examine    Act = "examine"
)

// row says for one act what it is, and what each kind of actor gets.
type row struct {
	act   Act
	words string // after "may not" and "only the owner may"

	cli, web             cell // the owner
	owner, admin, member cell // in a chat
	main, group          cell // an agent: main's, and any other group's
}

// cell is an entry of the table.
type cell int

const (
	no    cell = iota // not here
	yes               // at once
	grows             // the owner confirms it where the rights do not grow by one message
	asks              // the owner is asked
	mine              // only the owner
	over              // only the owner or an admin of the group
	elder             // only main's agent
	agent             // no agent
)

// cells says what the entries mean. … stands for the words of the act.
var cells = map[cell]struct {
	outcome Outcome
	reason  string
}{
	no:    {Deny, "nobody may … from here: the owner does it in a terminal"},
	yes:   {Allow, "may …"},
	grows: {Hold, "to … lastingly changes rights: the owner confirms it in a terminal, or in another chat of theirs"},
	asks:  {Hold, "the owner is asked before anybody may …"},
	mine:  {Deny, "only the owner may …"},
	over:  {Deny, "only the owner and admins of this group may …"},
	elder: {Deny, "only the agent of main may …"},
	agent: {Deny, "no agent may …: ask the owner"},
}

// table is who may do what. It is read and never written.
var table = []row{
	//                                                                                   cli  web  owner  admin member main   group
	{GroupRegister, "register a group", yes, yes, grows, mine, mine, asks, elder},
	{GroupRemove, "remove a group", yes, yes, grows, mine, mine, agent, agent},
	{GroupMode, "change the mode of a group", yes, yes, grows, mine, mine, agent, agent},
	{MountChange, "change the folders of a group", yes, yes, grows, mine, mine, agent, agent},
	{EgressChange, "change which hosts a group reaches", yes, yes, grows, mine, mine, agent, agent},
	{MCPChange, "change MCP servers", yes, yes, grows, mine, mine, agent, agent},
	{FolderTrust, "trust the settings in a workspace", yes, yes, no, mine, mine, agent, agent},
	{RoleGrant, "give somebody a role", yes, yes, grows, mine, mine, agent, agent},
	{RoleRevoke, "take a role away", yes, yes, yes, mine, mine, agent, agent},
	{SenderAllow, "let somebody speak in a group", yes, yes, grows, mine, mine, agent, agent},
	{SenderDeny, "keep somebody from speaking in a group", yes, yes, yes, mine, mine, agent, agent},
	{SenderPair, "make a pairing code", yes, yes, grows, mine, mine, agent, agent},
	{LimitChange, "change a limit or a budget", yes, yes, grows, mine, mine, agent, agent},
	{ConfigChange, "change the configuration", yes, yes, no, mine, mine, agent, agent},
	{ConfigReload, "have the configuration read again", yes, yes, no, mine, mine, agent, agent},
	{Credentials, "have the credentials read again", yes, yes, no, mine, mine, agent, agent},
	{WebSignIn, "sign a browser in", yes, no, no, mine, mine, agent, agent},

	{Approve, "answer this question of the host", yes, yes, yes, yes, over, agent, agent},
	{ApproveOther, "answer a question of the host about another group", yes, yes, yes, mine, mine, agent, agent},
	{ApproveGrowing, "say yes to what lastingly grows rights", yes, yes, grows, mine, mine, agent, agent},
	{Questions, "see the open questions of the host", yes, yes, yes, mine, mine, agent, agent},
	{RightRemove, "take back what was allowed", yes, yes, yes, mine, mine, agent, agent},

	{Speak, "speak to the agent", yes, yes, yes, yes, yes, agent, agent},
	{NewConversation, "begin a new conversation", yes, yes, yes, mine, mine, agent, agent},
	{Interrupt, "interrupt the agent", yes, yes, yes, yes, over, agent, agent},
	{InterruptOther, "interrupt the agent of another group", yes, yes, yes, mine, mine, agent, agent},
	{Stop, "stop runs of this group", yes, yes, yes, yes, over, agent, agent},
	{StopOther, "stop runs of another group", yes, yes, yes, mine, mine, agent, agent},
	{StopAll, "stop all runs", yes, yes, yes, mine, mine, agent, agent},
	{Pause, "pause this group", yes, yes, yes, yes, over, agent, agent},
	{PauseOther, "pause another group", yes, yes, yes, mine, mine, agent, agent},
	{PauseAll, "pause all groups", yes, yes, yes, mine, mine, agent, agent},
	{Resume, "resume this group", yes, yes, yes, yes, over, agent, agent},
	{ResumeOther, "resume another group", yes, yes, yes, mine, mine, agent, agent},
	{ResumeAll, "resume all groups", yes, yes, yes, mine, mine, agent, agent},
	{Status, "see the status of this group", yes, yes, yes, yes, over, agent, agent},
	{StatusOther, "see the status of another group", yes, yes, yes, mine, mine, agent, agent},
	{StatusAll, "see the status of all groups", yes, yes, yes, mine, mine, agent, agent},
	{ModeShow, "see the mode of this group", yes, yes, yes, mine, mine, agent, agent},
	{ModeShowOther, "see the mode of another group", yes, yes, yes, mine, mine, agent, agent},
	{ModeShowAll, "see the modes of all groups", yes, yes, yes, mine, mine, agent, agent},
	{CostShow, "see what this group cost", yes, yes, yes, mine, mine, agent, agent},
	{CostShowOther, "see what another group cost", yes, yes, yes, mine, mine, agent, agent},
	{CostShowAll, "see what all groups cost", yes, yes, yes, mine, mine, agent, agent},
	{Explain, "have a run of this group explained", yes, yes, yes, mine, mine, agent, agent},
	{ExplainOther, "have a run of another group explained", yes, yes, yes, mine, mine, agent, agent},
	{HelpShow, "see what may be said to the host", yes, yes, yes, yes, yes, agent, agent},
	{Shutdown, "end nanoclaw", yes, yes, no, mine, mine, agent, agent},
	{Exec, "run a command in a group's boundary", yes, yes, no, mine, mine, agent, agent},
	{Send, "send to this group's chat", yes, yes, yes, yes, yes, yes, yes},
	{SendOther, "send to another group", yes, yes, yes, mine, mine, yes, elder},
	{SendUnregistered, "send to a chat that belongs to no group", yes, yes, asks, mine, mine, asks, elder},
	{GroupList, "list the groups", yes, yes, yes, mine, mine, yes, elder},

	{Schedule, "schedule tasks in this group", yes, yes, yes, yes, yes, yes, yes},
	{ScheduleOther, "schedule tasks in another group", yes, yes, yes, mine, mine, yes, elder},
	{ScheduleHostMode, "schedule a task in host mode", yes, yes, grows, mine, mine, asks, agent},
	{TaskChange, "pause, resume or cancel tasks of this group", yes, yes, yes, yes, yes, yes, yes},
	{TaskChangeOther, "pause, resume or cancel tasks of another group", yes, yes, yes, mine, mine, yes, elder},
	{TaskList, "list the tasks of this group", yes, yes, yes, yes, yes, yes, yes},
	{TaskListOther, "list the tasks of other groups", yes, yes, yes, mine, mine, yes, elder},
	{TaskListAll, "list the tasks of all groups", yes, yes, yes, mine, mine, agent, agent},

	{Inspect, "look at runs, grants and the record", yes, yes, no, mine, mine, agent, agent},
	{Export, "take the record out", yes, yes, no, mine, mine, agent, agent},
	{Erase, "erase what somebody wrote", yes, yes, no, mine, mine, agent, agent},
	{Quarantine, "decide about what was moved away", yes, yes, no, mine, mine, agent, agent},
	{Examine, "have this machine examined", yes, yes, no, mine, mine, agent, agent},
}
