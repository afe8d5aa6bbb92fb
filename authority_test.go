package nanoclaw_test

import (
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// A gate is a function that does a privileged act, and those that may call it:
// each has asked package authority, or stands behind one that has.
type gate struct {
	pkg, name string
	callers   []string
	why       string
}

// gates are the ways to a privileged act. A call from elsewhere is a way around
// the table of who may do what.
var gates = []gate{
	{"internal/control", "Handle", []string{"Server.routes"}, "each act of the socket stands behind guard"},
	{"internal/control", "HandleFunc", []string{"Server.routes"}, "what is no act of the socket says so"},
	{"internal/control", "acts", []string{"Server.routes"}, "and is served with guard alone"},

	{"internal/hosttools", "judge", []string{"Server.call"}, "call asks first what the tool's act needs"},
	{"internal/hosttools", "host.Send", []string{"judgeSend", "judgeChat"}, "both ask about the target"},
	{"internal/hosttools", "host.AskToSend", []string{"judgeChat"}, "judgeChat asks, and the owner is asked each time"},
	{"internal/hosttools", "host.Groups", []string{"judgeList", "target", "known", "judgeRegister"}, "the first and the last after call asked, the others after their callers asked themselves"},
	{"internal/hosttools", "known", []string{"taskGroup"}, "taskGroup asks about the group that is meant"},
	{"internal/hosttools", "host.Schedule", []string{"judgeSchedule"}, "taskGroup asked about the group, and hostMode about host mode"},
	{"internal/hosttools", "host.Update", []string{"judgeUpdate"}, "oneTask asked about the task's group, and hostMode about host mode"},
	{"internal/hosttools", "host.Act", []string{"actTask"}, "oneTask asked about the task's group"},
	{"internal/hosttools", "host.AskToRegister", []string{"judgeRegister"}, "call asked, and the owner alone can do it"},

	{"internal/router", "host", []string{"Router.Deliver", "Router.OnHost"}, "what Decide let through, or refused, and nothing else; OnHost sets it"},
	{"internal/router", "wake", []string{"Router.Deliver"}, "a message starts a run by the verdict of Decide alone"},

	{"internal/daemon", "forHost", []string{"Daemon.build", "Daemon.takeUpHost"}, "the router hands it what it decided; takeUpHost asks the router again"},
	{"internal/daemon", "hostsOwn", []string{"Daemon.forHost"}, "the router asked about the chat's own group"},
	{"internal/daemon", "command", []string{"Daemon.hostsOwn"}, "the router asked about the chat's own group"},
	{"internal/daemon", "obey", []string{"Daemon.command"}, "asks about the group that is meant"},
	{"internal/daemon", "stopFor", []string{"Daemon.Stop", "Daemon.obeyStop"}, "the socket's guard, or obey"},
	{"internal/daemon", "obeyStop", []string{"Daemon.obey"}, "obey asked"},
	{"internal/daemon", "pause", []string{"Daemon.Pause", "Daemon.pauseWaiting", "Daemon.obey"}, "the socket's guard, a stop that was allowed, or obey"},
	{"internal/daemon", "resume", []string{"Daemon.Resume", "Daemon.obey"}, "the socket's guard, or obey"},
	{"internal/daemon", "statusWords", []string{"Daemon.obey"}, "obey asked"},
	{"internal/daemon", "obeyTasks", []string{"Daemon.obey"}, "obey asked"},
	{"internal/daemon", "obeyCost", []string{"Daemon.obey"}, "obey asked"},
	{"internal/daemon", "obeyWhy", []string{"Daemon.obey"}, "obey asked"},
	{"internal/daemon", "questionWords", []string{"Daemon.obey"}, "obey asked"},
	{"internal/daemon", "obeyRegister", []string{"Daemon.obey"}, "asks itself, since there is no group to ask about"},
	{"internal/daemon", "tellRegister", []string{"Daemon.obeyRegister", "toolHost.AskToRegister"}, "each asked; what is told does nothing"},
	{"internal/daemon", "changeTask", []string{"toolHost.Act", "Daemon.TaskAct"}, "the tool asked, or the socket's guard"},
	{"internal/daemon", "cancelTask", []string{"toolHost.Act", "Daemon.TaskAct"}, "the tool asked, or the socket's guard"},
	{"internal/daemon", "runTask", []string{"Daemon.TaskAct"}, "the socket's guard"},
	{"internal/daemon", "applyTask", []string{"Daemon.TaskAdd", "Daemon.TaskEdit"}, "the socket's guard"},
	{"internal/daemon", "taskMade", []string{"toolHost.Schedule", "toolHost.Update"}, "the tools asked"},
	{"internal/daemon", "allow", []string{"Daemon.letIn", "Daemon.hostAnswered", "Daemon.pin", "Daemon.Trust", "Daemon.TokenAdd"}, "what letIn stands behind, an answer that the desk took, what pin stands behind, or the socket's guard"},
	{"internal/daemon", "pin", []string{"Daemon.pinAnswered", "Daemon.PinServer"}, "an answer that the desk took, or the socket's guard"},
	{"internal/daemon", "letIn", []string{"Daemon.senderDecided", "Daemon.PeopleAct", "Daemon.pair"}, "an answer that the desk took, the socket's guard, or a code of the owner's"},
	{"internal/daemon", "shutOut", []string{"Daemon.senderDecided", "Daemon.deny"}, "an answer that the desk took, or the socket's guard"},
	{"internal/daemon", "forgetSender", []string{"Daemon.PeopleAct"}, "the socket's guard"},
	{"internal/daemon", "deny", []string{"Daemon.PeopleAct"}, "the socket's guard"},
	{"internal/daemon", "newPairing", []string{"Daemon.Pair", "Daemon.tellPairing"}, "the socket's guard, or an answer that the desk took"},
	{"internal/daemon", "tellPairing", []string{"Daemon.senderDecided"}, "an answer that the desk took"},

	{"cmd/nanoclaw", "Edit", []string{"app.change", "importer.importConfig"}, "both ask before they edit the configuration"},
	{"cmd/nanoclaw", "importConfig", []string{"importer.apply"}, "behind the owner's yes to a plan"},
}

// TestNoWayAroundAuthority reads every call in the packages with surfaces.
func TestNoWayAroundAuthority(t *testing.T) {
	all := sources(t)
	for _, g := range gates {
		from := map[string]bool{}
		for _, s := range all[g.pkg] {
			if s.Test {
				continue
			}
			for _, d := range s.AST.Decls {
				f, ok := d.(*ast.FuncDecl)
				if !ok {
					if uses(d, g.name) {
						t.Errorf("%s: %s is called outside of any function", s.Path, g.name)
					}
					continue
				}
				if f.Body == nil || !uses(f.Body, g.name) {
					continue
				}
				name := f.Name.Name
				if f.Recv != nil {
					name = receiver(f.Recv.List[0].Type) + "." + name
				}
				from[name] = true
				if !slices.Contains(g.callers, name) {
					t.Errorf("%s: %s calls %s. Only %s may: %s", s.Path, name, g.name, strings.Join(g.callers, ", "), g.why)
				}
			}
		}
		for _, name := range g.callers {
			if !from[name] {
				t.Errorf("%s: %s does not call %s any more: take it out of the table", g.pkg, name, g.name)
			}
		}
	}
}

// uses says that something below n calls a function or method of that name, or
// takes it as a value. "a.B" is only B of something that is called a.
func uses(n ast.Node, name string) bool {
	found := false
	of, name, qualified := strings.Cut(name, ".")
	if !qualified {
		of, name = "", of
	}
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if id, ok := n.Fun.(*ast.Ident); ok && of == "" && id.Name == name {
				found = true
			}
		case *ast.SelectorExpr:
			found = found || n.Sel.Name == name && (of == "" || called(n.X) == of)
		}
		return !found
	})
	return found
}

// called gives the last name of an expression, "" if it has none.
func called(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

// The functions that ask: without the question in them the table above says
// nothing.
func TestGatesAskAuthority(t *testing.T) {
	all := sources(t)
	for _, want := range []struct{ pkg, name string }{
		{"internal/control", "Server.guard"}, {"internal/hosttools", "Server.may"}, {"internal/hosttools", "hostMode"},
		{"internal/router", "Rules.decide"}, {"internal/router", "command"},
		{"internal/daemon", "Daemon.obey"}, {"internal/daemon", "Daemon.target"}, {"internal/daemon", "Daemon.answerRole"},
		{"cmd/nanoclaw", "app.change"}, {"cmd/nanoclaw", "importer.importConfig"},
	} {
		found := false
		for _, s := range all[want.pkg] {
			for _, d := range s.AST.Decls {
				f, ok := d.(*ast.FuncDecl)
				if !ok || s.Test {
					continue
				}
				name := f.Name.Name
				if f.Recv != nil {
					name = receiver(f.Recv.List[0].Type) + "." + name
				}
				if name == want.name {
					found = uses(f.Body, "Decide")
				}
			}
		}
		if !found {
			t.Errorf("%s · %s does not ask authority", want.pkg, want.name)
		}
	}
}
