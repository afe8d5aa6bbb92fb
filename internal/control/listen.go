package control

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/net/netutil"
)

// SocketName is the socket's name in the runtime folder.
const SocketName = "control.sock"

// maxConnections bounds how many connections are open at once; more wait.
const maxConnections = 256

// Listen makes the control socket at path and gives a listener that lets only
// the owner in. The folder of path is made if it is not there; one that others
// can enter is refused. A socket that a dead daemon left behind is replaced;
// one that is answered gives ErrRunning.
//
// Two processes that start at once could both find the socket dead. The store's
// lock, which a daemon takes before it listens, decides between them.
func Listen(path string, log *slog.Logger) (net.Listener, error) {
	if err := checkLength(path); err != nil {
		return nil, err
	}
	if err := privateFolder(filepath.Dir(path)); err != nil {
		return nil, err
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("make the control socket: %w", err)
	}
	// Nobody else can reach it in its folder; this says so a second time.
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("make the control socket private: %w", err)
	}
	return netutil.LimitListener(&guarded{UnixListener: l, log: log}, maxConnections), nil
}

// maxPath is the longest path of a socket: sun_path of sockaddr_un less its
// end mark, 108 bytes on Linux and 104 on the BSDs and macOS.
func maxPath() int {
	if runtime.GOOS == "linux" {
		return 107
	}
	return 103
}

func checkLength(path string) error {
	if len(path) <= maxPath() {
		return nil
	}
	return &Error{
		Code:    CodeUsage,
		Message: fmt.Sprintf("the control socket's path has %d bytes, and this system allows %d: %s", len(path), maxPath(), path),
		Hint:    "set XDG_RUNTIME_DIR (or NANOCLAW_HOME, if you use it) to a folder with a shorter path",
	}
}

// privateFolder makes sure that only we can reach what is in dir.
func privateFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the folder of the control socket: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("look at the folder of the control socket: %w", err)
	}
	owner, _ := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.IsDir():
		return &Error{Code: CodeFailed, Message: dir + " is not a folder", Hint: "remove it, and start again"}
	case owner == nil || int(owner.Uid) != os.Geteuid():
		return &Error{Code: CodeFailed, Message: dir + " belongs to somebody else", Hint: "remove it, or set XDG_RUNTIME_DIR to a folder of your own"}
	case info.Mode().Perm()&0o077 != 0:
		return &Error{
			Code:    CodeFailed,
			Message: fmt.Sprintf("%s can be entered by others (mode %04o), so the control socket cannot be there", dir, info.Mode().Perm()),
			Hint:    "chmod 700 " + dir,
		}
	}
	return nil
}

// removeStale removes a socket that nobody answers, and nothing else.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the control socket: %w", err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return &Error{Code: CodeFailed, Message: path + " is in the way: it is not a socket", Hint: "move it away"}
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		c.Close()
		return fmt.Errorf("%w (it answers at %s)", ErrRunning, path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("ask who is at the control socket: %w", err)
	}
	return os.Remove(path)
}

// guarded lets only the owner's connections through. A refused one gets an
// answer in words and not one byte of it is read.
type guarded struct {
	*net.UnixListener
	log *slog.Logger
}

func (g *guarded) Accept() (net.Conn, error) {
	for {
		c, err := g.AcceptUnix()
		if err != nil {
			return nil, err
		}
		err = checkPeer(c)
		if err == nil {
			return c, nil
		}
		g.log.Warn("refused a connection to the control socket", "cause", err)
		c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		c.Write(refusal)
		c.Close()
	}
}

// refusal is an HTTP answer, so that our own client can tell a person why.
var refusal = func() []byte {
	const body = `{"error":"the control socket is the owner's alone","hint":"run nanoclaw as the user that owns it, outside of any container or sandbox","code":"refused"}`
	return fmt.Appendf(nil, "HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body)
}()

// peerError is why a peer is refused.
type peerError struct {
	pid, uid int
	why      string
}

func (e *peerError) Error() string {
	return fmt.Sprintf("process %d of uid %d %s", e.pid, e.uid, e.why)
}

// mayOperate tells whether a peer of uid may operate a daemon of uid own. Root
// may: it could do everything else as well.
func mayOperate(uid, own int) bool { return uid == own || uid == 0 }
