package wire

import "time"

// Version is the version of the protocol. Host and init are built together,
// so a difference is a mistake in packaging and is refused.
const Version = 2

// Kind says what a stream carries. The init opens every stream and sends a
// Header first.
type Kind string

// The kinds of stream.
const (
	Control Kind = "control" // one for each session, opened first; Messages both ways
	Stdio   Kind = "stdio"   // stdin (to the inside) and stdout (to the host) of one process
	Stderr  Kind = "stderr"  // stderr of one process, towards the host
	Proxy   Kind = "proxy"   // one connection to the egress proxy
	Model   Kind = "model"   // one connection to the model endpoint
	Tools   Kind = "tools"   // one connection to the host tools endpoint
	MCP     Kind = "mcp"     // one connection to the endpoint of the owner's MCP servers
)

// Header is the first thing on each stream.
type Header struct {
	Kind Kind
	// Token is the session's secret, which only the init holds. It is empty on
	// the control stream, since it arrives there.
	Token string
	// Exec names the process on Stdio and Stderr streams.
	Exec uint32
}

// Message is what travels on the control stream: exactly one field is set. Types
// with JSON names travel as JSON too, where time does not count: on a pipe to a
// first of two inits, or to a probe.
type Message struct {
	// from the init
	Standing *Standing
	Ready    *Ready
	Failed   *Failed
	Started  *Started
	Exited   *Exited

	// from the host; a Spec only as what the wire begins with
	Spec   *Spec
	Rest   *Rest
	Exec   *Exec
	Signal *Signal
	Resize *Resize
}

// Spec is everything the init needs to finish the boundary. It crosses the
// wire, never arguments or environment: it is what the wire begins with, before
// there are streams.
type Spec struct {
	Version  int    `json:"version"`
	Token    string `json:"token"`
	Hostname string `json:"hostname"`

	// Mounts are attached in order. Every source was opened by the host and is
	// an inherited descriptor.
	Mounts []Mount `json:"mounts"`
	// Links are symbolic links of the new root, such as /bin to usr/bin.
	Links []Link `json:"links,omitempty"`
	// Files are generated into the new root, such as /etc/passwd.
	Files []File `json:"files,omitempty"`
	// TmpBytes bounds /tmp and /dev/shm together with the root's own tmpfs.
	TmpBytes int64 `json:"tmp_bytes"`

	Endpoints []Endpoint `json:"endpoints,omitempty"`
	Terminal  *Terminal  `json:"terminal,omitempty"`
	Rlimits   []Rlimit   `json:"rlimits,omitempty"`
	// LandlockFloor is the lowest Landlock ABI the owner accepts; 0 accepts a
	// kernel without Landlock, and then Ready says so.
	LandlockFloor int `json:"landlock_floor"`
	// Landlock is the allow-list of paths, made from the grant and not from
	// Mounts, so that a mistake in one is caught by the other.
	Landlock []PathRule `json:"landlock"`

	// RestFD is set if the init is to stand by: it does all that it can, sends
	// Standing, and waits for a Rest before it confines itself. It is the number
	// of an inherited Unix socket, over which the descriptors of the Rest's mounts
	// come, and which the init closes before anything of the agent runs.
	RestFD int `json:"rest_fd,omitempty"`

	// Prepared says that an init before this one has built the root and the names,
	// and started the sandbox in which this one runs. It does the rest.
	Prepared bool `json:"prepared,omitempty"`
	// Built says that another program has built the root, the network and the
	// names. Then the init builds none of them, and proves that they are as this
	// Spec says.
	Built *Built `json:"built,omitempty"`
	// Nesting leaves /proc whole and writable, for a root in which another
	// sandbox builds its own: the kernel mounts no further process file system
	// for those who see less than a whole one.
	Nesting bool `json:"nesting,omitempty"`
}

// Stage is the task of the first of two inits: it builds the root of Spec and
// becomes Argv in it, a sandbox that starts the second init. It is read from
// an inherited descriptor; the wire is the second one's.
type Stage struct {
	Spec Spec     `json:"spec"`
	Argv []string `json:"argv"`
	Env  []string `json:"env"`
	Dir  string   `json:"dir"`
}

// Rest completes a Spec that was sent ahead.
type Rest struct {
	Token string
	// Mounts are attached after those of the Spec. The FD of each is its place
	// among the descriptors that came over the socket, from 0 on.
	Mounts []Mount
	// Landlock adds to the rules of the Spec.
	Landlock []PathRule
}

// Built is what the init has to know of the engine that built its surroundings.
type Built struct {
	// By names the program, for people: "bubblewrap 0.8.0".
	By string `json:"by"`
	// Outside are the host's namespaces as /proc/self/ns shows them, such as
	// "net:[4026531833]". The init must be in none of them.
	Outside []string `json:"outside"`
	// Sealed says that the engine could give mounts every attribute: those without
	// Exec are noexec, and no mount of the host will ever appear beneath one. What
	// an engine cannot do is told in Ready.
	Sealed bool `json:"sealed,omitempty"`
	// Contained is set if the surroundings are a container: its root is an image.
	Contained *Contained `json:"contained,omitempty"`
}

// Contained is what the init can prove of a container, and of whose image it
// knows nothing.
type Contained struct {
	// Pinned says that Dev and Ino of the mounts are known, and mean inside what
	// they mean on the host: both have one kernel.
	Pinned bool `json:"pinned,omitempty"`
	// Apart says that the engine's kernel is not the host's, so that its namespaces
	// cannot be compared.
	Apart bool `json:"apart,omitempty"`
	// GVisor says that this kernel is gVisor's, which has no Landlock.
	GVisor bool `json:"gvisor,omitempty"`
	// Seen says that the host compares the inodes of the mounts itself, from outside.
	Seen bool `json:"seen,omitempty"`
	// Places are further mounts that the host asked the engine for.
	Places []string `json:"places,omitempty"`
}

// Mount attaches one source at Target.
type Mount struct {
	Target string `json:"target"`
	// FD is the inherited descriptor of the source.
	FD int `json:"fd"`
	// Detached says that FD is already a detached mount (open_tree(2) with
	// OPEN_TREE_CLONE, made by a privileged host) and only has to be moved.
	// Otherwise FD pins an inode, Source is its path, and the init mounts Source
	// and then proves that it got the pinned inode. Where Spec.Built says that it
	// is mounted already, the init only proves.
	Detached bool   `json:"detached,omitempty"`
	Source   string `json:"source,omitempty"`
	Write    bool   `json:"write,omitempty"`
	// Exec permits running programs from it; without it the mount is noexec.
	Exec bool `json:"exec,omitempty"`
	// File says that the source is a regular file and not a directory.
	File bool `json:"file,omitempty"`
	// Dev and Ino are the inode that the host pinned, where no descriptor of it can
	// be handed over.
	Dev uint64 `json:"dev,omitempty"`
	Ino uint64 `json:"ino,omitempty"`
}

// Link is a symbolic link made in the new root.
type Link struct {
	Path   string `json:"path"`
	Target string `json:"target"`
}

// File is a small file made in the new root, read-only to the agent.
type File struct {
	Path string `json:"path"`
	Data []byte `json:"data"`
}

// Endpoint is a loopback listener that the init makes before any process of
// the agent runs. Each accepted connection becomes a stream of Kind.
type Endpoint struct {
	Port int  `json:"port"`
	Kind Kind `json:"kind"`
	// FD is the inherited descriptor of a listener that the host made, where the
	// inside may not make one. 0 is none.
	FD int `json:"fd,omitempty"`
}

// Terminal is a terminal that the host made, for the first process that asks for
// one, where the inside may not make any: its two ends as inherited descriptors.
type Terminal struct {
	Master int `json:"master"`
	Slave  int `json:"slave"`
}

// Rlimit is a setrlimit(2) limit, soft and hard alike.
type Rlimit struct {
	Resource int    `json:"resource"`
	Value    uint64 `json:"value"`
}

// PathRule lets Landlock grant rights beneath Path, a path inside.
type PathRule struct {
	Path  string `json:"path"`
	Read  bool   `json:"read,omitempty"`
	Write bool   `json:"write,omitempty"`
	Exec  bool   `json:"exec,omitempty"`
	// List permits reading the names in folders beneath it, and nothing in files.
	List bool `json:"list,omitempty"`
	// Device permits ioctl on devices beneath it.
	Device bool `json:"device,omitempty"`
}

// Standing says that everything of a Spec is in place that can be before its
// Rest is known.
type Standing struct{}

// Ready says that the boundary stands. From here on the init is as confined
// as what it starts.
type Ready struct {
	// Layers are the layers in force, each in words, such as
	// "landlock ABI 7" or "seccomp: 412 numbers known".
	Layers []string
	// Missing are layers that this kernel does not have.
	Missing []string
	// Took is how long the init worked.
	Took time.Duration
}

// Failed ends the session: a step of building the boundary did not work, so
// nothing was started. Nothing is ever skipped.
type Failed struct {
	Step string
	Err  string
	// Errno is the error number if there was one.
	Errno int
}

// StdioMode says what a process has as its standard input and output.
type StdioMode string

// The stdio modes.
const (
	// Pipes: three pipes. For shell and exec.
	Pipes StdioMode = "pipes"
	// Socketpair: stdin and stdout are one end of a socketpair that the init
	// holds, stderr a pipe. A process inside cannot reopen a socket by /proc, so
	// a child of a protocol agent cannot forge its parent's lines.
	Socketpair StdioMode = "socketpair"
	// PTY: a terminal; stderr arrives with stdout.
	PTY StdioMode = "pty"
)

// Exec starts a process inside.
type Exec struct {
	// ID is chosen by the host, unique in the session.
	ID    uint32
	Argv  []string
	Env   []string
	Dir   string
	Stdio StdioMode
	Rows  uint16
	Cols  uint16
	// Probe runs the init's own break-out attempts in place of Argv, as an
	// ordinary process of the agent. Its stdout is one ProbeReport.
	Probe *Probe
}

// Started answers Exec: the process runs, or Err says why it does not.
type Started struct {
	ID  uint32
	PID int
	Err string
	// NotFound and NotExecutable tell exit codes 127 and 126 apart.
	NotFound      bool
	NotExecutable bool
}

// Exited says that a process ended. Code is -1 if Signal ended it.
type Exited struct {
	ID     uint32
	Code   int
	Signal int
	User   time.Duration
	System time.Duration
	MaxRSS int64 // bytes
}

// Signal sends a signal to the process group of a process.
type Signal struct {
	ID     uint32
	Signal int
}

// Resize sets the size of a process's terminal.
type Resize struct {
	ID   uint32
	Rows uint16
	Cols uint16
}

// Probe is what the break-out attempts look for.
type Probe struct {
	// Canaries are paths outside the grant that exist on the host and must not
	// exist inside, each with the content that must not be found.
	Canaries []Canary `json:"canaries"`
	// Dial are host:port addresses on the host where something listens.
	Dial []string `json:"dial"`
	// HostPID is a process of the host that must not be seen.
	HostPID int `json:"host_pid"`
	// WriteTo are folders outside the grant where nothing may be created.
	WriteTo []string `json:"write_to"`
	// Env are names of variables of the host that must not be seen.
	Env []string `json:"env"`
}

// Canary is a planted secret.
type Canary struct {
	Path string `json:"path"`
	Data string `json:"data"`
}

// ThreadsWithin is the attempt of a probe that the host cannot make itself where the
// init is a process of another kernel.
const ThreadsWithin = "find a thread of the init that the container's kernel does not confine"

// ProbeReport is what the probe found: one line for each attempt.
type ProbeReport struct {
	Attempts []Attempt `json:"attempts"`
	// Layers and Missing are the session's, added by the host.
	Layers  []string `json:"-"`
	Missing []string `json:"-"`
}

// Attempt is one thing the probe tried.
type Attempt struct {
	// Name is what was tried, in words: "read the canary in the data folder".
	Name string `json:"name"`
	// Broke is true if it succeeded, which means that the boundary does not hold.
	Broke bool `json:"broke"`
	// Detail is the kernel's answer, or what was got.
	Detail string `json:"detail,omitempty"`
	// Known is why the engine is expected to let this succeed; "" if it is not.
	// The host sets it, and takes it from nobody inside.
	Known string `json:"known,omitempty"`
}
