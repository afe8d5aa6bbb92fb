package grant

import (
	"fmt"
	"path/filepath"
	"strings"
)

// never are names of files and folders that hold credentials. A mount with
// such a part in its path is refused, whoever asks: giving it by accident is
// likelier than needing it. The list and the idea are the original's; here a
// name is compared with a whole part of the path, so that "my.sshfs-notes" is
// no ".ssh".
var never = []string{
	".ssh", ".gnupg", ".gpg", ".aws", ".azure", ".gcloud", ".kube", ".docker", "credentials", ".env", ".netrc",
	".npmrc", ".pypirc", "id_rsa", "id_ed25519", "private_key", ".secret", ".password-store", ".mozilla", ".claude",
}

// systemDirs can be no mount themselves, and nothing beneath the second list can.
var (
	systemDirs  = []string{"/", "/home", "/root", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/opt", "/srv", "/mnt", "/media", "/tmp", "/workspace"}
	systemTrees = []string{"/etc", "/proc", "/sys", "/dev", "/run", "/boot", "/var/run", "/var/lib/nanoclaw"}
)

// ExpandHome replaces a leading "~/". Nothing stays nothing.
func ExpandHome(p, home string) string {
	if p == "" {
		return ""
	}
	if rest, ok := strings.CutPrefix(p, "~/"); ok {
		return filepath.Join(home, rest)
	}
	return filepath.Clean(p)
}

// hostPath expands and checks a path of the owner that a line of the
// configuration, or a flag, wants to show to an agent.
func (r Request) hostPath(p, line string) (string, error) {
	full := ExpandHome(p, r.Machine.OwnerHome)
	if err := r.Machine.CheckPath(full); err != nil {
		err.Text = line + ": " + err.Text
		return "", err
	}
	return full, nil
}

// CheckPath says whether a folder of the owner may be shown to an agent at
// all. It is asked twice: here with the path as written, and by the boundary
// with the canonical path of the opened descriptor, so that a symbolic link
// changes nothing.
func (m Machine) CheckPath(p string) *Refusal {
	refuse := func(why string) *Refusal {
		return &Refusal{"mount.path", fmt.Sprintf("%q cannot be shown to an agent: %s", p, why), "choose a folder that holds only the project"}
	}
	if !filepath.IsAbs(p) || p != filepath.Clean(p) {
		return refuse("the path must be absolute and plain")
	}
	if i := strings.IndexFunc(p, func(r rune) bool { return r < 0x20 || r == 0x7f || r == ':' || r == ',' || r == '\\' }); i >= 0 {
		return refuse("it has a character that mounts cannot carry safely")
	}
	for _, d := range systemDirs {
		if p == d {
			return refuse("it is a folder of the system")
		}
	}
	for _, d := range systemTrees {
		if within(p, d) {
			return refuse("it is part of the system")
		}
	}
	if m.OwnerHome != "" && within(m.OwnerHome, p) {
		return refuse("it holds the owner's whole home")
	}
	for _, d := range m.Private {
		if within(p, d) || within(d, p) {
			return refuse("nanoclaw keeps its configuration, data or sockets there")
		}
	}
	for _, d := range m.OwnClaude {
		if within(p, d) || within(d, p) {
			return refuse("your own Claude Code keeps its conversations and settings there")
		}
	}
	for part := range strings.SplitSeq(p, "/") {
		for _, n := range never {
			if strings.EqualFold(part, n) {
				return refuse(fmt.Sprintf("%q is a place for credentials", part))
			}
		}
	}
	return nil
}

// within says that p is dir or beneath it. Both are clean and absolute.
func within(p, dir string) bool {
	return p == dir || dir == "/" || strings.HasPrefix(p, dir+"/")
}
