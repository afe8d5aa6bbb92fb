package grant

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"nanoclaw/internal/config"
)

// Kind is what a question is about.
type Kind string

// The kinds of question.
const (
	AboutPath Kind = "path"
	AboutHost Kind = "host"
	AboutVar  Kind = "variable"
	AboutTool Kind = "tool"
	// AboutServer is an MCP server, by its name in the configuration or as agents
	// have it. Its tools are asked about as tools: tool:mcp__SERVER__TOOL.
	AboutServer Kind = "mcp"
	// AboutCall is a system call. No line of a grant names one: the boundary
	// refuses the same calls to everybody, and answers.
	AboutCall Kind = "call"
)

// Question asks whether a session may touch one thing.
type Question struct {
	Kind Kind
	Op   Op     // of a path
	Name string // the path, the host, or the name of what else is asked about
	Port string // of a host, as written; "" is HTTPS's
	// Of a URL: the request that is meant. Scheme is "" if a host alone is asked
	// about.
	Scheme, Method, Path string
}

// ErrQuestion is in the error of ParseQuestion for what has no one meaning.
var ErrQuestion = errors.New("it is not clear what is asked about")

// ParseQuestion reads a question as a person writes it:
//
//	/path            may it be read? Also write:/path, create:, remove:, rename:,
//	                 link:, exec: and list:
//	host, host:port  HTTPS where no port is named
//	https://host/x   one request; also "POST https://host/x"
//	$VAR or VAR      a variable of the environment
//	tool:NAME        a host tool, one that the model's provider runs, or one of an
//	                 MCP server: tool:mcp__SERVER__TOOL
//	mcp:NAME         an MCP server
//	call:NAME        a system call, also with numbers: call:socket(1,1,0)
func ParseQuestion(s string) (Question, error) {
	if q, ok := parseURL(s); ok {
		return q, nil
	}
	prefix, rest, cut := strings.Cut(s, ":")
	switch {
	case cut && rest != "" && slices.Contains(ops, Op(prefix)):
		return Question{Kind: AboutPath, Op: Op(prefix), Name: rest}, nil
	case cut && rest != "" && (prefix == "tool" || prefix == "call" || prefix == "mcp"):
		return Question{Kind: Kind(prefix), Name: rest}, nil
	case strings.HasPrefix(s, "/"):
		return Question{Kind: AboutPath, Op: OpRead, Name: s}, nil
	case cut && rest == "":
		return Question{}, fmt.Errorf("%q: %w: nothing follows the colon", printable(s), ErrQuestion)
	case strings.HasPrefix(s, "$") && isVariable(s[1:]):
		return Question{Kind: AboutVar, Name: s[1:]}, nil
	case strings.Contains(s, "/"):
		return Question{}, fmt.Errorf("%q: %w: write a path in full, or only the host of a URL", printable(s), ErrQuestion)
	case strings.ContainsAny(s, ".:") || s == "localhost":
		host, port := splitQuestion(s)
		return Question{Kind: AboutHost, Name: host, Port: port}, nil
	case isVariable(s) && (strings.Contains(s, "_") || s == strings.ToUpper(s)):
		return Question{Kind: AboutVar, Name: s}, nil
	}
	return Question{}, fmt.Errorf("%q: %w: write a path in full, host:port, $VARIABLE, tool:NAME, mcp:NAME or call:NAME", printable(s), ErrQuestion)
}

// String is the question as ParseQuestion reads it.
func (q Question) String() string {
	switch q.Kind {
	case AboutPath:
		return string(q.Op) + ":" + q.Name
	case AboutVar:
		return "$" + q.Name
	case AboutHost:
		host := q.Name
		if q.Port != "" {
			host += ":" + q.Port
		}
		if q.Scheme == "" {
			return host
		}
		return q.Method + " " + q.Scheme + "://" + host + q.Path
	}
	return string(q.Kind) + ":" + q.Name
}

// splitQuestion cuts a port off. An IPv6 address without brackets has none.
func splitQuestion(s string) (host, port string) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || strings.Count(s, ":") > 1 && !strings.Contains(s, "]:") {
		return s, ""
	}
	return s[:i], s[i+1:]
}

// isVariable says whether s is a name that a shell takes for a variable.
func isVariable(s string) bool {
	return s != "" && (s[0] < '0' || s[0] > '9') && strings.IndexFunc(s, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) < 0
}

// Answer says whether something may be touched, and why.
type Answer struct {
	Question string
	Allowed  bool
	// Line is the line of the grant that decides, as Lines prints it, with its
	// reason. It is empty where none does: then Why says what it rests on.
	Line string
	Why  string
	// As is the path at which the agent has what was asked for by its path on the
	// host.
	As string
	// Allow is the command with which the owner would allow it, if there is one.
	Allow string
}

// Explain answers a question from the grant alone, and asks neither the file
// system nor the network. m only serves to say what the owner could allow.
//
// An answer "allowed" means that the boundary lets it pass. Permissions of files
// apply inside as everywhere, and a host may be down.
func Explain(g Grant, m Machine, q Question) Answer {
	var a Answer
	switch q.Kind {
	case AboutPath:
		a = g.explainPath(m, q)
	case AboutHost:
		a = g.explainHost(q)
	case AboutVar:
		a = g.explainVar(q)
	case AboutTool:
		a = g.explainTool(q)
	case AboutServer:
		a = g.explainServer(q.Name)
	default:
		a.Why = "a grant has no lines about this"
	}
	a.Question = q.String()
	return a
}

func (g Grant) explainVar(q Question) Answer {
	for _, v := range g.Env {
		if v.Name == q.Name {
			return Answer{Allowed: true, Line: v.line()}
		}
	}
	return Answer{Why: "the agent's environment is made from the grant, which does not have it; nothing of this machine's is passed on"}
}

func (g Grant) explainTool(q Question) Answer {
	for _, t := range g.Tools {
		if t.Name == q.Name {
			return Answer{Allowed: true, Line: t.line()}
		}
	}
	if as, tool, ok := ServerTool(q.Name); ok {
		return g.explainServersTool(as, tool)
	}
	if config.IsServerTool(q.Name) {
		return g.explainServerTool(q.Name)
	}
	return Answer{Why: "the grant names no such host tool for this group"}
}

// explainServerTool says whether the model's provider may run a tool.
func (g Grant) explainServerTool(name string) Answer {
	if g.Model == nil {
		return Answer{Why: "this group has no model"}
	}
	for _, t := range g.Model.ServerTools {
		if t.Name == name {
			return Answer{Allowed: true, Line: t.serverLine()}
		}
	}
	all := strings.Join(append(g.ServerTools(), name), ",")
	return Answer{Why: "the model's provider would do it, past every egress rule", Allow: fmt.Sprintf("nanoclaw group set %s --server-tools %s", g.Group, all)}
}
