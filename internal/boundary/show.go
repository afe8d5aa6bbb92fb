package boundary

import (
	"fmt"
	"strings"

	"nanoclaw/internal/wire"
)

// NativeRendering is what the native engine makes of a grant on this machine: all
// that a session is built from, but for its secret and its descriptors.
type NativeRendering struct {
	Engine   string          `json:"engine"`
	Hostname string          `json:"hostname"`
	Mounts   []RenderedMount `json:"mounts"`
	Links    []wire.Link     `json:"links,omitempty"`
	Files    []RenderedFile  `json:"files"`
	TmpBytes int64           `json:"tmp_bytes"`

	Endpoints     []wire.Endpoint `json:"endpoints,omitempty"`
	Rlimits       []RenderedLimit `json:"rlimits"`
	LandlockFloor int             `json:"landlock_floor"`
	Landlock      []wire.PathRule `json:"landlock"`
	Calls         []RenderedCall  `json:"calls"`
	// NewestCall is the highest number of a system call that exists inside. Up to
	// it, a call that no rule of Calls decides is allowed.
	NewestCall uint32 `json:"newest_call"`
}

// RenderedMount is a mount, with the path that its source really is.
type RenderedMount struct {
	Target string `json:"target"`
	Source string `json:"source"`
	Write  bool   `json:"write,omitempty"`
	Exec   bool   `json:"exec,omitempty"`
	File   bool   `json:"file,omitempty"`
	// Unmade says that the source is a folder of ours that the first start makes.
	Unmade bool `json:"unmade,omitempty"`
	// Held says that it is a part of a writable folder, pinned, and read-only if
	// it holds what runs code later.
	Held bool `json:"held,omitempty"`
}

// RenderedFile is a generated file.
type RenderedFile struct {
	Path string `json:"path"`
	Text string `json:"text"`
}

// RenderedLimit is a limit of setrlimit(2).
type RenderedLimit struct {
	Name  string `json:"name"`
	Value uint64 `json:"value"`
}

// RenderedCall is one rule about a system call. Of several rules for a call the
// first that holds decides.
type RenderedCall struct {
	Call   string `json:"call"`
	When   string `json:"when"`
	Action string `json:"action"`
	Reason string `json:"reason"`
}

// String gives a rendering for people, one line for each thing.
func (r NativeRendering) String() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("engine %s", r.Engine)
	line("hostname %s", r.Hostname)
	for _, m := range r.Mounts {
		line("mount %s %s = %s%s", rights(true, m.Write, m.Exec), m.Target, m.Source, word(m.File, " (file)")+word(m.Unmade, " (made at the first start)")+word(m.Held, " (held)"))
	}
	for _, l := range r.Links {
		line("link %s -> %s", l.Path, l.Target)
	}
	for _, f := range r.Files {
		line("file %s %q", f.Path, f.Text)
	}
	line("tmpfs %d bytes", r.TmpBytes)
	for _, e := range r.Endpoints {
		line("endpoint 127.0.0.1:%d %s", e.Port, e.Kind)
	}
	for _, l := range r.Rlimits {
		line("rlimit %s %d", l.Name, l.Value)
	}
	line("landlock floor ABI %d", r.LandlockFloor)
	for _, p := range r.Landlock {
		line("landlock %s%s %s", rights(p.Read, p.Write, p.Exec), word(p.List, " list")+word(p.Device, " ioctl"), p.Path)
	}
	for _, c := range r.Calls {
		line("call %s %s: %s  # %s", c.Call, c.When, c.Action, c.Reason)
	}
	line("call every other: allow, up to number %d, and ENOSYS beyond", r.NewestCall)
	line("call of another processor: the process is killed")
	return b.String()
}

// rights is such as "rw-".
func rights(read, write, exec bool) string {
	out := []byte("---")
	for i, has := range []bool{read, write, exec} {
		if has {
			out[i] = "rwx"[i]
		}
	}
	return string(out)
}

func word(say bool, s string) string {
	if say {
		return s
	}
	return ""
}

// limitName names a limit as the man page does.
func limitName(l wire.Rlimit) string {
	for number, name := range map[int]string{4: "core", 12: "msgqueue", 6: "nproc", 7: "nofile", 1: "fsize"} {
		if number == l.Resource {
			return name
		}
	}
	return fmt.Sprint(l.Resource)
}
