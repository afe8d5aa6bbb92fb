// Package scripted is a model whose words are written beforehand: the Messages API
// on loopback, as far as Claude Code asks for it.
//
// With it the real program goes through a whole conversation without an account
// and without a network, and does what the script has it do. Tests stand on it, and
// so does nanoclaw demo, where the script does whatever a hostile visitor says:
// that is the model that a boundary has to hold against.
//
// It serves on 127.0.0.1 alone and asks for no credential. Whoever reaches the port
// gets the script's words, and nothing else is behind it. It keeps every request, so
// that what must not be told to a model can be searched for; a caller that runs for
// long has to look after that.
package scripted
