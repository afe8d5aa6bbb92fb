package sbpl

import (
	"os/exec"
	"strings"
	"testing"
)

func TestAsk(t *testing.T) {
	const text = `(version 1)
(deny default)
(allow file-read* (subpath "/usr") (literal "/") (regex #"^/dev/tty[0-9]*$"))
(allow file-write* (subpath "/ws"))
(deny file-write* (regex "^/ws/(.*/)?[.][Gg]it(/.*)?$"))
(deny file-write-unlink file-write-create (literal "/ws"))
(allow file-read-data (require-all (prefix "/pre") (require-not (literal "/pref")) (require-any (vnode-type DIRECTORY) (vnode-type SYMLINK))))
(allow file-read* (subpath (param "HOME")))
(allow signal (target same-sandbox))
(allow mach-lookup (global-name "a.b") (global-name-prefix "c."))
(allow sysctl-read (sysctl-name "hw.ncpu" "hw.memsize") (sysctl-name-prefix "hw.optional."))
(allow network-outbound (remote ip "localhost:4001") (remote unix-socket (path-literal "/s")))
(allow network-inbound (local tcp "*:80"))
(deny process-info*)
(if (defined? 'nvram*) (deny nvram*))
(allow process-info-pidinfo (target self))
(allow ipc-posix-sem)
`
	p, err := Parse(text, map[string]string{"HOME": "/home"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		q    Query
		want bool
	}{
		{Query{Op: "file-read-data", Path: "/usr"}, true},
		{Query{Op: "file-read-metadata", Path: "/usr/lib/x"}, true},
		{Query{Op: "file-read-data", Path: "/usrx"}, false},
		{Query{Op: "file-read-data", Path: "/"}, true},
		{Query{Op: "file-read-data", Path: "/etc"}, false},
		{Query{Op: "file-read-data", Path: "/dev/tty12"}, true},
		{Query{Op: "file-read-data", Path: "/dev/ttyx"}, false},
		{Query{Op: "file-read-data", Path: "/home/x"}, true},
		{Query{Op: "file-write-data", Path: "/ws/a"}, true},
		{Query{Op: "file-write-data", Path: "/ws/.git"}, false},
		{Query{Op: "file-write-data", Path: "/ws/a/b/.Git/hooks/x"}, false},
		{Query{Op: "file-write-data", Path: "/ws/a/x.git"}, true},
		{Query{Op: "file-write-data", Path: "/ws/.gitignore"}, true},
		{Query{Op: "file-write-unlink", Path: "/ws"}, false},
		{Query{Op: "file-write-mode", Path: "/ws"}, true},
		{Query{Op: "file-write-unlink", Path: "/ws/a"}, true},
		{Query{Op: "file-read-data", Path: "/prefix", Vnode: "DIRECTORY"}, true},
		{Query{Op: "file-read-data", Path: "/prefix", Vnode: "REGULAR-FILE"}, false},
		{Query{Op: "file-read-data", Path: "/pref", Vnode: "DIRECTORY"}, false},
		{Query{Op: "signal", Target: "self"}, true},
		{Query{Op: "signal", Target: "same-sandbox"}, true},
		{Query{Op: "signal", Target: "others"}, false},
		{Query{Op: "signal"}, false},
		{Query{Op: "mach-lookup", Name: "a.b"}, true},
		{Query{Op: "mach-lookup", Name: "a.bc"}, false},
		{Query{Op: "mach-lookup", Name: "c.d"}, true},
		{Query{Op: "sysctl-read", Name: "hw.memsize"}, true},
		{Query{Op: "sysctl-read", Name: "hw.optional.x"}, true},
		{Query{Op: "sysctl-read", Name: "kern.procargs2"}, false},
		{Query{Op: "network-outbound", Addr: "127.0.0.1:4001"}, true},
		{Query{Op: "network-outbound", Addr: "[::1]:4001"}, true},
		{Query{Op: "network-outbound", Addr: "localhost:4002"}, false},
		{Query{Op: "network-outbound", Addr: "192.0.2.1:4001"}, false},
		{Query{Op: "network-outbound", Addr: "/s"}, true},
		{Query{Op: "network-outbound", Addr: "/s:4001"}, false},
		{Query{Op: "network-inbound", Addr: "192.0.2.1:80"}, true},
		{Query{Op: "process-info-pidinfo", Target: "self"}, true},
		{Query{Op: "process-info-pidinfo", Target: "others"}, false},
		{Query{Op: "process-info-listpids"}, false},
		{Query{Op: "nvram-get"}, false},
		{Query{Op: "ipc-posix-sem-open"}, true},
		// What (deny default) leaves open.
		{Query{Op: "iokit-get-properties"}, true},
		{Query{Op: "file-map-executable", Path: "/x"}, true},
		{Query{Op: "system-reboot"}, false},
		{Query{Op: "no-such-operation"}, false},
	} {
		if got := p.Allows(c.q); got != c.want {
			t.Errorf("%+v: %t, want %t", c.q, got, c.want)
		}
	}
	if a, err := p.Ask(Query{Op: "file-write-data", Path: "/ws/.git"}); err != nil || a.Line != 5 {
		t.Errorf("the rule that decides is told as line %d, %v", a.Line, err)
	}
}

// What is read in two ways, or not known, is refused.
func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"empty", ``, "begins with (version 1)"},
		{"other version", `(version 2)`, "begins with (version 1)"},
		{"open list", `(version 1)(deny default`, "within a list"},
		{"closed twice", `(version 1))`, "closes nothing"},
		{"open string", `(version 1)(allow file-read* (literal "/a))`, "within a string"},
		{"newline in a string", "(version 1)(allow file-read* (literal \"/a\nb\"))", "control character"},
		{"NUL in a string", "(version 1)(allow file-read* (literal \"/a\x00b\"))", "control character"},
		{"unknown escape", `(version 1)(allow file-read* (literal "/a\nb"))`, "escapes neither"},
		{"raw string that ends in a backslash", `(version 1)(allow file-read* (regex #"a\"))`, "backslash before the end"},
		{"not UTF-8", "(version 1)\xff", "UTF-8"},
		{"unknown operation", `(version 1)(allow file-raed*)`, "no operation"},
		{"unknown filter", `(version 1)(allow file-read* (sub-path "/a"))`, "no filter"},
		{"filter without a value", `(version 1)(allow file-read* (subpath))`, "of nothing"},
		{"rule of nothing", `(version 1)(allow)`, "no operation"},
		{"all of nothing", `(version 1)(allow file-read* (require-all))`, "of nothing"},
		{"import", `(version 1)(import "system.sb")`, "no form"},
		{"define", `(version 1)(define x "y")`, "no form"},
		{"escape from the sandbox", `(version 1)(allow process-exec (literal "/bin/ps") (with no-sandbox))`, "modifier"},
		{"parameter without a value", `(version 1)(allow file-read* (subpath (param "X")))`, "no value"},
		{"other condition", `(version 1)(if (param "X") (allow file-read*))`, "only condition"},
		{"address of a host", `(version 1)(allow network-outbound (remote ip "example.com:443"))`, "neither"},
		{"port range", `(version 1)(allow network-outbound (remote ip "localhost:1-9"))`, "neither"},
		{"count in an expression", `(version 1)(allow file-read* (regex "a{2}"))`, "a count"},
		{"class by name", `(version 1)(allow file-read* (regex "[[:alpha:]]"))`, "a bracket in it"},
		{"lazy", `(version 1)(allow file-read* (regex "a*?"))`, "repetition"},
		{"flag", `(version 1)(allow file-read* (regex "(?i)a"))`, "repetition"},
		{"class by letter", `(version 1)(allow file-read* (regex "\\d"))`, "escapes nothing"},
		{"word where a filter should be", `(version 1)(allow file-read* (literal "/a") file-write*)`, "where a filter should"},
		{"deep", `(version 1)` + strings.Repeat("(", 100), "deep"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse(c.text, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestQuoteRefuses(t *testing.T) {
	for _, s := range []string{"a\nb", "a\x00b", "\x1b[0m", "a\x7f", "\xff"} {
		if q, err := Quote(s); err == nil {
			t.Errorf("%q became %s", s, q)
		}
	}
}

// A quoted string is one string, and the same one.
func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", `"`, `\`, `\"`, `"))(allow default)("`, "/Users/ö/a b", "a\nb", "\x00", `#"x"`, "(;)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		q, err := Quote(s)
		if err != nil {
			return
		}
		nodes, err := read("(literal " + q + ")")
		if err != nil || len(nodes) != 1 || len(nodes[0].list) != 2 || nodes[0].list[1].text != s || nodes[0].list[1].kind != '"' {
			t.Fatalf("%q became %s, read as %+v, %v", s, q, nodes, err)
		}
		p, err := Parse("(version 1)(deny default)(allow file-read* (literal "+q+"))", nil)
		if err != nil || p.Allows(Query{Op: "file-read-data", Path: s + "x"}) || s != "" && !p.Allows(Query{Op: "file-read-data", Path: s}) {
			t.Fatalf("%s does not mean %q: %v", q, s, err)
		}
	})
}

// The expression for a string matches it and nothing else.
func FuzzQuoteRegex(f *testing.F) {
	for _, s := range []string{"/a.b", `\`, "[x]", "a{2}", "(?i)", "^$", "ö|"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		q, err := Quote("^" + QuoteRegex(s) + "$")
		if err != nil || s == "" {
			return
		}
		p, err := Parse("(version 1)(allow file-read* (regex "+q+"))", nil)
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		for _, x := range []string{s + "x", "x" + s, strings.ToUpper(s) + "."} {
			if p.Allows(Query{Op: "file-read-data", Path: x}) {
				t.Errorf("%s matches %q", q, x)
			}
		}
		if !p.Allows(Query{Op: "file-read-data", Path: s}) {
			t.Errorf("%s does not match %q", q, s)
		}
	})
}

// No text makes the reader fail otherwise than by an error, and what it takes it
// can be asked about.
func FuzzParse(f *testing.F) {
	f.Add(`(version 1)(deny default)(allow file-read* (subpath "/a") (regex #"^x[^/]*(/.*)?$"))`)
	f.Add(`(version 1)(if (defined? 'nvram*) (deny nvram*))(allow network* (remote ip "*:1"))`)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse(text, nil)
		if err != nil {
			return
		}
		for _, op := range operations {
			if _, err := p.Ask(Query{Op: op, Path: "/a", Addr: "localhost:1", Name: "x", Target: "self"}); err != nil {
				t.Error(err)
			}
		}
	})
}

// A Scheme that somebody else wrote reads the same data.
func TestAnotherReaderAgrees(t *testing.T) {
	const text = `(version 1) ; a comment with ( and "
(deny default)
(allow file-read* (literal "/a \"b\" \\c") (regex #"^/dev/tty\.[0-9]*$") (subpath "/ö"))
(if (defined? 'nvram*) (deny nvram*))
`
	nodes, err := read(text)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := Guile(t, text), canonical(nodes); got != want {
		t.Errorf("guile reads\n%s\nwe read\n%s", got, want)
	}
	if out, err := guile("(version 1)(deny default").CombinedOutput(); err == nil {
		t.Errorf("guile reads half a list: %s", out)
	}
}

// guileReader prints every datum of its input in one form. SBPL's #"..." is no
// Scheme, so the reader is taught it.
const guileReader = `
(set-port-encoding! (current-input-port) "UTF-8")
(set-port-encoding! (current-output-port) "UTF-8")
(read-hash-extend #\" (lambda (c port)
  (let loop ((all '()))
    (let ((c (read-char port)))
      (if (char=? c #\") (list->string (reverse all)) (loop (cons c all)))))))
(define (show x)
  (cond ((pair? x) (display "(") (for-each (lambda (y) (show y) (display " ")) x) (display ")"))
        ((string? x) (display "<") (display x) (display ">"))
        (else (display x))))
(let loop ()
  (let ((x (read)))
    (if (not (eof-object? x)) (begin (show x) (newline) (loop)))))
`

func guile(text string) *exec.Cmd {
	cmd := exec.Command("guile", "--no-auto-compile", "-c", guileReader)
	cmd.Stdin = strings.NewReader(text)
	return cmd
}

// Guile gives what guile reads in a text.
func Guile(t *testing.T, text string) string {
	t.Helper()
	out, err := guile(text).CombinedOutput()
	if err != nil {
		t.Fatalf("guile: %v\n%s", err, out)
	}
	return string(out)
}

// canonical writes data as guileReader does.
func canonical(nodes []node) string {
	var b strings.Builder
	var show func(n node)
	show = func(n node) {
		switch {
		case n.isList:
			b.WriteString("(")
			for _, x := range n.list {
				show(x)
				b.WriteString(" ")
			}
			b.WriteString(")")
		case n.kind == '"':
			b.WriteString("<" + n.text + ">")
		case n.kind == '\'':
			b.WriteString("(quote " + n.text + " )")
		default:
			b.WriteString(n.text)
		}
	}
	for _, n := range nodes {
		show(n)
		b.WriteString("\n")
	}
	return b.String()
}
