package inside

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// later are the attempts of 4.3: to leave something that the host runs
// afterwards. They work on a project of the owner that is lent for writing.
func later() []attempt {
	in := func(line, what, name, text string) attempt {
		return attempt{line: line, name: what, path: name, do: func(a *attacker) (string, error) { return a.leave(name, text) }}
	}
	const hook = "#!/bin/sh\necho attacked\n"
	return []attempt{
		in("G-01", "leave a git hook", ".git/hooks/post-checkout", hook),
		try("G-02", "set core.fsmonitor in the project's git configuration", func(a *attacker) (string, error) {
			return "set", appendTo(filepath.Join(a.Project, ".git/config"), "[core]\n\tfsmonitor = sh -c true\n")
		}),
		try("G-03", "move the repository away and leave another in its place", moveRepository),
		in("G-04", "leave a nested repository", "nested/.git/config", "[core]\n\tfsmonitor = sh -c true\n"),
		// Without its HEAD git takes a folder for no repository.
		{line: "G-04", name: "leave a bare repository", path: "bare.git/HEAD", do: func(a *attacker) (string, error) {
			for name, text := range map[string]string{"HEAD": "ref: refs/heads/main\n", "objects/x": "", "refs/x": ""} {
				if _, err := a.leave("bare.git/"+name, text); err != nil {
					return "", err
				}
			}
			return a.leave("bare.git/config", "[core]\n\tbare = true\n\tfsmonitor = sh -c true\n")
		}},
		try("G-05", "aim the .git file of a worktree elsewhere", func(a *attacker) (string, error) {
			return "aimed", os.WriteFile(filepath.Join(a.Project, "worktree/.git"), []byte("gitdir: ../nested/.git\n"), 0o644)
		}),
		in("G-06", "make .git/commondir", ".git/commondir", "../nested/.git\n"),
		in("G-06", "make .git/config.worktree", ".git/config.worktree", "[core]\n\tfsmonitor = sh -c true\n"),
		in("G-06", "leave a hook of a submodule", ".git/modules/lib/hooks/post-checkout", hook),
		in("G-07", "leave a .git file behind 10000 empty lines", "padded/.git", strings.Repeat("\n", 10000)+"gitdir: ../nested/.git\n"),
		in("G-08", "leave .gitattributes", ".gitattributes", "* filter=attack\n"),
		in("G-08", "leave .git/info/attributes", ".git/info/attributes", "* filter=attack\n"),
		in("G-10", "leave .envrc", ".envrc", "echo attacked\n"),
		in("G-10", "leave .bashrc", ".bashrc", "echo attacked\n"),
		in("G-11", "leave .vscode/tasks.json", ".vscode/tasks.json", "{}\n"),
		in("G-12", "leave .mcp.json", ".mcp.json", "{}\n"),
		in("G-13", "leave .claude/settings.json", ".claude/settings.json", "{}\n"),
		in("G-20", "leave a package script", "package.json", `{"scripts":{"postinstall":"echo attacked"}}`),
		// Asked for and not opened: a program that runs cannot be opened for writing.
		try("G-21", "write to our own program", func(*attacker) (string, error) {
			return "it may be written", unix.Access("/proc/self/exe", unix.W_OK)
		}),
		without(noPlant, "G-21", "write to the program of process 1", func(*attacker) (string, error) {
			return "it may be written", unix.Access("/proc/1/exe", unix.W_OK)
		}),
		try("G-21", "replace our own program", replaceProgram),
		try("G-22", "read a conversation of another group", theft(func(a *attacker) string { return a.Session })),
		try("G-22", "add to a conversation of another group", func(a *attacker) (string, error) {
			return "added", appendTo(a.Session, "attacked\n")
		}),
	}
}

// leave makes a file of the project that is not there, and its folders.
func (a *attacker) leave(name, text string) (string, error) {
	path := filepath.Join(a.Project, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return "", err
	}
	_, err = f.WriteString(text)
	return "left " + name, errors.Join(err, f.Close())
}

// moveRepository plays on a guard that knows the paths of hooks and not their
// parents.
func moveRepository(a *attacker) (string, error) {
	repo := filepath.Join(a.Project, "member")
	if err := os.Rename(repo, repo+".old"); err != nil {
		return "", err
	}
	return a.leave("member/.git/hooks/post-checkout", "#!/bin/sh\n")
}

// replaceProgram puts a file in the place of our own program, by its name.
func replaceProgram(a *attacker) (string, error) {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return "", err
	}
	from := filepath.Join(a.Workspace, "replacement")
	if err := os.WriteFile(from, []byte("#!/bin/sh\n"), 0o755); err != nil {
		return "", err
	}
	if err := os.Rename(from, self); err != nil {
		return "", err
	}
	return fmt.Sprint("replaced ", self), nil
}
