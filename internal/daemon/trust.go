package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"nanoclaw/internal/beneath"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/store"
)

// A workspace's own ".claude" and ".mcp.json" are code to Claude Code: hooks,
// servers and settings that it would obey without a question. Whoever writes in the
// workspace writes them too, so a session obeys them only while they are, byte for
// byte, what the owner trusted, and sees a copy of them that it cannot write.

// trusts are the parts of a workspace that can be trusted.
func trusts() []string { return []string{grant.ProjectFolder, grant.ProjectServers} }

// untrusted is never part of it: what Claude Code itself writes there.
const untrusted = grant.ProjectFolder + "/settings.local.json"

// errNothingToTrust says that the workspace has neither part.
var errNothingToTrust = errors.New("the workspace has no " + grant.ProjectFolder + " and no " + grant.ProjectServers)

// trustable reads what a group's workspace holds now of what can be trusted, as an
// agent may have made it (I11): no link is followed, and everything is bounded.
func (d *Daemon) trustable(g chat.Group) (skillFiles, error) {
	root, _, err := beneath.Root(filepath.Join(d.machine.GroupDir(g), "workspace"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNothingToTrust
	}
	if err != nil {
		return nil, err
	}
	defer root.Close()
	out, size := skillFiles{}, 0
	for _, name := range trusts() {
		st, err := beneath.Stat(root, name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, err
		case st.Mode&unix.S_IFMT == unix.S_IFDIR:
			err = out.readBeneath(root, name, &size, 0)
		default:
			err = out.takeBeneath(root, name, &size)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	if len(out) == 0 {
		return nil, errNothingToTrust
	}
	return out, nil
}

func (s skillFiles) readBeneath(root *os.File, dir string, size *int, depth int) error {
	f, err := beneath.Folder(root, dir)
	if err != nil {
		return err
	}
	defer f.Close()
	// One more than there may be, so that a huge folder is not read whole.
	names, err := f.Readdirnames(maxSkillFiles + 1)
	if err != nil && err != io.EOF {
		return err
	}
	for _, name := range names {
		at := path.Join(dir, name)
		if at == untrusted {
			continue
		}
		st, err := beneath.Stat(root, at)
		switch {
		case err != nil:
			return err
		case st.Mode&unix.S_IFMT != unix.S_IFDIR:
			err = s.takeBeneath(root, at, size)
		case depth == maxSkillDepth:
			return fmt.Errorf("%q lies too deep", at)
		default:
			err = s.readBeneath(root, at, size, depth+1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s skillFiles) takeBeneath(root *os.File, at string, size *int) error {
	f, err := beneath.File(root, at)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(f, int64(maxSkillBytes-*size+1)))
	if *size += len(text); err == nil && (*size > maxSkillBytes || len(s) >= maxSkillFiles) {
		err = fmt.Errorf("%s holds more than %d files or %d MB", strings.Join(trusts(), " or "), maxSkillFiles, maxSkillBytes>>20)
	}
	s[at] = skillFile{text, 0o644 | fi.Mode()&0o111}
	return err
}

// list names each file with its hash; hash is that of the list.
func (s skillFiles) list() (text, hash string) {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(s)) {
		kind := ""
		if s[name].mode&0o111 != 0 {
			kind = " program"
		}
		fmt.Fprintf(&b, "%x %q%s\n", sha256.Sum256(s[name].text), name, kind)
	}
	sum := sha256.Sum256([]byte("nanoclaw trusted folder v1\n" + b.String()))
	return b.String(), hex.EncodeToString(sum[:])
}

// trusted gives what a session of a group may obey of its workspace: nothing unless
// the owner trusted something there, and it is what they saw. The copy lies beside
// the group's other folders, where no agent can write.
func (d *Daemon) trusted(ctx context.Context, g chat.Group) (grant.Trusted, error) {
	r, ok := d.right(store.RightFolder, g, grant.Workspace)
	if !ok {
		return grant.Trusted{}, nil
	}
	files, err := d.trustable(g)
	is := "it cannot be read: "
	if err == nil {
		_, is = files.list()
	} else {
		is += err.Error()
	}
	if is != r.Hash {
		d.tellOwner(ctx, fmt.Sprintf("trust:%s:%x", g, sha256.Sum256([]byte(r.Hash+is))), fmt.Sprintf(
			"What you trusted in the workspace of group %s (%s) is not what you saw any more, so its agent does not obey it. Look at it, and trust it again if you like: nanoclaw trust --group %s",
			g, strings.Join(trusts(), ", "), g))
		d.outbox.Wake()
		return grant.Trusted{}, nil
	}
	dir := filepath.Join(d.machine.GroupDir(g), "trusted", r.Hash)
	if err := files.place(dir); err != nil {
		return grant.Trusted{}, fmt.Errorf("copying what is trusted of group %s: %w", g, err)
	}
	out := grant.Trusted{Hash: r.Hash, Dir: dir}
	for name := range files {
		out.Folder = out.Folder || strings.HasPrefix(name, grant.ProjectFolder+"/")
		out.Servers = out.Servers || name == grant.ProjectServers
	}
	return out, nil
}

// Trust shows what the workspace of a group holds that its agent would obey, or
// trusts it if its hash is named. Whoever is on the socket is the owner.
func (d *Daemon) Trust(ctx context.Context, r control.TrustRequest) (control.Trust, error) {
	if err := d.known(r.Group); err != nil {
		return control.Trust{}, err
	}
	if runtime.GOOS != "linux" {
		return control.Trust{}, &control.Error{Code: control.CodeRefused, Message: "on this system an agent could change what was trusted while it is obeyed", Hint: "put skills into the folder of the configuration"}
	}
	files, err := d.trustable(r.Group)
	if err != nil {
		return control.Trust{}, &control.Error{Code: control.CodeRefused, Message: err.Error()}
	}
	var out control.Trust
	out.Group = r.Group
	out.Text, out.Hash = files.list()
	old, ok := d.right(store.RightFolder, r.Group, grant.Workspace)
	out.Done = ok && old.Hash == out.Hash
	if r.Hash == "" || out.Done {
		return out, nil
	}
	if r.Hash != out.Hash {
		return control.Trust{}, &control.Error{Code: control.CodeRefused, Message: "what lies there now has another hash", Hint: "nanoclaw trust --group " + string(r.Group) + " shows it as it is now"}
	}
	err = d.allow(ctx, store.Right{Kind: store.RightFolder, Group: r.Group, Subject: grant.Workspace, Hash: r.Hash}, atTheSocket(), "the owner trusted the workspace's own settings")
	out.Done = err == nil
	return out, err
}
