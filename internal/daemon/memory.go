package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
	"nanoclaw/internal/touched"
)

// memoryName is the file in which an agent keeps what it shall know next time.
const memoryName = "CLAUDE.md"

// FirstMemory is what a group's memory begins with. It is the agent's own file
// from then on.
const FirstMemory = `# Memory of this group

This file is read at the start of every session here. Keep it short: what is worth
knowing every time, such as who the people are, what they want and what was decided.
Put longer things into files of their own beside it and name them here.

Parts of conversations that no longer fit are in conversations/, one file each.
`

// FirstGlobal is what the memory of all groups begins with.
const FirstGlobal = `# Memory of all groups

The agents of all groups read this file at the start of every session. Only the
group main can change it. Nothing belongs here that one group must not know of
another.
`

// ownNew makes a folder for a uid, with a file in it, if there is none by that
// name yet. The folder gets its name only when it is whole: once an agent may have
// been in it, nothing is written there any more (I11).
func ownNew(p string, uid int, file, text string, mode os.FileMode) error {
	if _, err := os.Lstat(p); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if uid == 0 {
		uid = os.Getuid()
	}
	tmp, err := os.MkdirTemp(filepath.Dir(p), ".new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	first := filepath.Join(tmp, file)
	err = errors.Join(
		os.WriteFile(first, []byte(text), 0o644),
		os.Lchown(first, uid, uidGroup(uid)),
		os.Chmod(tmp, mode),
		os.Lchown(tmp, uid, uidGroup(uid)),
	)
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, p); err != nil && !errors.Is(err, fs.ErrExist) { // another session's start was first
		return err
	}
	time.Sleep(touched.Lag) // once for a group: so that its first run did not make the file
	return nil
}

// uidGroup is the gid that goes with a uid: a group's own has the same number,
// and where we give nothing away it stays ours.
func uidGroup(uid int) int {
	if uid == os.Getuid() {
		return -1
	}
	return uid
}

// maxPrompt bounds what is read of a prompt. One that is taken is shorter.
const maxPrompt = 1 << 20

// promptsRead are the prompts of groups that are files beside the configuration.
type promptsRead struct {
	texts  map[chat.Group]string
	prints map[string]config.Fingerprint // by file
}

// prompts reads them. Groups of one file get one reading of it.
func prompts(paths config.Paths, c *config.Config) (promptsRead, error) {
	var out promptsRead
	texts := map[string]string{}
	for name, g := range c.Groups {
		if g.PromptFile == "" {
			continue
		}
		text, ok := texts[g.PromptFile]
		if !ok {
			data, print, err := config.ReadBeside(paths.ConfigDir, g.PromptFile, maxPrompt)
			if why := config.CheckPrompt(string(data)); err == nil && why != "" {
				err = fmt.Errorf("%s: a text of at most 64 KB is expected, and this is %s", g.PromptFile, why)
			}
			if err != nil {
				return out, fmt.Errorf("groups.%s.promptFile: %w", name, err)
			}
			if out.texts == nil {
				out.texts, out.prints = map[chat.Group]string{}, map[string]config.Fingerprint{}
			}
			text, out.prints[g.PromptFile] = string(data), print
			texts[g.PromptFile] = text
		}
		out.texts[chat.Group(name)] = text
	}
	return out, nil
}
