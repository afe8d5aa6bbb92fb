package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/approval"
	"nanoclaw/internal/attest"
	"nanoclaw/internal/audit"
	"nanoclaw/internal/boundary"
	"nanoclaw/internal/channel"
	"nanoclaw/internal/channel/console"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/observe"
	"nanoclaw/internal/outbox"
	"nanoclaw/internal/pressure"
	"nanoclaw/internal/queue"
	"nanoclaw/internal/router"
	"nanoclaw/internal/runner"
	"nanoclaw/internal/store"
	"nanoclaw/internal/task"
	"nanoclaw/internal/watch"
)

// Options are what a daemon is opened with.
type Options struct {
	Paths config.Paths
	// Init gives the nanoclaw-init program. Its error turns host mode off.
	Init func() (io.ReadSeekCloser, error)
	// ContainerInit gives the one for the containers of this machine, which run Linux
	// whatever it runs. Nil: Init does.
	ContainerInit func() (io.ReadSeekCloser, error)
	// ContainerProgram is the container engines' tool where the configuration names
	// none. "" is the machine's own.
	ContainerProgram string
	// Attacker is the path of a program that plays the attacker (attack/inside), for
	// the owner who asks for attacks. "" means that they cannot be had.
	Attacker string
	Version  string
	// Channels are connected beside those of the configuration: the chat network of a
	// demonstration, within the process.
	Channels []channel.Channel
	// Getenv and Environ are the process's environment.
	Getenv  func(string) string
	Environ func() []string
	Log     *slog.Logger
	// Say tells the owner something at start, such as that the configuration was
	// written. Nil drops it.
	Say func(string)
}

// EnvNames are the names of the daemon's own variables, for the probe.
func (o Options) EnvNames() []string {
	var out []string
	for _, kv := range o.Environ() {
		for i := range kv {
			if kv[i] == '=' {
				out = append(out, kv[:i])
				break
			}
		}
	}
	return out
}

// Daemon is everything, wired.
type Daemon struct {
	opt     Options
	log     *slog.Logger
	config  *config.Config
	policy  integrity
	lending lending
	runLogs runLogs
	machine grant.Machine
	models  models
	started time.Time
	install string // names this installation in what it gives to agents

	store     *store.Store
	key       *audit.Key
	sequencer *audit.Sequencer
	engines   []*mechanism
	chosen    chosen
	// containers are the engines for container mode, and contained the one in use.
	containers []*mechanism
	contained  chosen
	// attests gives what every finding of this process depends on.
	attests func() (attest.Basis, error)

	spares  spares
	anchors anchors
	mcp     servers
	// inherited is what the owner's own Claude Code says of MCP servers.
	inherited inherited

	kept sync.Mutex // held while the quarantine is used
	// short says why the machine is short of memory.
	short func() string

	uids      sync.Mutex
	uidsKnown boundary.UIDs // under uids

	router  *router.Router
	queue   *queue.Queue
	runner  *runner.Runner
	tasks   *task.Scheduler
	outbox  *outbox.Outbox
	console *console.Hub
	// channels are the connections to chat networks, the terminals' among them. It is
	// fixed before Run.
	channels map[chat.ChannelID]channel.Channel
	// networks is how those stand that can be lost.
	networks networks
	people   people
	desk     *approval.Desk
	mask     *watch.Masker

	mistakes mistakes
	rights   rights
	asking   hostAsks
	streams  streams
	programs programs
	limits   *limiter

	// queued are messages that may have to wait for longer than queuedAfter.
	queued      chan queuedMessage
	queuedAfter time.Duration

	// changed fires when a run ended, a message went out, or runs are held.
	changed signal

	// nodes are the other processes that share the store.
	nodes nodes

	up atomic.Bool // Run has taken up everything

	// metrics are nil if nobody wants them; metricsAt is made by Run, unless it is there.
	metrics   *observe.Metrics
	metricsAt net.Listener
	traces    *observe.Tracer // nil if nobody wants them

	stopMu sync.Mutex
	stop   context.CancelCauseFunc
}

// Open reads the configuration, takes the store and makes the parts. Nothing
// runs yet.
func Open(ctx context.Context, o Options) (*Daemon, error) {
	d := &Daemon{opt: o, log: o.Log, started: time.Now(), mask: watch.NewMasker()}
	d.queued, d.queuedAfter = make(chan queuedMessage, maxQueued), queuedAfter
	if d.opt.Say == nil {
		d.opt.Say = func(string) {}
	}
	d.short = pressure.Meter{}.Short
	d.engines, d.containers = d.mechanisms(), d.containerMechanisms()
	d.attests = sync.OnceValues(attest.Machine)
	if err := o.Paths.EnsureDirs(); err != nil {
		return nil, err
	}
	if err := d.openStore(ctx); err != nil {
		return nil, err
	}
	d.clearOldCanaries()
	if err := d.build(ctx); err != nil {
		d.store.Close()
		return nil, err
	}
	return d, nil
}

// build makes what Open promises, once the store is ours.
func (d *Daemon) build(ctx context.Context) error {
	var err error
	if d.key, err = audit.OpenKey(d.opt.Paths.DataDir); err != nil {
		return err
	}
	if err = d.joinNodes(ctx); err != nil {
		return err
	}
	if d.install, err = d.installation(ctx); err != nil {
		return err
	}
	d.sequencer = audit.NewSequencer(d.store, d.key, d.log)
	d.store.OnAudit(d.sequencer.Kick)
	if err := d.loadConfig(ctx); err != nil {
		return err
	}
	d.store.OnPlace(d.place)
	if err := d.sharedFolder(ctx); err != nil {
		return err
	}
	if err := d.loadRights(ctx); err != nil {
		return err
	}
	if err := d.loadPeople(ctx); err != nil {
		return err
	}
	rules, err := router.NewRules(d.config, d.decisions())
	if err != nil {
		return err
	}
	d.limits = newLimiter(d)
	d.store.OnMessage(d.limits.message)
	d.store.OnLost(lostNotice)
	d.desk.Handle(runner.HostRun, d.limits.answeredRun)
	d.desk.Handle(extendDay, d.limits.answeredBudget)
	d.queue = queue.New(d.store, d.config.Limits.ConcurrentRuns, func(ctx context.Context, j queue.Job) { d.runner.Run(ctx, j) }, d.log)
	d.router = router.New(rules, d.store, func(g chat.Group) {
		d.runner.Came(g)
		d.queue.Wake()
	})
	d.router.OnHost(d.forHost)
	d.desk.Handle(askSender, d.senderDecided)
	d.console = console.New(console.Options{OnAttach: d.attached})
	d.channels = map[chat.ChannelID]channel.Channel{console.ID: d.console}
	for _, c := range append(d.testChannels(), d.opt.Channels...) {
		d.channels[c.ID()] = c
	}
	if err := d.openChannels(); err != nil {
		return err
	}
	d.openObserve()
	d.outbox = outbox.New(d.store, d.channelOf, d.log)
	d.outbox.OnChange(d.changed.fire)
	d.outbox.OnAgentWords(d.desk.Disown)
	d.runLogs.d = d
	d.runner = runner.New(d.runnerOptions())
	d.tasks = d.newScheduler()
	d.handleAnswers()
	return d.openServers()
}

// installation names this installation, the same at each start.
func (d *Daemon) installation(ctx context.Context) (string, error) {
	const key = "install"
	name, err := d.store.Meta(ctx, key)
	if err != nil || name != "" {
		return name, err
	}
	return d.store.MetaOnce(ctx, key, agent.NewUUID())
}

// checkMount is asked by the boundary about the canonical path of every folder
// of the owner, after it was opened. What is held lies in a folder that was
// asked about, and gives nothing more.
func (d *Daemon) checkMount(m grant.Mount, path string) error {
	if !m.Foreign || m.Held {
		return nil
	}
	if no := d.machine.CheckLent(m, path); no != nil {
		return no
	}
	return nil
}

// loadConfig reads the configuration, writing it first if there is none.
func (d *Daemon) loadConfig(ctx context.Context) error {
	o := d.configOptions()
	c, print, err := config.Load(d.opt.Paths.Config, o)
	if errors.Is(err, config.ErrNoConfig) {
		if err := d.firstStart(ctx); err != nil {
			return err
		}
		c, print, err = config.Load(d.opt.Paths.Config, o)
	}
	if err != nil {
		return err
	}
	d.inheritServers(c)
	d.config = c
	read, err := d.resolve()
	if err != nil {
		return err
	}
	d.fingerprint(print, read)
	return d.openPolicy(ctx)
}

func (d *Daemon) configOptions() config.Options {
	return config.Options{Getenv: d.opt.Getenv, CheckHost: checkHost, CheckDeny: grant.CheckDeny, CheckTerms: grant.CheckTerms, CheckRule: watch.CheckRule}
}

// resolve finds what the configuration refers to on this machine.
func (d *Daemon) resolve() (promptsRead, error) {
	if err := d.loadModels(); err != nil {
		return promptsRead{}, err
	}
	d.machine = machine(d.opt, d.config)
	d.loadAllowlist()
	d.newDesk()
	read, err := prompts(d.opt.Paths, d.config)
	if err != nil {
		return read, err
	}
	d.machine.Prompts = read.texts
	return read, d.apart(d.groupNames()...)
}

func checkHost(entry string) error {
	_, err := grant.ParseHost(entry)
	return err
}

// firstStart writes the configuration. Main, the owner's own chat, runs in host
// mode where the probe holds; every other group is in container mode until the
// owner opts in. Both facts are said.
func (d *Daemon) firstStart(ctx context.Context) error {
	c := config.Default()
	d.config = &c
	if _, err := d.resolve(); err != nil {
		return err
	}
	h := d.proven(ctx, "")
	if err := config.WriteDefault(d.opt.Paths.Config, config.Template(config.Facts{HostMode: h.Off == "", Reason: h.Off})); err != nil {
		return err
	}
	d.opt.Say("wrote " + d.opt.Paths.Config)
	if h.Off == "" {
		d.opt.Say(fmt.Sprintf("main, your own chat, runs natively in host mode: the boundary held against %d attempts to break out", len(h.Report.Attempts)))
	} else {
		d.opt.Say("main, your own chat, stays in container mode: " + h.Off)
	}
	d.opt.Say("every other group runs in container mode until you opt in: nanoclaw group set NAME --mode host")
	return nil
}

func (d *Daemon) runnerOptions() runner.Options {
	return runner.Options{
		Store: d.store, Boundary: starter{d}, Decide: d.decide, Reason: d.agentReason,
		Agents:  map[string]agent.Adapter{grant.Claude: agent.Claude{}, grant.Shell: agent.Shell{}},
		Gateway: d.gateway, Tools: d.hostTools, Guard: d.guard, Touched: d.touched, UID: d.uid, LandlockFloor: d.config.Boundary.LandlockFloor,
		WarmSessions: d.config.Limits.WarmSessions, Prepare: d.preparedGroups(), Unready: d.unready, Short: func() string { return d.short() }, Held: d.queue.Held, Rests: d.rests,
		Servers: d.sessionServers,
		Consent: d.consent, Named: named, Hide: d.desk.Hide, Attach: d.attach, Transcribe: d.config.Channels.Files.Transcribe, Permit: d.permit, Mask: d.mask, Limits: d.limits,
		RunLog: d.runLogs.add, LogContent: d.config.RunLogs.Content,
		Progress: d.progress, Ended: d.sessionEnded, Replied: d.replied, Install: d.install, MaxAttempts: queue.MaxAttempts, Zone: zone(d.machine.TimeZone), Log: d.log,
		Owner: console.Address(chat.Main), Crowded: d.queue.Crowded, Freed: d.queue.Wake, Markup: d.markupOf, Assistant: d.assistant,
	}
}

// Run serves until ctx ends or Shutdown is called. ready is called once
// everything is up.
func (d *Daemon) Run(ctx context.Context, ready func()) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	d.stopMu.Lock()
	d.stop = stop
	d.stopMu.Unlock()
	if err := d.recover(ctx); err != nil {
		return err
	}
	if err := d.loadPaused(ctx); err != nil {
		return err
	}
	if err := d.desk.Start(ctx); err != nil {
		return err
	}
	if err := d.acceptStart(ctx); err != nil {
		return err
	}
	if err := errors.Join(d.limits.recover(ctx), d.recoverTasks(ctx)); err != nil {
		return err
	}
	d.record(ctx, audit.Entry{At: time.Now(), Kind: audit.HostStarted, Data: audit.HostStartedData{
		Version: d.opt.Version, UID: os.Getuid(), PID: os.Getpid(), Owner: d.store.Owner(),
	}})
	if err := errors.Join(d.noteRestored(ctx), d.takeUpHosts(ctx)); err != nil {
		return err
	}
	stopBeating := d.keepBeating(ctx)
	defer stopBeating()
	stopTraces := d.sendTraces(ctx)
	var parts sync.WaitGroup
	parts.Go(func() { d.while(ctx, store.Sequencer, d.sequencer.Run) })
	parts.Go(func() { d.duty(ctx, "anchor", d.anchor) })
	parts.Go(func() { d.outbox.Run(ctx) })
	parts.Go(func() { d.desk.Run(ctx) })
	for _, c := range d.channels {
		parts.Go(func() { d.connect(ctx, c) })
	}
	parts.Go(func() { d.servePrograms(ctx) })
	parts.Go(func() { d.watchNetworks(ctx) })
	parts.Go(func() { d.serveMetrics(ctx) })
	parts.Go(func() { d.queue.Run(ctx) })
	parts.Go(func() { d.tellQueues(ctx) })
	parts.Go(func() { d.duty(ctx, "scheduler", d.tasks.Run) })
	if d.nodes.name != "" {
		parts.Go(func() { d.hearOthers(ctx) })
		parts.Go(func() { d.keepHosts(ctx) })
	}
	parts.Go(func() { d.mcp.watch.Run(ctx) })
	d.up.Store(true)
	if ready != nil {
		ready()
	}
	parts.Go(func() { d.watchPolicy(ctx) })
	parts.Go(func() { d.keepQuarantine(ctx) })
	parts.Go(func() { d.reap(ctx) })
	parts.Go(func() { d.while(ctx, "retention", d.retain) })
	parts.Go(func() {
		d.keepSpares(ctx)
		parts.Go(func() { settle(ctx, d.rest) })
		d.runner.Tend(ctx)
	})
	<-ctx.Done()
	d.up.Store(false)
	parts.Wait()
	d.runner.Close()
	d.models.close()
	d.endSpares()
	d.record(context.WithoutCancel(ctx), audit.Entry{At: time.Now(), Kind: audit.HostStopped, Data: audit.HostStoppedData{Reason: reason(ctx)}})
	err := d.lastSequence(context.WithoutCancel(ctx))
	d.makeAnchors(context.WithoutCancel(ctx))
	d.ended(context.WithoutCancel(ctx))
	stopTraces()
	return errors.Join(err, d.store.Leave(context.WithoutCancel(ctx)))
}

// reason is why ctx ended, in words.
func reason(ctx context.Context) string {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause.Error()
	}
	return "asked to stop"
}

// Close gives the store back.
func (d *Daemon) Close() error {
	d.runLogs.written.Wait()
	return d.store.Close()
}

// recover takes up what an earlier process left behind, and says what was given
// up.
func (d *Daemon) recover(ctx context.Context) error {
	d.clearLeft(ctx)
	if _, err := d.takeBack(ctx); err != nil {
		return fmt.Errorf("taking up what an earlier process left behind: %w", err)
	}
	return nil
}

// record writes an audit entry that belongs to no other state. A log that
// cannot be written is loud; what must not happen unrecorded uses the store's
// own answer instead.
func (d *Daemon) record(ctx context.Context, e audit.Entry) {
	if err := d.store.Record(ctx, e); err != nil {
		d.log.Error("an audit entry could not be written", "kind", e.Kind, "err", err)
	}
}

// tellOwner puts a notice into the owner's own chat, once for a key.
func (d *Daemon) tellOwner(ctx context.Context, key, text string) {
	_, err := d.outbox.Put(ctx, chat.Outbound{
		To: console.Address(chat.Main), Kind: chat.Notice, Text: text, Group: chat.Main, Key: "owner:" + key, Failed: true,
	})
	if err != nil {
		d.log.Error("a notice for the owner could not be stored", "err", err)
	}
}

// replied is told by the runner that a run ended.
func (d *Daemon) replied() {
	d.outbox.Wake()
	d.changed.fire()
}

func (d *Daemon) attached(to chat.Address) {
	go func() {
		if err := d.outbox.Attached(context.Background(), to); err != nil {
			d.log.Error("held messages could not be released", "chat", to, "err", err)
		}
	}()
}
