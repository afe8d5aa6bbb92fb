package nanoclaw_test

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/config"
)

// boundRow is a row of the table of bounds in docs/limits.md: its name, and its value.
var boundRow = regexp.MustCompile("(?m)^\\| `([a-z]+)\\.([A-Za-z]+)` \\| ([^|]+) \\| [^|]+ \\| [^|]+ \\|$")

// The packages that take in what comes from outside. Each of their bounds is listed.
var bounded = []string{"router", "queue", "store", "wire", "hosttools", "egress", "transcript", "runner", "agent", "mcpserver", "oldstore", "imports"}

// The values of docs/limits.md are those of the code, and none is left out.
func TestBoundsAreListed(t *testing.T) {
	text, err := os.ReadFile("docs/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	consts, files := map[string]map[string]ast.Expr{}, sources(t)
	for _, name := range bounded {
		consts[name] = constantsOf(files["internal/"+name])
	}
	for _, name := range []string{"webhook", "httpapi", "webserve"} { // adapters for strangers' programs
		consts[name] = constantsOf(files["internal/channel/"+name])
	}
	listed := map[string]bool{}
	for _, m := range boundRow.FindAllStringSubmatch(string(text), -1) {
		where, name, said := m[1], m[2], strings.TrimSpace(m[3])
		listed[where+"."+name] = true
		is := setting(name)
		if where != "limits" {
			n, ok := valueOf(consts[where], consts[where][name])
			if !ok {
				t.Errorf("%s.%s is listed, and has no value in the code", where, name)
				continue
			}
			is = n
		}
		if want, err := parseBound(said); err != nil || is != want {
			t.Errorf("%s.%s is %d in the code and %q in the document (%v)", where, name, is, said, err)
		}
	}
	if len(listed) < 60 {
		t.Errorf("only %d bounds are found: the form of the table has changed", len(listed))
	}
	for where, of := range consts {
		for name, e := range of {
			isBound := strings.HasPrefix(name, "max") || strings.HasPrefix(name, "Max")
			n, ok := valueOf(of, e)
			if isBound && ok && !listed[where+"."+name] {
				t.Errorf("%s.%s, %d, is not in docs/limits.md", where, name, n)
			}
		}
	}
}

// setting is a default of the configuration's limits, -1 for none.
func setting(name string) int64 {
	limits := reflect.ValueOf(config.Default().Limits)
	for i := range limits.NumField() {
		if tag, _, _ := strings.Cut(limits.Type().Field(i).Tag.Get("json"), ","); tag == name {
			return limits.Field(i).Int()
		}
	}
	return -1
}

// parseBound reads "50", "64 KiB" or "30m".
func parseBound(s string) (int64, error) {
	for unit, n := range map[string]int64{" KiB": 1 << 10, " MiB": 1 << 20, " GiB": 1 << 30} {
		if number, ok := strings.CutSuffix(s, unit); ok {
			v, err := strconv.ParseInt(number, 10, 64)
			return v * n, err
		}
	}
	if d, err := time.ParseDuration(s); err == nil && strings.Trim(s, "0123456789") != "" {
		return int64(d), nil
	}
	return strconv.ParseInt(s, 10, 64)
}

// constantsOf gives the constants of a package that have a value of their own.
func constantsOf(files []source) map[string]ast.Expr {
	out := map[string]ast.Expr{}
	for _, f := range files {
		if f.Test {
			continue
		}
		for _, d := range f.AST.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.CONST {
				continue
			}
			for _, s := range g.Specs {
				v := s.(*ast.ValueSpec)
				for i := range min(len(v.Names), len(v.Values)) {
					out[v.Names[i].Name] = v.Values[i]
				}
			}
		}
	}
	return out
}

// valueOf computes a constant of numbers and of others of its package.
func valueOf(of map[string]ast.Expr, e ast.Expr) (int64, bool) {
	v, err := compute(of, e)
	if err != nil {
		return 0, false
	}
	return constant.Int64Val(constant.ToInt(v))
}

func compute(of map[string]ast.Expr, e ast.Expr) (constant.Value, error) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if v := constant.MakeFromLiteral(e.Value, e.Kind, 0); v.Kind() == constant.Int {
			return v, nil
		}
	case *ast.ParenExpr:
		return compute(of, e.X)
	case *ast.Ident:
		if next, ok := of[e.Name]; ok {
			return compute(of, next)
		}
	case *ast.BinaryExpr:
		a, err := compute(of, e.X)
		if err != nil {
			return nil, err
		}
		b, err := compute(of, e.Y)
		if err != nil {
			return nil, err
		}
		if e.Op == token.SHL {
			n, _ := constant.Uint64Val(b)
			return constant.Shift(a, e.Op, uint(n)), nil
		}
		return constant.BinaryOp(a, e.Op, b), nil
	}
	return nil, fmt.Errorf("it is no number")
}
