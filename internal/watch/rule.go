package watch

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Level says what a rule does to a call that it matches.
type Level string

// The levels, the strictest first.
const (
	Deny  Level = "deny"  // the call is refused
	Ask   Level = "ask"   // the owner is asked
	Allow Level = "allow" // the owner is not asked in permission mode "ask"
)

// Rule is one parsed rule. The zero value matches nothing.
type Rule struct {
	level Level
	text  string
	tool  string // a name; for MCP with stars
	kind  kind
	part  string // what stands in the brackets, "" for none
}

// String gives the rule as it was written.
func (r Rule) String() string { return r.text }

// Level gives what the rule does.
func (r Rule) Level() Level { return r.level }

// Whole gives the name of a built-in tool, or the pattern of MCP tools, that the
// rule is wholly about, so that the tool can be taken away from the agent.
func (r Rule) Whole() (name string, ok bool) {
	return r.tool, r.part == "" && r.tool != "" && r.tool != "*"
}

// kind says how the brackets of a rule are read.
type kind int

const (
	none    kind = iota // the tool takes no brackets
	command             // a shell command: Bash(git push*)
	file                // a path: Read(./secrets/**)
	site                // a host: WebFetch(domain:example.com)
	named               // a name: Agent(Explore), Skill(deploy)
)

// families are the built-in tools whose rules may have brackets, and those that
// a rule of the name speaks about too: a rule about Edit is one about everything
// that changes files. Read-only.
var families = map[string]struct {
	kind kind
	also []string
}{
	"Bash":         {command, nil},
	"Read":         {file, []string{"Grep", "Glob", "LS", "NotebookRead"}},
	"Edit":         {file, []string{"Write", "MultiEdit", "NotebookEdit"}},
	"Grep":         {file, nil},
	"Glob":         {file, nil},
	"LS":           {file, nil},
	"Write":        {file, nil},
	"MultiEdit":    {file, nil},
	"NotebookEdit": {file, nil},
	"NotebookRead": {file, nil},
	"WebFetch":     {site, nil},
	"Agent":        {named, []string{"Task"}},
	"Task":         {named, []string{"Agent"}},
	"Skill":        {named, nil},
}

// maxRule bounds the text of a rule, in bytes.
const maxRule = 1000

// SyntaxError says what is wrong with a rule, and at which character of it,
// counted from 1.
type SyntaxError struct {
	Rule string
	At   int
	What string
}

// Error names the place.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("rule %.80q, character %d: %s", e.Rule, e.At, e.What)
}

// Parse reads a rule: the name of a tool, and in brackets what the call must be
// about. The error is a *SyntaxError.
//
// Names are those of Claude Code, or mcp__SERVER, mcp__SERVER__TOOL with stars
// anywhere after "mcp__", or "*" for every tool. In brackets: a shell command
// with stars (or ending in ":*", where the rest must be further words), a path as
// in a .gitignore file, domain:HOST, or a name.
func Parse(level Level, text string) (Rule, error) {
	fail := func(at int, format string, args ...any) (Rule, error) {
		return Rule{}, &SyntaxError{text, at + 1, fmt.Sprintf(format, args...)}
	}
	switch {
	case text == "":
		return fail(0, "a rule begins with the name of a tool, such as WebFetch")
	case len(text) > maxRule:
		return fail(maxRule, "a rule has at most %d bytes", maxRule)
	}
	end := strings.IndexFunc(text, func(r rune) bool { return !nameRune(r) && r != '*' })
	if end < 0 {
		end = len(text)
	}
	r := Rule{level: level, text: text, tool: text[:end]}
	if at, what := badName(r.tool); what != "" {
		return fail(at, "%s", what)
	}
	if end == len(text) {
		return r, nil
	}
	part, closed := strings.CutSuffix(text[end:], ")")
	switch {
	case text[end] != '(':
		return fail(end, "a name has letters, digits, - and _; then comes ( or the end")
	case !closed:
		return fail(len(text), "the bracket of character %d is not closed", end+1)
	case part == "(":
		return fail(end+1, "the brackets are empty: leave them out, or write (*)")
	}
	return r.about(part[1:], end+1, fail)
}

// about adds what stands in the brackets, which begins at character at.
func (r Rule) about(part string, at int, fail func(int, string, ...any) (Rule, error)) (Rule, error) {
	f, known := families[r.tool]
	if i := strings.IndexFunc(part, func(c rune) bool { return c < ' ' || c == 0x7f || c == '\uFFFD' }); i >= 0 {
		return fail(at+i, "a control character, or a byte that is no text")
	}
	switch {
	case !known:
		return fail(at-1, "%s takes nothing in brackets; Bash, Read, Edit, Write, WebFetch, Agent and Skill do", r.tool)
	case part == "*":
		return r, nil
	case r.level == Allow:
		return fail(at-1, "an allow rule names a whole tool: the text of a call proves nothing about what it does, so it can only make the answer stricter")
	}
	r.kind, r.part = f.kind, part
	if f.kind == site {
		host, ok := strings.CutPrefix(part, "domain:")
		if !ok || host == "" {
			return fail(at, "write domain:HOST, or domain:*.HOST")
		}
		r.part = strings.ToLower(host)
	}
	return r, nil
}

// badName says what is wrong with the name of a rule, and where; "" for nothing.
func badName(name string) (at int, what string) {
	mcp := strings.HasPrefix(name, "mcp__")
	star := strings.IndexByte(name, '*')
	switch {
	case name == "":
		return 0, "a rule begins with the name of a tool, such as WebFetch"
	case name == "mcp__":
		return len(name), "the name of a server is missing: mcp__SERVER, or mcp__* for all"
	case star >= 0 && !mcp && name != "*":
		return star, "a star is for MCP tools (mcp__github__*), or stands alone for every tool"
	case mcp || name == "*":
		return 0, ""
	}
	for known := range families {
		if known != name && strings.EqualFold(known, name) {
			return 0, "write " + known
		}
	}
	return 0, ""
}

func nameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-'
}

// CheckRule is Parse without its result, for levels given as text.
func CheckRule(level, text string) error {
	_, err := Parse(Level(level), text)
	return err
}

// ParseAll reads the rules of one level.
func ParseAll(level Level, texts []string) ([]Rule, error) {
	var rules []Rule
	var errs []error
	for _, text := range texts {
		r, err := Parse(level, text)
		rules, errs = append(rules, r), append(errs, err)
	}
	return rules, errors.Join(errs...)
}

// Call is an agent's wish to use one of its tools. All of it comes from inside.
type Call struct {
	// Tool is the name, such as "Bash".
	Tool string
	// Input is the arguments as JSON.
	Input json.RawMessage
	// Subagent names the subagent that asks, "" for the agent itself.
	Subagent string
}

// args are the arguments that rules look at, by the names that Claude Code gives
// them.
type args struct {
	Command, File, Notebook, Path, Pattern, URL, Type, Skill string
}

// argsOf reads them; false if there is one of another type than text. Names are
// compared as they are: {"command": …, "Command": …} has one command.
func argsOf(raw json.RawMessage) (a args, ok bool) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil {
		return a, false
	}
	for name, text := range map[string]*string{
		"command": &a.Command, "file_path": &a.File, "notebook_path": &a.Notebook, "path": &a.Path,
		"pattern": &a.Pattern, "url": &a.URL, "subagent_type": &a.Type, "skill": &a.Skill,
	} {
		if v, set := fields[name]; set && json.Unmarshal(v, text) != nil {
			return a, false
		}
	}
	return a, true
}

// long says that an argument is too long to be looked at.
func (a args) long() bool {
	return len(a.Command) > maxCommand || len(a.File)+len(a.Notebook)+len(a.Path)+len(a.Pattern)+len(a.URL)+len(a.Type)+len(a.Skill) > maxName
}

// matches says whether the rule is about the call. dir and home are the working
// directory and the home of the agent.
func (r Rule) matches(c Call, dir, home string) bool {
	if !r.Names(c.Tool) {
		return false
	}
	if r.part == "" {
		return true
	}
	a, ok := argsOf(c.Input)
	if !ok || a.long() {
		return true
	}
	switch r.kind {
	case command:
		return matchCommand(r.part, a.Command)
	case file:
		return matchFile(r.part, a, c.Tool, dir, home)
	case site:
		return matchSite(r.part, a.URL)
	case named:
		return matchText(r.part, a.Type+a.Skill)
	}
	return true
}

// Names says whether the rule is about a tool of that name.
func (r Rule) Names(tool string) bool {
	switch {
	case r.tool == "":
		return false
	case r.tool == "*" || r.tool == tool:
		return true
	case strings.HasPrefix(r.tool, "mcp__"):
		// A server stands for all its tools.
		return matchText(r.tool, tool) || !strings.Contains(r.tool[len("mcp__"):], "__") && matchText(r.tool+"__*", tool)
	}
	for _, other := range families[r.tool].also {
		if other == tool {
			return true
		}
	}
	return false
}
