package watch

import (
	"path"
	"strings"
)

const (
	// maxDepth bounds how deep commands in commands are looked at: sh -c "sh -c …".
	maxDepth = 4
	// maxPassed bounds how many words may stand before a command proper. More
	// count as matched.
	maxPassed = 32
)

// matchCommand says whether a shell command holds one that the pattern matches.
// The command is looked at as a whole, and each simple command in it by itself:
// with quotes taken away, without leading assignments and programs that only run
// another, and by the name of its program without a path. A shell offers endless
// other ways to say the same; see the package comment.
func matchCommand(pattern, text string) bool {
	match := func(s string) bool { return matchText(pattern, s) }
	if word, ok := strings.CutSuffix(pattern, ":*"); ok { // Claude Code's older form
		match = func(s string) bool { return s == word || strings.HasPrefix(s, word+" ") }
	}
	return match(strings.TrimSpace(text)) || anyCommand(text, maxDepth, match)
}

// anyCommand offers each simple command of a text to match.
func anyCommand(text string, depth int, match func(string) bool) bool {
	for _, words := range commands(text) {
		for i := range words {
			if i == maxPassed || offered(words[i:], match) {
				return true
			}
			if !passes(words, i) {
				break
			}
		}
		if depth > 0 && nested(words, depth, match) {
			return true
		}
	}
	return false
}

// offered tries a command as it is, and by the bare name of its program.
func offered(words []string, match func(string) bool) bool {
	line := strings.Join(words, " ")
	return match(line) || match(path.Base(words[0])+line[len(words[0]):])
}

// wrappers are programs that run another one. Read-only.
var wrappers = map[string]bool{
	"env": true, "sudo": true, "doas": true, "timeout": true, "time": true, "nice": true, "nohup": true, "exec": true, "command": true,
	"builtin": true, "xargs": true, "setsid": true, "stdbuf": true, "ionice": true, "if": true, "then": true, "else": true, "while": true,
	"until": true, "do": true, "!": true,
}

// passes says that the command proper may begin after word i: it is an
// assignment, a program that runs another, or an option of one.
func passes(words []string, i int) bool {
	if name, _, assigned := strings.Cut(words[i], "="); assigned && name != "" && strings.Trim(name, nameBytes) == "" {
		return true
	}
	if wrappers[path.Base(words[i])] {
		return true
	}
	// What stands behind a wrapper may be its own argument: timeout -k 5 10 git.
	return i > 0 && i < 6 && wrapped(words[:i])
}

func wrapped(words []string) bool {
	for _, w := range words {
		if wrappers[path.Base(w)] {
			return true
		}
	}
	return false
}

const nameBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"

// nested looks into arguments that are commands themselves: sh -c TEXT, eval
// TEXT. Every argument of a shell is looked at.
func nested(words []string, depth int, match func(string) bool) bool {
	shell := false
	for _, w := range words {
		switch path.Base(w) {
		case "sh", "bash", "dash", "zsh", "ksh", "eval", "su", "ssh":
			shell = true
		default:
			if shell && strings.ContainsAny(w, " \t\n;") && anyCommand(w, depth-1, match) {
				return true
			}
		}
	}
	return false
}

// commands splits a text as a shell would, roughly: at operators, line ends and
// substitutions, with quotes, backslashes and redirections taken away. A
// substitution within double quotes is a command too.
func commands(text string) [][]string {
	l := lexer{text: text}
	for l.at < len(text) {
		l.step()
	}
	l.endCommand()
	return l.out
}

type lexer struct {
	text  string
	at    int
	word  strings.Builder
	begun bool // there is a word, even an empty one
	skip  bool // the next word is where a redirection leads
	words []string
	out   [][]string

	quote bool   // in double quotes
	outer []bool // quote, as it was around each open substitution
	tick  bool   // the innermost one began with a backtick
}

// step takes one character, or what belongs together.
func (l *lexer) step() {
	c, rest := l.text[l.at], l.text[l.at+1:]
	l.at++
	switch {
	case c == '\\' && rest != "":
		l.at++
		if rest[0] != '\n' {
			l.add(rest[0])
		}
	case c == '"':
		l.quote, l.begun = !l.quote, true
	case c == '\'' && !l.quote:
		inner, _, _ := strings.Cut(rest, "'")
		l.word.WriteString(inner)
		l.begun = true
		l.at += len(inner) + 1
	case c == '`' && l.tick, c == ')' && !l.quote && len(l.outer) > 0:
		l.leave()
	case c == '`':
		l.enter()
		l.tick = true
	case c == '$' && strings.HasPrefix(rest, "("):
		l.at++
		l.enter()
	case l.quote:
		l.add(c)
	case c == ' ' || c == '\t' || c == '\r':
		l.endWord()
	case c == '<' || c == '>':
		l.redirect()
	case strings.IndexByte(";|&(){}\n", c) >= 0:
		l.endCommand()
	default:
		l.add(c)
	}
}

// enter begins a substitution, which is a command of its own.
func (l *lexer) enter() {
	l.endCommand()
	l.outer, l.quote = append(l.outer, l.quote), false
}

func (l *lexer) leave() {
	l.endCommand()
	last := len(l.outer) - 1
	l.quote, l.outer, l.tick = l.outer[last], l.outer[:last], false
}

// redirect drops the number before a redirection, and marks the word after it.
func (l *lexer) redirect() {
	if strings.Trim(l.word.String(), "0123456789") == "" {
		l.word.Reset()
		l.begun = false
	}
	l.endWord()
	l.at += len(l.text[l.at:]) - len(strings.TrimLeft(l.text[l.at:], "<>&|"))
	l.skip = true
}

func (l *lexer) add(c byte) {
	l.word.WriteByte(c)
	l.begun = true
}

func (l *lexer) endWord() {
	if l.begun && !l.skip {
		l.words = append(l.words, l.word.String())
	}
	l.skip = l.skip && !l.begun
	l.word.Reset()
	l.begun = false
}

func (l *lexer) endCommand() {
	l.endWord()
	l.skip = false
	if len(l.words) > 0 {
		l.out = append(l.out, l.words)
	}
	l.words = nil
}
