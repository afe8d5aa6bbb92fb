//go:build linux || darwin

package boundary

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"nanoclaw/internal/hostproc"
)

const (
	// containerTimeout bounds a start. One takes half a second, and several where a
	// machine is busy or the engine has to unpack something first.
	containerTimeout = 2 * time.Minute
	// toolTimeout bounds a question to an engine.
	toolTimeout = time.Minute
	// maxToolOutput bounds what is read of an answer, in bytes.
	maxToolOutput = 4 << 20
)

// tool is the command line of an engine.
type tool struct {
	engine, path string
	args, env    []string
}

// newTool finds an engine's program.
func newTool(engine string, o ContainerOptions) (tool, error) {
	t := tool{engine: engine, path: o.Program, args: o.Args, env: o.Env}
	if t.path != "" {
		if !filepath.IsAbs(t.path) {
			return t, &StartError{Step: engine, Err: fmt.Errorf("the program %q is no absolute path", t.path)}
		}
		if _, err := os.Stat(t.path); err != nil {
			return t, &StartError{Step: engine, Err: err, Hint: "container.program in the configuration says where it is"}
		}
		return t, nil
	}
	found := hostproc.Locate(context.Background(), map[string]hostproc.Program{
		PodmanEngine: hostproc.Podman, DockerEngine: hostproc.Docker, AppleEngine: hostproc.AppleContainer,
	}[engine])
	switch {
	case found.Problem != "":
		return t, &StartError{Step: engine, Err: errors.New(found.Problem)}
	case found.Path == "":
		return t, &StartError{Step: engine, Err: errors.New("it is not installed"), Hint: installHint(engine)}
	}
	t.path = found.Path
	return t, nil
}

func installHint(engine string) string {
	if engine == PodmanEngine {
		return "Install podman, or another engine, or let the group run in host mode."
	}
	return "Install it, or choose another engine: container.engine in the configuration."
}

// command is the tool with arguments, in a session of its own, so that no terminal
// of ours signals it.
func (t *tool) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, t.path, slices.Concat(t.args, args)...)
	cmd.Dir = "/"
	cmd.Env = t.env
	if cmd.Env == nil {
		cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	}
	cmd.SysProcAttr = apartFromUs()
	return cmd
}

// toolError is an answer of an engine that is none.
type toolError struct {
	what string
	said string
	err  error
}

func (e *toolError) Error() string {
	if e.said == "" {
		return fmt.Sprintf("%s: %v", e.what, e.err)
	}
	return fmt.Sprintf("%s: %s", e.what, e.said)
}

func (e *toolError) Unwrap() error { return e.err }

// run runs the tool and gives what it printed.
func (t *tool) run(ctx context.Context, args ...string) ([]byte, error) {
	return t.feed(ctx, nil, args...)
}

// feed is run with an input.
func (t *tool) feed(ctx context.Context, in io.Reader, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, toolTimeout)
	defer cancel()
	cmd := t.command(ctx, args...)
	cmd.Stdin = in
	cmd.WaitDelay = time.Second
	var out, said bounded
	out.limit, said.limit = maxToolOutput, maxStderr
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("no answer in time: %w", err)
		}
		return nil, &toolError{t.engine + " " + args[0], lastLine(said.String()), err}
	}
	return out.Bytes(), nil
}

// bounded keeps the beginning of what is written.
type bounded struct {
	bytes.Buffer
	limit int
}

func (b *bounded) Write(p []byte) (int, error) {
	b.Buffer.Write(p[:min(len(p), max(b.limit-b.Len(), 0))])
	return len(p), nil
}

// lastLine is the last line of what a program said, made plain.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return plain(lines[len(lines)-1])
}

// engineFacts are what an engine says of itself.
type engineFacts struct {
	words    string // its name and version
	rootless bool   // its containers' root is us
	local    bool   // its containers share our kernel
	apart    bool   // its runtime has a kernel of its own
	gvisor   bool   // which is gVisor's
	unbound  bool   // it can make no cgroup
	outside  []string
	remap    bool   // uids of its containers are none that it tells
	storage  string // where it keeps images and containers
}

// facts asks an engine about itself, once. A failure is asked again.
func (c *Container) facts(ctx context.Context) (*engineFacts, error) {
	c.learn.Lock()
	defer c.learn.Unlock()
	if c.known != nil {
		return c.known, nil
	}
	f, err := c.cli.facts(ctx)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, &StartError{Step: c.name, Err: err, Hint: c.runningHint()}
	}
	if runtime := c.opts.Container.Runtime; runtime != "" {
		f.by(runtime)
	}
	if f.outside, err = c.host.outside(); err != nil {
		return nil, err
	}
	c.known = f
	return f, nil
}

func (c *Container) runningHint() string {
	switch c.name {
	case DockerEngine:
		return "Is the daemon running? sudo systemctl start docker; and may you speak to it: sudo usermod -aG docker $USER"
	case AppleEngine:
		return "container system start"
	}
	return ""
}

// GVisor is the kernel that gVisor's OCI runtime, runsc, gives containers of their own.
const GVisor = "gVisor"

// KernelOf names the kernel that an engine's sessions have in place of this machine's,
// as far as it matters: GVisor or "". It asks the engine, once, and gives "" while that
// does not answer.
func KernelOf(ctx context.Context, e Engine) string {
	c, ok := e.(*Container)
	if !ok {
		return ""
	}
	if facts, err := c.facts(ctx); err != nil || !facts.gvisor {
		return ""
	}
	return GVisor
}

// by notes which OCI runtime starts the containers, by its name: some put a kernel
// between container and machine.
func (f *engineFacts) by(runtime string) {
	name := filepath.Base(runtime)
	f.gvisor = strings.Contains(name, "runsc")
	f.apart = f.gvisor || strings.Contains(name, "kata")
}

func (t *tool) facts(ctx context.Context) (*engineFacts, error) {
	switch t.engine {
	case PodmanEngine:
		return t.podmanFacts(ctx)
	case DockerEngine:
		return t.dockerFacts(ctx)
	}
	version, err := t.run(ctx, "--version")
	return &engineFacts{words: AppleEngine + " " + lastLine(string(version))}, err
}

func (t *tool) podmanFacts(ctx context.Context) (*engineFacts, error) {
	out, err := t.run(ctx, "info", "--format", "json")
	if err != nil {
		return nil, err
	}
	var info struct {
		Host struct {
			ServiceIsRemote bool
			CgroupVersion   string
			Security        struct{ Rootless bool }
			OCIRuntime      struct{ Name string }
		}
		Store   struct{ GraphRoot string }
		Version struct{ Version string }
	}
	if err := json.Unmarshal(out, &info); err != nil {
		return nil, fmt.Errorf("podman info: %w", err)
	}
	f := &engineFacts{
		words: "podman " + plain(info.Version.Version), rootless: info.Host.Security.Rootless,
		local: localKernel && !info.Host.ServiceIsRemote, storage: info.Store.GraphRoot,
	}
	f.by(info.Host.OCIRuntime.Name)
	f.unbound = f.rootless && info.Host.CgroupVersion == "v1"
	return f, nil
}

func (t *tool) dockerFacts(ctx context.Context) (*engineFacts, error) {
	out, err := t.run(ctx, "info", "--format", "{{json .}}")
	if err != nil {
		return nil, err
	}
	var info struct {
		ServerVersion, OperatingSystem, DefaultRuntime, DockerRootDir string
		SecurityOptions, ServerErrors                                 []string
	}
	if err := json.Unmarshal(out, &info); err != nil {
		return nil, fmt.Errorf("docker info: %w", err)
	}
	if len(info.ServerErrors) > 0 {
		return nil, errors.New(plain(info.ServerErrors[0]))
	}
	f := &engineFacts{
		words: "docker " + plain(info.ServerVersion), local: localKernel && info.OperatingSystem != "Docker Desktop",
		storage: info.DockerRootDir,
	}
	f.by(info.DefaultRuntime)
	for _, o := range info.SecurityOptions {
		f.remap = f.remap || strings.HasPrefix(o, "name=rootless") || strings.HasPrefix(o, "name=userns")
	}
	return f, nil
}

// sockets are where engines listen on this machine: of this one as its environment
// and the owner's arguments say, and the usual places of all.
func (t *tool) sockets() []string {
	list := []string{"/var/run/docker.sock", "/run/docker.sock", "/run/podman/podman.sock", "/run/containerd/containerd.sock", "/run/crio/crio.sock"}
	env := make(map[string]string)
	for _, v := range t.env {
		name, value, _ := strings.Cut(v, "=")
		env[name] = value
	}
	if run := env["XDG_RUNTIME_DIR"]; run != "" {
		list = append(list, run+"/docker.sock", run+"/podman/podman.sock")
	}
	if home := env["HOME"]; home != "" {
		for _, rel := range []string{".docker/run/docker.sock", ".colima/default/docker.sock", ".orbstack/run/docker.sock", ".rd/docker.sock", ".lima/docker/sock/docker.sock"} {
			list = append(list, home+"/"+rel)
		}
	}
	for _, word := range slices.Concat([]string{env["DOCKER_HOST"], env["CONTAINER_HOST"]}, t.args) {
		if _, path, ok := strings.Cut(word, "unix://"); ok {
			list = append(list, filepath.Clean(path))
		}
	}
	return list
}
