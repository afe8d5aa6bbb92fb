package control

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain lets the test binary play the peer, in the namespaces and with the
// uid in which a test starts it, and the daemon of another user.
func TestMain(m *testing.M) {
	path := os.Getenv("CONTROL_TEST_SOCKET")
	switch os.Getenv("CONTROL_TEST_ROLE") {
	case "ask":
		os.Exit(playAsk(path))
	case "connect":
		os.Exit(playConnect(path))
	case "serve":
		os.Exit(playServe(path))
	}
	os.Exit(m.Run())
}

// playAsk connects, asks for something and prints the status of the answer.
func playAsk(path string) int {
	c, err := net.Dial("unix", path)
	if err != nil {
		fmt.Println("dial:", err)
		return 1
	}
	fmt.Fprintf(c, "POST /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		fmt.Println("answer:", err)
		return 1
	}
	fmt.Println(answer.StatusCode)
	return 0
}

// playConnect connects the socket that it inherited as descriptor 3, and ends.
func playConnect(path string) int {
	if err := unix.Connect(3, &unix.SockaddrUnix{Name: path}); err != nil {
		fmt.Println("connect:", err)
		return 1
	}
	return 0
}

// playServe is a daemon until its stdin ends.
func playServe(path string) int {
	l, err := Listen(path, slog.New(slog.NewTextHandler(os.Stdout, nil)))
	if err != nil {
		fmt.Println("listen:", err)
		return 1
	}
	go http.Serve(l, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	return 0
}

// everybodysSelf is a copy of the test binary that another user can run.
func everybodysSelf(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "nc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	copied := filepath.Join(dir, "peer")
	if err := os.WriteFile(copied, data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return copied
}

// role is the test binary in a role.
func role(self, name, socket string, attr *syscall.SysProcAttr) *exec.Cmd {
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "CONTROL_TEST_ROLE="+name, "CONTROL_TEST_SOCKET="+socket)
	cmd.SysProcAttr = attr
	cmd.Dir = "/"
	return cmd
}

// syncBuffer is a log that a test reads while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// newSocket is a listening socket that answers 200 to all who are let in. Its
// folder is opened to everybody, so that only the check of the peer is left.
func newSocket(t *testing.T, log *slog.Logger) (net.Listener, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "nc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "run", SocketName)
	l, err := Listen(path, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	for name, mode := range map[string]os.FileMode{dir: 0o755, filepath.Dir(path): 0o755, path: 0o666} {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	return l, path
}

func answering(t *testing.T, log *slog.Logger) string {
	t.Helper()
	l, path := newSocket(t, log)
	go http.Serve(l, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	return path
}

func TestPeer(t *testing.T) {
	own, self := os.Geteuid(), everybodysSelf(t)
	ids := func(host int) []syscall.SysProcIDMap {
		return []syscall.SysProcIDMap{{ContainerID: 0, HostID: host, Size: 1}}
	}
	userNS := &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER,
		UidMappings: ids(own), GidMappings: ids(os.Getegid()), GidMappingsEnableSetgroups: false,
	}
	userAndPIDNS := *userNS
	userAndPIDNS.Cloneflags |= unix.CLONE_NEWPID

	tests := []struct {
		name string
		attr *syscall.SysProcAttr
		want string // of the answer
		log  string // of the daemon
	}{
		{"the owner", nil, "200", ""},
		{"the owner's uid in another user namespace, as an agent has it", userNS, "403", "is in another user namespace"},
		{"the owner's uid in another user and PID namespace", &userAndPIDNS, "403", "is in another user namespace"},
	}
	if own == 0 { // only root can play these
		tests = append(tests, []struct {
			name string
			attr *syscall.SysProcAttr
			want string
			log  string
		}{
			{"another user", &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 54321, Gid: 54321}}, "403", "is not the owner"},
			{"root in another PID namespace, as in a container", &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}, "403", "is in another pid namespace"},
		}...)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var log syncBuffer
			path := answering(t, slog.New(slog.NewTextHandler(&log, nil)))
			out, err := role(self, "ask", path, tt.attr).CombinedOutput()
			if err != nil || strings.TrimSpace(string(out)) != tt.want {
				t.Errorf("the peer got %q (%v), want %s", out, err, tt.want)
			}
			if !strings.Contains(log.String(), tt.log) || (tt.log == "") != (log.String() == "") {
				t.Errorf("the daemon's log is %q, want %q in it", log.String(), tt.log)
			}
		})
	}
}

// A peer that has ended may have lent its number to another process since, and
// its descriptor to anybody.
func TestPeerThatEnded(t *testing.T) {
	var log syncBuffer
	l, path := newSocket(t, slog.New(slog.NewTextHandler(&log, nil)))
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close()
	cmd := role(everybodysSelf(t), "connect", path, nil)
	cmd.ExtraFiles = []*os.File{f}
	if out, err := cmd.CombinedOutput(); err != nil { // returns after it was reaped
		t.Fatalf("%v: %s", err, out)
	}
	accepted := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		accepted <- err
	}()
	f.SetReadDeadline(time.Now().Add(10 * time.Second))
	answer, err := io.ReadAll(f)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 403 ") {
		t.Errorf("got %q, %v, want a refusal", answer, err)
	}
	l.Close()
	if err := <-accepted; err == nil {
		t.Error("the connection was let in")
	}
}

// Root may operate a daemon that is not root, though that daemon cannot look
// at root's namespaces; root in a container may not.
func TestRootOperatesAUsersDaemon(t *testing.T) {
	if os.Geteuid() != 0 {
		if mayOperate(0, os.Geteuid()) == false {
			t.Error("root may not operate a user's daemon")
		}
		return
	}
	const user = 54321
	dir, err := os.MkdirTemp("", "nc")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chown(dir, user, user); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "run", SocketName)
	self := everybodysSelf(t)
	daemon := role(self, "serve", path, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}})
	stdin, _ := daemon.StdinPipe()
	stdout, _ := daemon.StdoutPipe()
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	defer daemon.Wait()
	defer stdin.Close()
	lines := bufio.NewReader(stdout)
	if line, err := lines.ReadString('\n'); line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
	// So that only the check of the peer is left.
	for name, mode := range map[string]os.FileMode{dir: 0o755, filepath.Dir(path): 0o755, path: 0o666} {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		attr *syscall.SysProcAttr
		want string
	}{
		{"root", nil, "200"},
		{"root in another PID namespace", &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}, "403"},
		{"root in another user namespace", &syscall.SysProcAttr{
			Cloneflags:  unix.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{HostID: 0, Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: 0, Size: 1}},
		}, "403"},
	} {
		out, err := role(self, "ask", path, tt.attr).CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != tt.want {
			t.Errorf("%s got %q (%v), want %s", tt.name, out, err, tt.want)
		}
	}
}

func TestMayOperate(t *testing.T) {
	for _, tt := range []struct {
		uid, own int
		want     bool
	}{
		{1000, 1000, true}, {0, 1000, true}, {0, 0, true},
		{1001, 1000, false}, {1000, 0, false}, {65534, 1000, false},
	} {
		if got := mayOperate(tt.uid, tt.own); got != tt.want {
			t.Errorf("mayOperate(%d, %d) = %v", tt.uid, tt.own, got)
		}
	}
}

func TestOwnPIDNamespace(t *testing.T) {
	for _, tt := range []struct {
		name, status string
		want         bool
	}{
		{"ours", "Name:\tx\nPid:\t7\nNSpid:\t7\nThreads:\t1\n", true},
		{"one below ours", "NSpid:\t7\t1\n", false},
		{"another number", "NSpid:\t8\n", false},
		{"a kernel without the line", "Name:\tx\n", false},
		{"a forged name", "Name:\tNSpid: 7\nNSpid:\t7\t1\n", false},
	} {
		if got := ownPIDNamespace(tt.status, 7); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}
