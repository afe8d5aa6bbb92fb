// Package agenttest is what tests of agents stand on: a model whose words are
// written beforehand, a box without walls, and the pinned real Claude Code.
//
// NewModel starts a model of package scripted, which answers from a script, so
// that the real program can be driven through a whole conversation without an
// account, and everything it sent can be searched for what must not be there.
// Local runs an agent as a plain child process: enough to test how we talk to
// it, and nothing about how it is confined, which is the boundary's own test.
// Replay plays recorded lines. Claude finds or installs the program.
//
// It is for tests alone: nothing that ships imports it.
package agenttest
