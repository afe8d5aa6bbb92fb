package hostproc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Act is one command line of a program that keeps services or users of this
// machine. Each is written down here whole: the service has one name, and so has
// its user.
type Act string

// The acts. Those of User concern the service of the user who asks, the others that
// of the machine.
const (
	Reload, UserReload   Act = "reload", "user-reload"
	Enable, UserEnable   Act = "enable", "user-enable"
	Disable, UserDisable Act = "disable", "user-disable"
	Start, UserStart     Act = "start", "user-start"
	Stop, UserStop       Act = "stop", "user-stop"
	Restart, UserRestart Act = "restart", "user-restart"
	Forget, UserForget   Act = "reset-failed", "user-reset-failed"
	Show, UserShow       Act = "show", "user-show"
	Logs, UserLogs       Act = "logs", "user-logs"
	Follow, UserFollow   Act = "follow", "user-follow"

	AddUser, RemoveUser Act = "add-user", "remove-user"
	// Linger keeps a user's services running while nobody is logged in.
	Linger, NoLinger, ShowLinger Act = "linger", "no-linger", "show-linger"

	MacLoad, MacUnload, MacStart, MacStop, MacShow Act = "mac-load", "mac-unload", "mac-start", "mac-stop", "mac-show"
)

const (
	serviceUnit = "nanoclaw.service"
	serviceUser = "nanoclaw"
	macLabel    = "nanoclaw"
)

// properties are what is asked of a service of systemd.
const properties = "--property=LoadState,ActiveState,SubState,Result,NRestarts,ExecMainStatus,ExecMainCode,StatusText,MainPID,UnitFileState,ActiveEnterTimestamp,InactiveEnterTimestamp"

// Command gives the name of the program of an act and its arguments.
func (a Act) Command() (name string, args []string, err error) {
	scope := []string{}
	verb, forUser := strings.CutPrefix(string(a), "user-")
	if forUser {
		scope = append(scope, "--user")
	}
	switch Act(verb) {
	case Reload:
		return "systemctl", append(scope, "daemon-reload"), nil
	case Enable, Disable, Start, Stop, Restart, Forget:
		return "systemctl", append(scope, verb, serviceUnit), nil
	case Show:
		return "systemctl", append(scope, "show", serviceUnit, properties), nil
	case Logs:
		return "journalctl", append(scope, unitOf(forUser), "--no-pager", "--output=cat", "--lines=200"), nil
	case Follow:
		return "journalctl", append(scope, unitOf(forUser), "--no-pager", "--output=cat", "--lines=20", "--follow"), nil
	}
	if forUser {
		return "", nil, errNoAct(a)
	}
	switch a {
	case AddUser:
		return "useradd", []string{"--system", "--user-group", "--no-create-home", "--home-dir", "/var/lib/nanoclaw", "--shell", "/usr/sbin/nologin", "--comment", "NanoClaw", serviceUser}, nil
	case RemoveUser:
		return "userdel", []string{serviceUser}, nil
	case Linger:
		return "loginctl", []string{"enable-linger"}, nil
	case NoLinger:
		return "loginctl", []string{"disable-linger"}, nil
	case ShowLinger:
		return "loginctl", []string{"show-user", "--property=Linger", strconv.Itoa(os.Getuid())}, nil
	}
	return a.mac()
}

func unitOf(forUser bool) string {
	if forUser {
		return "--user-unit=" + serviceUnit
	}
	return "--unit=" + serviceUnit
}

// mac are the acts of launchctl(1), in the domain of the user who is logged in.
func (a Act) mac() (string, []string, error) {
	domain := "gui/" + strconv.Itoa(os.Getuid())
	switch a {
	case MacLoad:
		u, err := user.LookupId(strconv.Itoa(os.Getuid())) // and not HOME, which says anything
		if err != nil {
			return "", nil, err
		}
		return "launchctl", []string{"bootstrap", domain, filepath.Join(u.HomeDir, "Library", "LaunchAgents", macLabel+".plist")}, nil
	case MacUnload:
		return "launchctl", []string{"bootout", domain + "/" + macLabel}, nil
	case MacStart:
		return "launchctl", []string{"kickstart", domain + "/" + macLabel}, nil
	case MacStop:
		return "launchctl", []string{"kill", "SIGTERM", domain + "/" + macLabel}, nil
	case MacShow:
		return "launchctl", []string{"print", domain + "/" + macLabel}, nil
	}
	return "", nil, errNoAct(a)
}

func errNoAct(a Act) error {
	return fmt.Errorf("%q is nothing that may be done with a service", string(a))
}

// Bounds of an act. A stop waits for sessions to end, a start for the first probe.
const (
	actTimeout = 6 * time.Minute
	maxLogs    = 256 << 10
)

// ErrNoProgram says that the program of an act is not installed.
var ErrNoProgram = errors.New("is not installed")

// Manage performs one act and gives what it printed. out, if it is not nil, gets
// everything while it comes, for as long as ctx lives.
func Manage(ctx context.Context, a Act, out io.Writer) (string, error) {
	return manage(ctx, a, out, directories)
}

func manage(ctx context.Context, a Act, out io.Writer, dirs []string) (string, error) {
	name, args, err := a.Command()
	if err != nil {
		return "", err
	}
	path, err := find(name, dirs)
	if err != nil {
		return "", err
	}
	if path == "" {
		return "", fmt.Errorf("%s %w", name, ErrNoProgram)
	}
	if out == nil {
		limited, cancel := context.WithTimeout(ctx, actTimeout)
		defer cancel()
		ctx = limited
	}
	return act(ctx, path, name, args, out)
}

// act starts the trusted program of an act. Its environment is that of every host
// program, with the address of the user's own service manager.
func act(ctx context.Context, path, name string, args []string, out io.Writer) (string, error) {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Args[0] = name
	cmd.Dir = "/"
	runtime := "/run/user/" + strconv.Itoa(os.Getuid())
	cmd.Env = append(environment[:len(environment):len(environment)],
		"XDG_RUNTIME_DIR="+runtime, "DBUS_SESSION_BUS_ADDRESS=unix:path="+runtime+"/bus", "SYSTEMD_COLORS=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = killDelay
	kept, said := &bounded{limit: maxLogs}, &bounded{limit: maxOutput}
	cmd.Stdout, cmd.Stderr = kept, said
	if out != nil {
		cmd.Stdout = out
	}
	err := cmd.Run()
	switch {
	case err == nil:
		return string(kept.kept), nil
	case ctx.Err() != nil && out != nil:
		return "", nil // followed until nobody wanted more
	case ctx.Err() != nil:
		return string(kept.kept), fmt.Errorf("%s %s did not answer in time", name, strings.Join(args, " "))
	}
	if words := firstLine(said.kept); words != "" {
		return string(kept.kept), fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, words)
	}
	return string(kept.kept), fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
}

// Trusted says why a program could be replaced by others than root, nil if it could
// not. A service of root's must not start such a one.
func Trusted(path string) error {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	return trust(real)
}
