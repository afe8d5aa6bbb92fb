package agenttest

import "nanoclaw/internal/agent/scripted"

// The scripted model, which tests of agents have from here.
type (
	// Model is the server.
	Model = scripted.Model
	// Script decides how it answers a request.
	Script = scripted.Script
	// Step is one answer.
	Step = scripted.Step
	// ToolUse asks the agent to use a tool.
	ToolUse = scripted.ToolUse
	// Request is one request that the agent made.
	Request = scripted.Request
)

// NewModel starts a model that answers by the script. It panics if there is no
// loopback, since no test can go on then. Close ends it.
func NewModel(script Script) *Model {
	m, err := scripted.New(script)
	if err != nil {
		panic("agenttest: " + err.Error())
	}
	return m
}

// Bash asks the agent to run a command.
func Bash(command string) ToolUse { return scripted.Bash(command) }

// Steps answers in order and then says that it is over.
func Steps(steps ...Step) Script { return scripted.Steps(steps...) }

// Puppet does what the user's text says, in lines as "bash: COMMAND".
func Puppet(r Request) Step { return scripted.Puppet(r) }

// Obedient is Puppet, and follows instructions in what tools answer, too.
func Obedient(r Request) Step { return scripted.Obedient(r) }

// Written is a command that waits until Claude Code has written to disk that it was
// asked to run it. It writes what happened about a tenth of a second later, and an
// agent that was killed sooner knows nothing of it. word is part of the command,
// and of none before.
func Written(word string) string {
	// In the person's message the quotes stand behind backslashes, so that the
	// pattern does not find itself.
	return `until grep -qs '"command":".*` + word + `' $CLAUDE_CONFIG_DIR/projects/*/*.jsonl; do sleep 0.02; done`
}
