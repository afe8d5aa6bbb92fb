package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"nanoclaw/internal/boundary"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
	"nanoclaw/internal/control"
	"nanoclaw/internal/install"
	"nanoclaw/internal/service"
)

// app is one invocation of the command.
type app struct {
	in     *os.File
	out    io.Writer
	err    io.Writer
	getenv func(string) string
	// open opens the host of this process. It is a field so that tests can put
	// one of their own in its place.
	open func(ctx context.Context, o hostOptions) (host, error)
	// preview decides what the owner's own message in a group would be granted
	// under a configuration.
	preview func(c *config.Config, p config.Paths, g chat.Group) ([]string, error)

	// claude gives the Claude Code that is fetched. Tests put a small one in its place.
	claude func() (install.Package, error)
	// host is the machine that services are installed on; nil is this one. become makes
	// this process another user's.
	host   func(getenv func(string) string) service.Host
	become func(uid, gid int) error
	// apart says that this process acts as another user for a while, whom a daemon does
	// not take for its owner: whoever has it do so tells the daemon afterwards.
	apart bool

	// program gives the file of this program, which an upgrade replaces.
	program func() (string, error)

	json bool // --json
	// begun is set once the words on the command line were understood. An error
	// before it is an error of usage.
	begun bool
}

func newApp() *app {
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv}
	a.open, a.preview, a.claude, a.program = openDaemon, a.decideLocally, install.Pinned, os.Executable
	a.become = boundary.Become
	return a
}

// run performs one command line and gives the exit code.
func (a *app) run(args []string) int {
	root := a.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(context.Background())
	if err == nil {
		return exitOK
	}
	if !a.begun {
		err = usageError(err, cmd)
	}
	return a.fail(err)
}

// root is the whole tree of verbs.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "nanoclaw",
		Short: "A personal agent that works on your machine, inside a boundary",
		Long: `nanoclaw runs a coding agent for each of your chats, natively on this machine and
inside a boundary of the operating system. Begin with: nanoclaw chat`,
		Example:       "  nanoclaw chat\n  nanoclaw doctor\n  nanoclaw policy show --group main",
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			a.begun = true
			return a.actAsService(cmd)
		},
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
	}
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print data as JSON")
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.AddCommand(
		a.chatCmd(), a.runCmd(), a.sendCmd(), a.execCmd(),
		a.demoCmd(), a.agentCmd(), a.loginCmd(), a.logoutCmd(), a.groupCmd(), a.importCmd(), a.channelCmd(), a.mcpCmd(), a.imageCmd(), a.policyCmd(), a.auditCmd(), a.whyCmd(), a.receiptCmd(), a.eraseCmd(),
		a.retentionCmd(), a.quarantineCmd(), a.deadCmd(), a.nodesCmd(), a.backupCmd(), a.restoreCmd(), a.doctorCmd(), a.healthCmd(), a.supportCmd(), a.statusCmd(), a.dashboardCmd(), a.taskCmd(), a.peopleCmd(), a.tokenCmd(), a.webhookCmd(), a.approvalsCmd(),
		a.approveCmd(), a.denyCmd(), a.rightsCmd(), a.trustCmd(), a.stopCmd(), a.pauseCmd(), a.resumeCmd(), a.runsCmd(), a.logsCmd(), a.costCmd(), a.configCmd(), a.setupCmd(), a.serviceCmd(), a.uninstallCmd(),
		a.upgradeCmd(), a.versionCmd(), a.manCmd(), attackInsideCmd(),
	)
	a.complete(root)
	return root
}

// paths says where everything of this installation is.
func (a *app) paths() (config.Paths, error) {
	return config.Locate(config.Options{Getenv: a.getenv, UID: os.Geteuid()})
}

// socket is where the control socket of this installation is.
func socket(p config.Paths) string { return filepath.Join(p.RuntimeDir, control.SocketName) }

// printJSON writes v for programs.
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// printList is printJSON for a list: an empty one is [] and not null.
func printList[T any](a *app, list []T) error {
	if list == nil {
		list = []T{}
	}
	return a.printJSON(list)
}

// say tells the owner something beside the answer.
func (a *app) say(format string, args ...any) {
	fmt.Fprintf(a.err, "nanoclaw: "+format+"\n", args...)
}

// groupFlag adds --group to a command.
func (a *app) groupFlag(cmd *cobra.Command, group *string, fallback string) {
	cmd.Flags().StringVarP(group, "group", "g", fallback, "the group")
}

// parseGroup checks the name of a group from the command line.
func parseGroup(name string) (chat.Group, error) {
	g, err := chat.ParseGroup(name)
	if err != nil {
		return "", &control.Error{Code: control.CodeUsage, Message: err.Error()}
	}
	return g, nil
}

// parseMounts makes the folders of --mount absolute and checks their form.
func parseMounts(mounts []string) ([]string, error) {
	var out []string
	for _, m := range mounts {
		dir, write := cutAccess(m)
		abs, err := filepath.Abs(dir)
		if err != nil {
			return nil, err
		}
		info, err := os.Stat(abs)
		if err == nil && !info.IsDir() {
			err = errors.New("it is not a folder")
		}
		if err != nil {
			return nil, &control.Error{Code: control.CodeUsage, Message: fmt.Sprintf("--mount %s: %v", m, err), Hint: "name a folder as DIR, or as DIR:rw if the agent may change it"}
		}
		if write {
			abs += ":rw"
		}
		out = append(out, abs)
	}
	return out, nil
}
