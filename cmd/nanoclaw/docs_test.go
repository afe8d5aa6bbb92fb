package main

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"nanoclaw/internal/boundary/boundarytest"
)

// onlyParsed are commands of the documents that need something which no test has, by
// how they begin, each with the reason. Their verbs, flags and arguments are checked.
var onlyParsed = map[string]string{
	"nanoclaw agent install": "fetches from an npm registry",
	"nanoclaw login":         "asks a person for a credential, and tries it at the provider",
	"nanoclaw channel login": "asks a person for tokens, and tries them at the network",
	"nanoclaw mcp test":      "asks a server of the owner's",
	"nanoclaw mcp pin":       "needs what a server said of its tools",
	"nanoclaw approve":       "needs an open question, whose code is made at random",
	"nanoclaw deny":          "needs an open question, whose code is made at random",
	"nanoclaw why":           "needs a run, whose name is made at random",
	"nanoclaw receipt":       "needs a run, whose name is made at random",
	"nanoclaw logs --run":    "needs a run, whose name is made at random",
	"nanoclaw logs -f":       "ends when it is told to; the script daemon has it",
	"nanoclaw image":         "needs a container engine",
	"nanoclaw doctor":        "says what this machine lacks, which may be something",
	"nanoclaw demo":          "is run by a script of its own",

	"nanoclaw exec --mode container": "needs a container engine",
	"nanoclaw import":                "needs an installation of NanoClaw 1; a script of its own makes one",
	"nanoclaw upgrade":               "needs a signed release; a script of its own makes one",
	"nanoclaw service":               "needs a service manager; a script of its own has a stand-in",
	"nanoclaw setup":                 "asks a person, and changes the machine; scripts of their own answer",
	"nanoclaw uninstall":             "asks a person, and changes the machine; scripts of their own answer",
}

// line is a command in a document.
type docLine struct {
	text  string
	setUp bool // an unseen line that prepares what the next ones need
}

var (
	unseen = regexp.MustCompile(`^<!-- before: (.*) -->$`)
	inline = regexp.MustCompile("`(nanoclaw [^`]+)`")
)

// commandsOf finds the command lines in the fenced blocks of a document, and the
// unseen ones between them.
func commandsOf(text string) (lines []docLine) {
	fenced := false
	for l := range strings.Lines(text) {
		l = strings.TrimSuffix(l, "\n")
		if strings.HasPrefix(strings.TrimSpace(l), "```") {
			fenced = !fenced
			continue
		}
		if m := unseen.FindStringSubmatch(l); m != nil {
			lines = append(lines, docLine{m[1], true})
			continue
		}
		l = strings.TrimPrefix(strings.TrimPrefix(strings.TrimSpace(l), "$ "), "bin/")
		if fenced && (strings.HasPrefix(l, "nanoclaw ") || strings.Contains(l, "| nanoclaw ")) {
			lines = append(lines, docLine{text: l})
		}
	}
	return lines
}

// documents are the pages for people, by their path from here.
func documents(t *testing.T) []string {
	t.Helper()
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(pages) < 20 {
		t.Fatalf("%d documents, %v", len(pages), err)
	}
	return append(pages, "../../README.md")
}

// Every command in the documents works, in the order of the document, in an
// installation that is new for each. What cannot be run here is parsed at least.
func TestCommandsInDocuments(t *testing.T) {
	bin := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	init := filepath.Join(bin, "nanoclaw-init")
	if err := os.WriteFile(init, boundarytest.Init(t), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(bin, "nanoclaw")); err != nil {
		t.Fatal(err)
	}
	for _, page := range documents(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		lines := commandsOf(string(text))
		if len(lines) == 0 {
			continue
		}
		t.Run(filepath.Base(page), func(t *testing.T) {
			t.Parallel()
			home := t.TempDir()
			env := []string{"HOME=" + home, "NANOCLAW_HOME=" + filepath.Join(home, "nanoclaw"), boundarytest.EnvInit + "=" + init, "PATH=" + bin + ":/usr/bin:/bin", "LANG=C.UTF-8"}
			for _, l := range lines {
				if reason(l.text) != "" {
					parses(t, l.text, true)
					continue
				}
				if strings.TrimSpace(comment.ReplaceAllString(l.text, "")) == "nanoclaw run" {
					daemonFor(t, filepath.Join(bin, "nanoclaw"), home, env)
					continue
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				cmd := exec.CommandContext(ctx, "/bin/sh", "-c", l.text)
				cmd.Dir, cmd.Env, cmd.WaitDelay = home, env, time.Second
				out, err := cmd.CombinedOutput()
				cancel()
				if err != nil {
					t.Errorf("%s\n%v\n%s", l.text, err, out)
				}
			}
		})
	}
}

// daemonFor is "nanoclaw run" in a document: it is there for the rest of the page.
func daemonFor(t *testing.T, program, home string, env []string) {
	t.Helper()
	cmd := exec.Command(program, "run")
	cmd.Dir, cmd.Env = home, env
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("nanoclaw run: %v", err)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.Contains(line, "ready") {
		t.Fatalf("nanoclaw run says %q, %v", line, err)
	}
}

// reason is why a command is only parsed, "" if it is run.
func reason(text string) string {
	for begin, why := range onlyParsed {
		if text == begin || strings.HasPrefix(text, begin+" ") {
			return why
		}
	}
	return ""
}

// parses checks that the verbs and flags of a command line exist, and with whole that
// its arguments are as many as there must be.
func parses(t *testing.T, text string, whole bool) {
	t.Helper()
	words := strings.Fields(comment.ReplaceAllString(text, ""))
	root := newApp().root()
	cmd, rest, err := root.Find(words[1:])
	if err != nil || cmd == root {
		t.Errorf("%s: there is no such verb: %v", text, err)
		return
	}
	if cmd.HasSubCommands() && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		t.Errorf("%s: %s has no verb %s", text, cmd.CommandPath(), rest[0])
		return
	}
	if cmd.DisableFlagParsing {
		return
	}
	err = cmd.ParseFlags(rest)
	if err != nil && !whole && strings.HasPrefix(err.Error(), "flag needs an argument") {
		err = nil // the text goes on about its values
	}
	if err == nil && whole {
		err = cmd.ValidateArgs(cmd.Flags().Args())
	}
	if err != nil {
		t.Errorf("%s: %v", text, err)
	}
}

var comment = regexp.MustCompile(`\s#.*$`)

// What is named within the text exists too. There it may be without its arguments,
// and stand for several.
func TestCommandsWithinTexts(t *testing.T) {
	found := 0
	for _, page := range documents(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range inline.FindAllStringSubmatch(string(text), -1) {
			found++
			s := strings.Join(strings.Fields(m[1]), " ")
			s, _, _ = strings.Cut(s, "…")
			s, _, _ = strings.Cut(s, "\\|")
			s, _, _ = strings.Cut(s, " -- ")
			s = strings.NewReplacer("[", "", "]", "").Replace(s)
			t.Run(filepath.Base(page), func(t *testing.T) { parses(t, strings.TrimSpace(s), false) })
		}
	}
	if found < 80 {
		t.Errorf("only %d commands were found: their form has changed", found)
	}
}

// Each entry of the list is needed, and gives a reason.
func TestOnlyParsedIsShort(t *testing.T) {
	var all []string
	for _, page := range documents(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range commandsOf(string(text)) {
			all = append(all, l.text)
		}
	}
	for begin, why := range onlyParsed {
		if why == "" || !slices.ContainsFunc(all, func(s string) bool { return s == begin || strings.HasPrefix(s, begin+" ") }) {
			t.Errorf("%s: no document has it, or there is no reason", begin)
		}
	}
}
