package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"nanoclaw/internal/authority"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
	"nanoclaw/internal/control"
	"nanoclaw/internal/credential"
	"nanoclaw/internal/daemon"
	"nanoclaw/internal/egress"
	"nanoclaw/internal/imports"
	"nanoclaw/internal/store"
)

// importOptions are the flags of "import".
type importOptions struct {
	from, policy, team string
	dry, yes, noTry    bool
	rename             map[string]string
	owners             []string
	known              bool
}

func (a *app) importCmd() *cobra.Command {
	var o importOptions
	cmd := &cobra.Command{
		Use:   "import --from DIR",
		Short: "Take over an installation of NanoClaw 1",
		Long: `Take over an installation of NanoClaw 1, 1.2 or the fork with a host mode: groups,
who may speak, folders, memory, conversations, tasks, messages and the credential.
Without --yes the plan is shown, and you are asked at a terminal. What is not taken
over is in it, with the reason. The old installation is not changed.

Nobody gets host mode by it, and nobody is the owner whom --owner does not name.
Stop both, the old nanoclaw and this one, before. It can be repeated: what is
finished is not done a second time.`,
		Example: "  nanoclaw import --from ~/nanoclaw --dry-run\n  nanoclaw import --from ~/nanoclaw --owner whatsapp:4917012345678@s.whatsapp.net --yes",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.from == "" {
				return usageError(errors.New("say where the old installation is: --from DIR"), cmd)
			}
			if o.dry && o.yes {
				return usageError(errors.New("--dry-run changes nothing, and --yes does: say one of them"), cmd)
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop() // so that the copy of the old store is removed, whatever ends it
			return a.importFrom(ctx, o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.from, "from", "", "the folder of the old installation")
	f.BoolVar(&o.dry, "dry-run", false, "only show the plan")
	f.BoolVar(&o.yes, "yes", false, "carry the plan out without asking")
	f.StringVar(&o.policy, "policy", "", "the folder of the old mount-allowlist.json and sender-allowlist.json (~/.config/nanoclaw)")
	f.StringArrayVar(&o.owners, "owner", nil, "who you are on a network, as CHANNEL:SENDER")
	f.StringToStringVar(&o.rename, "rename", nil, "another name for a group, as FOLDER=NAME")
	f.StringVar(&o.team, "slack-team", "", "the id of the Slack workspace, T…")
	f.BoolVar(&o.known, "known-senders", false, "let in who wrote in a group in which everybody could call the agent")
	f.BoolVar(&o.noTry, "no-try", false, "store the credential without trying it")
	return cmd
}

func (a *app) importFrom(ctx context.Context, o importOptions) error {
	paths, err := a.paths()
	if err != nil {
		return err
	}
	i := &importer{app: a, o: o, paths: paths}
	if o.team != "" && !imports.SlackTeam(o.team) {
		return &control.Error{Code: control.CodeUsage, Message: fmt.Sprintf("--slack-team %q is no workspace: its id begins with T or E", o.team)}
	}
	c, err := a.configOrDefault(paths)
	if err != nil {
		return err
	}
	if i.o.policy == "" && a.home() != "" {
		i.o.policy = filepath.Join(a.home(), ".config", "nanoclaw")
	}
	old, err := imports.Open(ctx, imports.Options{Dir: o.from, Policy: i.o.policy, Keep: keepSince(time.Duration(c.Retention.Messages))})
	if err != nil {
		return err
	}
	defer old.Close()
	i.old = old
	plan, err := i.look(ctx)
	if err != nil {
		return err
	}
	if o.dry || plan.Empty() {
		if a.json {
			return a.printJSON(plan)
		}
		return printImport(a.out, plan)
	}
	if !a.json {
		if err := printImport(a.out, plan); err != nil {
			return err
		}
	}
	if !o.yes {
		if err := a.confirmImport(ctx); err != nil {
			return err
		}
	}
	return i.carryOut(ctx)
}

// keepSince is from when on messages are kept; zero keeps all.
func keepSince(age time.Duration) time.Time {
	if age == 0 {
		return time.Time{}
	}
	return time.Now().Add(-age)
}

// confirmImport asks at a terminal.
func (a *app) confirmImport(ctx context.Context) error {
	if !terminal(a.in) {
		return &control.Error{Code: control.CodeUsage, Message: "nothing was taken over", Hint: "read the plan, then say --yes"}
	}
	fmt.Fprint(a.err, "Carry this out? Write yes: ")
	said := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(io.LimitReader(a.in, 100)).ReadString('\n') // no answer is no
		said <- strings.TrimSpace(line)
	}()
	select {
	case line := <-said:
		if line == "yes" {
			return nil
		}
	case <-ctx.Done():
	}
	return errors.New("nothing was taken over")
}

// importer is one import.
type importer struct {
	*app
	o     importOptions
	paths config.Paths
	old   *imports.Installation
	hosts map[chat.Group]bool // groups that ran in host mode when the plan was shown
}

// look makes the plan by what is here now, without changing anything.
func (i *importer) look(ctx context.Context) (imports.Plan, error) {
	var r *store.Reader
	c, err := i.loadConfig(i.paths)
	switch {
	case errors.Is(err, config.ErrNoConfig):
		// The first start decides whether main runs in host mode.
		i.hosts = map[chat.Group]bool{chat.Main: true}
	case err != nil:
		return imports.Plan{}, err
	case c.Database != "":
		r, err = store.OpenDatabaseReader(ctx, c.Database)
	}
	if _, there := os.Lstat(filepath.Join(i.paths.DataDir, store.FileName)); r == nil && err == nil && there == nil {
		r, err = store.OpenReader(ctx, i.paths.DataDir)
	}
	if err != nil && !errors.Is(err, config.ErrNoConfig) {
		return imports.Plan{}, err
	}
	if r != nil {
		defer r.Close()
	}
	return i.plan(ctx, r)
}

// plan makes the plan by the configuration and the notes of a store; nil has none.
func (i *importer) plan(ctx context.Context, r *store.Reader) (imports.Plan, error) {
	c, err := i.configOrDefault(i.paths)
	if err != nil {
		return imports.Plan{}, err
	}
	notes := map[chat.Group]imports.Note{}
	if r != nil {
		if notes, err = imports.Notes(ctx, r, &i.old.Old, i.o.rename); err != nil {
			return imports.Plan{}, err
		}
	}
	mounts, _, err := config.ReadMountAllowlist(i.paths.ConfigDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && mounts == nil {
		return imports.Plan{}, err
	}
	names, err := credential.New(i.paths, i.getenv).Names()
	if err != nil {
		return imports.Plan{}, err
	}
	m := i.request(c, i.paths, chat.Main).Machine
	p := imports.Make(&i.old.Old, imports.Wishes{
		From: i.old.Dir, Rename: i.o.rename, SlackTeam: i.o.team, Owners: i.o.owners, KnownSenders: i.o.known,
		Config: c, Notes: notes, Machine: m, Real: real, Mounts: mounts, Zone: zoneHere(i.getenv("TZ")), Now: time.Now().UTC(),
		HostMode: func(g chat.Group) bool { return i.hosts[g] || modeIs(c, g) == "host" },
		Stored:   slices.Contains(names, ""),
	})
	data, err := config.ReadPrivate(i.paths.Config, 4<<20)
	if errors.Is(err, fs.ErrNotExist) {
		data, err = config.Template(config.Facts{}), nil
	}
	if err != nil {
		return p, err
	}
	p.Fit(i.paths.Config, data, i.configOptions())
	return p, nil
}

func modeIs(c *config.Config, g chat.Group) string {
	if m := c.Groups[string(g)].Mode; m != "" {
		return m
	}
	return c.ExecutionMode
}

// real says where a folder leads, "" if there is none.
func real(p string) string {
	r, err := filepath.EvalSymlinks(p)
	if err != nil {
		return ""
	}
	if fi, err := os.Stat(r); err != nil || !fi.IsDir() {
		return ""
	}
	return r
}

// zoneHere is the zone of this machine by its name, UTC where it has none.
func zoneHere(tz string) string {
	if tz != "" {
		if _, err := time.LoadLocation(tz); err == nil {
			return tz
		}
	}
	target, err := os.Readlink("/etc/localtime")
	if _, name, ok := strings.Cut(target, "/zoneinfo/"); err == nil && ok {
		return name
	}
	return "UTC"
}

// carryOut does what the plan says, which is made once more by what is there then.
func (i *importer) carryOut(ctx context.Context) error {
	if c, err := control.Dial(ctx, socket(i.paths)); err == nil {
		c.Close()
		return &control.Error{Code: control.CodeFailed, Message: "nanoclaw runs: nothing was taken over", Hint: "stop it, then try again"}
	}
	if _, err := i.loadConfig(i.paths); errors.Is(err, config.ErrNoConfig) {
		// The first start writes it, after a look at this machine.
		if err := i.with(ctx, reading, func(*session) error { return nil }); err != nil {
			return err
		}
	}
	c, err := i.loadConfig(i.paths)
	if err != nil {
		return err
	}
	s, err := store.Open(ctx, i.paths.DataDir, store.Options{Database: c.Database})
	if err != nil {
		return err
	}
	report, err := i.apply(ctx, s)
	if err = errors.Join(err, s.Close()); err != nil {
		return fmt.Errorf("%w\nwhat was begun is finished by doing it again", err)
	}
	return i.tell(report)
}

// importReport is what is printed in the end.
type importReport struct {
	imports.Report
	Credential string   `json:"credential,omitempty"`
	Refused    []string `json:"refused,omitempty"`
	Notes      []string `json:"notes,omitempty"`
}

func (i *importer) apply(ctx context.Context, s *store.Store) (importReport, error) {
	var out importReport
	p, err := i.plan(ctx, s.Reader)
	if err != nil {
		return out, err
	}
	out.Notes = p.Notes
	if err := p.Begin(ctx, s, time.Now().UTC()); err != nil {
		return out, err
	}
	if p.Allowlist {
		if err := i.copyAllowlist(); err != nil {
			return out, err
		}
	}
	if err := i.importConfig(p); err != nil {
		return out, err
	}
	c, err := i.loadConfig(i.paths)
	if err != nil {
		return out, err
	}
	out.Report, err = i.old.Apply(ctx, p, imports.Target{
		Store: s, Machine: i.request(c, i.paths, chat.Main).Machine, Config: c, Memory: daemon.FirstMemory, Global: daemon.FirstGlobal,
		UID: func(ctx context.Context, g chat.Group) (int, error) {
			return daemon.GroupUID(ctx, s, g, slog.New(slog.DiscardHandler))
		},
		Speaks: func(g chat.Group, sender string) bool { return speaks(c, g, sender) },
		Now:    func() time.Time { return time.Now().UTC() },
	})
	if err != nil {
		return out, err
	}
	for _, g := range p.Groups {
		for _, line := range i.grantLines(i.paths, g.Name) {
			if strings.HasPrefix(line, "refused: ") {
				out.Refused = append(out.Refused, string(g.Name)+": "+line)
			}
		}
	}
	if p.Credential != "" {
		i.storeCredential(ctx, &out)
	}
	return out, nil
}

// importConfig writes the plan into the configuration. Whoever can write the file is
// the owner.
func (i *importer) importConfig(p imports.Plan) error {
	for _, act := range []authority.Act{authority.GroupRegister, authority.MountChange, authority.ConfigChange} {
		if v := authority.Decide(act, authority.Terminal()); !v.Allowed() {
			return errors.New(v.Reason)
		}
	}
	return config.Edit(i.paths.Config, i.configOptions(), p.Edit)
}

// copyAllowlist puts the old list of folders beside the configuration, where it bounds
// what is lent as it did.
func (i *importer) copyAllowlist() error {
	data, _, err := config.ReadBeside(i.o.policy, config.MountAllowlistFile, 1<<20)
	if err != nil {
		return err
	}
	return config.WritePrivate(filepath.Join(i.paths.ConfigDir, config.MountAllowlistFile), data)
}

// speaks says who may speak in a group by the configuration.
func speaks(c *config.Config, g chat.Group, sender string) bool {
	p, known := c.People[sender]
	switch {
	case known && p.Role == "owner":
		return true
	case g == chat.Main:
		return false
	}
	return slices.Contains(c.Groups[string(g)].Senders, sender) || known && slices.Contains(p.Groups, string(g))
}

// storeCredential stores that of .env as nanoclaw login does. That it is refused ends
// nothing: the rest is here.
func (i *importer) storeCredential(ctx context.Context, out *importReport) {
	err := func() error {
		source, err := i.modelSource(i.paths, "")
		if err != nil {
			return err
		}
		endpoint, err := egress.Endpoint(source)
		if err != nil {
			return err
		}
		c, _ := i.old.Credential(endpoint)
		note, err := tryCredential(ctx, c, source, i.o.noTry)
		if err != nil {
			return err
		}
		file, err := credential.New(i.paths, i.getenv).Save("", c)
		if err != nil {
			return err
		}
		if note == "" {
			note = "the endpoint accepts it"
		}
		out.Credential = fmt.Sprintf("the %s of .env for %s is in %s; %s", c.Kind, endpoint, file, note)
		return nil
	}()
	if err != nil {
		out.Left = append(out.Left, imports.Left{What: "the credential of .env", Because: err.Error() + ": nanoclaw login claude stores another"})
	}
}
