// Package storetest starts a PostgreSQL server for tests, so that they need nothing
// but its programs: no service, no port, no user of it, no setting of the machine.
//
// A server listens on a socket in a folder of its own, which goes with it, lets in
// whoever can open that socket, and does not wait for the disk. It is never for
// anything but tests.
package storetest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/jackc/pgx/v5"
)

// Server is a running server.
type Server struct {
	dir string
	bin string
	as  *syscall.Credential // nil for ourselves
	cmd *exec.Cmd
	err chan error // of cmd, once it ended

	mu   sync.Mutex
	made int      // addresses
	free []string // of these, to be given again
}

// Start makes a server with no data and starts it.
func Start() (*Server, error) {
	dir, err := os.MkdirTemp("/dev/shm", "nanoclaw-pg") // Linux's files in memory
	if err != nil {
		if dir, err = os.MkdirTemp("", "nanoclaw-pg"); err != nil {
			return nil, err
		}
	}
	s := &Server{dir: dir}
	if err := s.prepare(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := s.Run(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

func (s *Server) prepare() (err error) {
	if s.bin, err = programs(); err != nil {
		return err
	}
	if err := os.Chmod(s.dir, 0o755); err != nil {
		return err
	}
	if os.Geteuid() == 0 { // the server refuses to be root
		if s.as, err = unprivileged(); err != nil {
			return err
		}
		if err := os.Chown(s.dir, int(s.as.Uid), int(s.as.Gid)); err != nil {
			return err
		}
	}
	out, err := s.command("initdb", "-D", filepath.Join(s.dir, "data"), "-A", "trust", "-U", "nanoclaw", "-E", "UTF8", "--no-locale", "--no-sync").CombinedOutput()
	if err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return nil
}

// programs finds the folder of the server's programs, the newest first.
func programs() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil {
		return "", err
	}
	if len(found) > 0 {
		slices.Sort(found)
		return filepath.Dir(found[len(found)-1]), nil
	}
	path, err := exec.LookPath("postgres")
	if err != nil {
		return "", fmt.Errorf("these tests need PostgreSQL: run make deps: %w", err)
	}
	return filepath.Dir(path), nil
}

func unprivileged() (*syscall.Credential, error) {
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}

func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + s.bin + ":/usr/bin:/bin", "LC_ALL=C", "HOME=" + s.dir}
	cmd.SysProcAttr = attributes(s.as)
	return cmd
}

// Run starts the server, also again after Stop or Kill.
func (s *Server) Run() error {
	cmd := s.command("postgres", "-D", filepath.Join(s.dir, "data"), "-k", s.dir, "-h", "",
		"-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off", "-c", "max_connections=50", "-c", "shared_buffers=16MB",
		"-c", "autovacuum=off", "-c", "wal_level=minimal", "-c", "max_wal_senders=0", "-c", "jit=off")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	ready, ended := make(chan bool, 1), make(chan error, 1)
	said := ""
	go func() {
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			if strings.Contains(lines.Text(), "is ready to accept connections") {
				ready <- true
			} else if len(ready) == 0 && len(said) < 1<<12 {
				said += lines.Text() + "\n"
			}
		}
		close(ready)
		ended <- cmd.Wait()
	}()
	if !<-ready {
		return fmt.Errorf("the server did not start: %w: %s", <-ended, said)
	}
	s.cmd, s.err = cmd, ended
	return nil
}

// Stop ends the server at once, as an administrator does, and waits for its end.
// What was committed stays.
func (s *Server) Stop() error { return s.end(syscall.SIGINT) }

// Crash ends the server with no time to put anything in order, and waits for its
// end.
func (s *Server) Crash() error { return s.end(syscall.SIGQUIT) }

func (s *Server) end(sig syscall.Signal) error {
	if err := s.cmd.Process.Signal(sig); err != nil {
		return err
	}
	var exit *exec.ExitError
	if err := <-s.err; err != nil && !errors.As(err, &exit) {
		return err
	}
	return nil
}

// Remove ends the server and removes its data.
func (s *Server) Remove() error {
	err := s.Crash()
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// Address is that of one of the server's databases, which has "postgres".
func (s *Server) Address(database string) string {
	return "postgres://nanoclaw@/" + database + "?host=" + url.QueryEscape(s.dir)
}

// Store gives an address for an empty store: one that Reuse got, or a new one.
func (s *Server) Store(ctx context.Context) (string, error) {
	s.mu.Lock()
	if n := len(s.free); n > 0 {
		defer s.mu.Unlock()
		address := s.free[n-1]
		s.free = s.free[:n-1]
		return address, nil
	}
	s.mu.Unlock()
	return s.Nothing(ctx)
}

// Nothing gives an address with no tables: a schema of its own, since that is made
// faster than a database.
func (s *Server) Nothing(ctx context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	name := fmt.Sprintf("store%d", s.made)
	err := s.exec(ctx, s.Address("postgres"), `CREATE SCHEMA `+name)
	return s.Address("postgres") + "&search_path=" + name, err
}

// Reuse takes an address that nobody uses any more, to be given again. Its tables,
// which are worth more than their rows, stay as they are, but empty and as if new.
func (s *Server) Reuse(ctx context.Context, address string) error {
	err := s.exec(ctx, address, `DO $$
		DECLARE t record;
		BEGIN
			SET LOCAL session_replication_role = replica; -- no triggers
			FOR t IN SELECT c.relname, c.relkind FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace
				AND c.relkind IN ('r', 'S') AND c.relname NOT LIKE 'goose%' LOOP
				IF t.relkind = 'S' THEN
					PERFORM setval(t.relname::regclass, 1, false);
				ELSE
					EXECUTE format('DELETE FROM %I', t.relname);
				END IF;
			END LOOP;
		END $$`)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = append(s.free, address)
	return nil
}

func (s *Server) exec(ctx context.Context, address, query string) error {
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, query)
	return errors.Join(err, conn.Close(ctx))
}
