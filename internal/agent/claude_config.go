package agent

import (
	"fmt"
	"path"
	"strings"

	"nanoclaw/internal/grant"
)

// Claude Code reads settings, memory, skills and much else from its
// configuration folder, and runs some of it. Here the folder is the host's and
// read-only, so that what an agent wrote yesterday cannot steer the one of
// tomorrow; only what has to be remembered is the group's own.

// ClaudeState names the folders of the configuration folder that Claude Code
// must be able to write: conversations with the outputs that were too long for
// them, snapshots of the shell, and the files as they were before it edited them.
func ClaudeState() []string {
	return []string{"projects", "shell-snapshots", "session-env", "file-history", "todos"}
}

// ClaudeTranscript is the file, inside, in which Claude Code writes down a session
// of the workspace.
func ClaudeTranscript(session string) string {
	return path.Join(grant.ClaudeConfig, "projects", strings.ReplaceAll(grant.Workspace, "/", "-"), session+".jsonl")
}

// ClaudeSkills is the folder of skills in the configuration folder.
const ClaudeSkills = "skills"

// ClaudeConfig gives the files of the configuration folder by name. keep is how many
// days Claude Code keeps a conversation that nobody goes on with: it removes older
// ones itself, with the agent's own rights, which the host need not have.
func ClaudeConfig(keep int) map[string]string {
	return map[string]string{"CLAUDE.md": claudeMemory, "settings.json": fmt.Sprintf("{\"cleanupPeriodDays\": %d}\n", keep)}
}

// claudeMemory imports the memory of the groups. Project memory is not read
// otherwise: with it would come the settings of the workspace.
const claudeMemory = `@/workspace/global/CLAUDE.md
@/workspace/group/CLAUDE.md
`
