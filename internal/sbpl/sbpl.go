// Package sbpl reads profiles of macOS's Seatbelt and answers what they permit.
//
// Seatbelt runs on a Mac alone, and its language is not documented. So that a
// profile can be judged anywhere, and before it is used, this package knows the
// part of the language that profiles of ours and of their peers are made of:
// allow and deny rules over operations, with filters of paths, addresses and
// names, of which the last that matches decides.
//
// It promises to be strict: a word, an operation, a filter or an escape that it
// does not know is an error and never a guess, and so is text that would be read
// in two ways. What it answers is what the language is said to mean; whether the
// kernel agrees is only seen on a Mac.
//
// Sources: the profiles in /System/Library/Sandbox/Profiles, sandbox-exec(1),
// and the profiles of Chromium and Firefox, which state the meaning in comments.
package sbpl

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Profile is a profile that was read.
type Profile struct {
	rules []rule
	open  bool // (allow default)
	forms int
}

// Forms is how many forms stand at the top of the text.
func (p *Profile) Forms() int { return p.forms }

// rule is one allow or deny. With several filters one that matches is enough.
type rule struct {
	allow   bool
	ops     []string
	filters []filter
	line    int
}

// filter says whether a question is meant.
type filter func(Query) bool

// Query asks about one operation.
type Query struct {
	Op string
	// Path is the real path of a file: no symbolic links, /private/tmp and not
	// /tmp.
	Path string
	// Vnode is what lies at Path, as filters name it: "DIRECTORY",
	// "REGULAR-FILE", "CHARACTER-DEVICE". "" matches no such filter.
	Vnode string
	// Addr is the far side of an outbound connection, the near side of others:
	// "192.0.2.1:443", "localhost:80", or of a Unix socket its path.
	Addr string
	// Name is a Mach service, a sysctl, a POSIX name, an IOKit class, or a
	// socket's domain.
	Name string
	// Target is the other process: "self", "same-sandbox" or "others".
	Target string
}

// Answer says what a profile decides, and which line of it; 0 is its default.
type Answer struct {
	Allowed bool
	Line    int
}

// beyond are the operations that (deny default) does not deny, as the profiles of
// Firefox and WebKit say: they need a rule of their own.
var beyond = []string{"process-info*", "nvram*", "iokit-get-properties", "file-map-executable"}

// Ask answers a question.
func (p *Profile) Ask(q Query) (Answer, error) {
	if !known(q.Op) || strings.HasSuffix(q.Op, "*") {
		return Answer{}, fmt.Errorf("there is no operation %q", q.Op)
	}
	for _, r := range slices.Backward(p.rules) {
		if r.about(q.Op) && r.matches(q) {
			return Answer{Allowed: r.allow, Line: r.line}, nil
		}
	}
	for _, op := range beyond {
		if covers(op, q.Op) {
			return Answer{Allowed: true}, nil
		}
	}
	return Answer{Allowed: p.open}, nil
}

// Allows answers a question about an operation that there is; any other is a
// mistake of the caller, and not allowed.
func (p *Profile) Allows(q Query) bool {
	a, err := p.Ask(q)
	return err == nil && a.Allowed
}

func (r rule) about(op string) bool {
	return slices.ContainsFunc(r.ops, func(o string) bool { return covers(o, op) })
}

func (r rule) matches(q Query) bool {
	return len(r.filters) == 0 || slices.ContainsFunc(r.filters, func(f filter) bool { return f(q) })
}

// covers says whether the operation o of a rule, which may be a group, takes in
// op.
func covers(o, op string) bool {
	if group, ok := strings.CutSuffix(o, "*"); ok {
		return strings.HasPrefix(op, group)
	}
	// Old names of groups, without the star.
	if o == "ipc-posix-shm" || o == "ipc-posix-sem" {
		return strings.HasPrefix(op, o)
	}
	return o == op
}

// known says whether there is such an operation or group.
func known(op string) bool {
	return slices.ContainsFunc(operations, func(o string) bool { return o == op || strings.HasSuffix(op, "*") && covers(op, o) })
}

// Parse reads a profile. params are the values of (param "NAME").
func Parse(text string, params map[string]string) (*Profile, error) {
	nodes, err := read(text)
	if err != nil {
		return nil, err
	}
	if len(nodes) == 0 || nodes[0].head() != "version" || len(nodes[0].list) != 2 || nodes[0].list[1].text != "1" {
		return nil, fmt.Errorf("a profile begins with (version 1)")
	}
	p := &Profile{forms: len(nodes)}
	c := &compiler{params: params}
	for _, n := range nodes[1:] {
		if err := p.form(c, n); err != nil {
			return nil, fmt.Errorf("line %d: %w", n.line, err)
		}
	}
	return p, nil
}

// form takes in one form at the top.
func (p *Profile) form(c *compiler, n node) error {
	switch n.head() {
	case "allow", "deny":
		return p.rule(c, n)
	case "if":
		// (if (defined? 'operation) (rule)): for what older systems lack. Here
		// every operation is there.
		if len(n.list) != 3 || n.list[1].head() != "defined?" || len(n.list[1].list) != 2 || n.list[1].list[1].kind != '\'' {
			return fmt.Errorf("the only condition known here is (if (defined? 'operation) (rule))")
		}
		if op := n.list[1].list[1].text; !known(op) {
			return fmt.Errorf("there is no operation %q", op)
		}
		return p.form(c, n.list[2])
	}
	return fmt.Errorf("%q is no form that is known here", n.head())
}

func (p *Profile) rule(c *compiler, n node) error {
	r := rule{allow: n.head() == "allow", line: n.line}
	for _, part := range n.list[1:] {
		switch {
		case !part.isList && part.kind == 0 && r.filters == nil:
			r.ops = append(r.ops, part.text)
		case part.head() == "with":
			if err := modifier(part); err != nil {
				return err
			}
		case part.isList:
			f, err := c.filter(part)
			if err != nil {
				return err
			}
			r.filters = append(r.filters, f)
		default:
			return fmt.Errorf("%q stands where a filter should", part.text)
		}
	}
	if slices.Equal(r.ops, []string{"default"}) && r.filters == nil {
		p.open = r.allow
		return nil
	}
	if len(r.ops) == 0 {
		return fmt.Errorf("a rule about no operation")
	}
	for _, op := range r.ops {
		if !known(op) {
			return fmt.Errorf("there is no operation %q", op)
		}
	}
	p.rules = append(p.rules, r)
	return nil
}

// modifier accepts what changes how a decision is told, and nothing that changes
// the decision: (with no-sandbox) would let a program run unconfined.
func modifier(n node) error {
	if len(n.list) >= 2 && !n.list[1].isList && slices.Contains([]string{"message", "no-log", "no-report", "report"}, n.list[1].text) {
		return nil
	}
	return fmt.Errorf("a modifier that is not known here")
}

// compiler makes filters.
type compiler struct{ params map[string]string }

func (c *compiler) filter(n node) (filter, error) {
	head := n.head()
	if make := combinations[head]; make != nil {
		var parts []filter
		for _, sub := range n.list[1:] {
			f, err := c.filter(sub)
			if err != nil {
				return nil, err
			}
			parts = append(parts, f)
		}
		if len(parts) == 0 {
			return nil, fmt.Errorf("%s of nothing", head)
		}
		return make(parts), nil
	}
	if head == "remote" || head == "local" {
		return c.address(n)
	}
	make := filters[head]
	if make == nil {
		return nil, fmt.Errorf("%q is no filter that is known here", head)
	}
	// Several values stand for one filter of each.
	var parts []filter
	for _, arg := range n.list[1:] {
		value, err := c.value(arg)
		if err != nil {
			return nil, err
		}
		f, err := make(value)
		if err != nil {
			return nil, err
		}
		parts = append(parts, f)
	}
	if len(parts) == 0 {
		return nil, fmt.Errorf("%s of nothing", head)
	}
	return anyOf(parts), nil
}

// value is a string, a word, or (param "NAME").
func (c *compiler) value(n node) (string, error) {
	if !n.isList {
		return n.text, nil
	}
	if n.head() == "param" && len(n.list) == 2 {
		if v, ok := c.params[n.list[1].text]; ok {
			return v, nil
		}
		return "", fmt.Errorf("the parameter %q has no value", n.list[1].text)
	}
	return "", fmt.Errorf("%q stands where a value should", n.head())
}

var combinations = map[string]func([]filter) filter{
	"require-any": anyOf,
	"require-all": func(parts []filter) filter {
		return func(q Query) bool { return !slices.ContainsFunc(parts, func(f filter) bool { return !f(q) }) }
	},
	"require-not": func(parts []filter) filter {
		some := anyOf(parts)
		return func(q Query) bool { return !some(q) }
	},
}

func anyOf(parts []filter) filter {
	return func(q Query) bool { return slices.ContainsFunc(parts, func(f filter) bool { return f(q) }) }
}

// filters are made of one value.
var filters = map[string]func(string) (filter, error){
	"literal":      about(path, func(v, x string) bool { return v == x }),
	"path-literal": about(path, func(v, x string) bool { return v == x }),
	"subpath":      about(path, beneath),
	"prefix":       about(path, func(v, x string) bool { return strings.HasPrefix(x, v) }),
	"regex":        pattern(path),

	"vnode-type": about(func(q Query) string { return q.Vnode }, func(v, x string) bool { return v == x }),
	"target":     about(func(q Query) string { return q.Target }, sameTarget),

	"global-name": byName, "global-name-prefix": byPrefix, "local-name": byName,
	"xpc-service-name": byName, "xpc-service-name-prefix": byPrefix,
	"sysctl-name": byName, "sysctl-name-prefix": byPrefix, "sysctl-name-regex": pattern(name),
	"ipc-posix-name": byName, "ipc-posix-name-prefix": byPrefix, "ipc-posix-name-regex": pattern(name),
	"iokit-registry-entry-class": byName, "iokit-user-client-class": byName,
	"socket-domain": byName, "socket-protocol": byName, "mac-policy-name": byName,
}

var (
	byName   = about(name, func(v, x string) bool { return v == x })
	byPrefix = about(name, func(v, x string) bool { return strings.HasPrefix(x, v) })
)

func path(q Query) string { return q.Path }
func name(q Query) string { return q.Name }

// about makes a filter of one property of the question. A question without the
// property is not meant.
func about(property func(Query) string, holds func(value, x string) bool) func(string) (filter, error) {
	return func(value string) (filter, error) {
		return func(q Query) bool {
			x := property(q)
			return x != "" && holds(value, x)
		}, nil
	}
}

func beneath(dir, p string) bool {
	return p == dir || strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/")
}

// sameTarget knows that a process is in its own sandbox.
func sameTarget(v, x string) bool { return v == x || v == "same-sandbox" && x == "self" }

func pattern(property func(Query) string) func(string) (filter, error) {
	return func(value string) (filter, error) {
		if err := common(value); err != nil {
			return nil, fmt.Errorf("the regular expression %q: %w", value, err)
		}
		re, err := regexp.Compile("(?s)" + value)
		if err != nil {
			return nil, err
		}
		return func(q Query) bool {
			x := property(q)
			return x != "" && re.MatchString(x)
		}, nil
	}
}
