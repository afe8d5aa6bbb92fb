package markup

import (
	"strings"
	"unicode/utf8"
)

// kind is what a line is.
type kind int

const (
	paragraph kind = iota
	blank
	heading
	item // of a list
	rule
	fence // the lines of a block of code
)

// block is one line, or one block of code.
type block struct {
	kind  kind
	quote int    // how many quotes it stands in
	depth int    // of an item, or the level of a heading
	mark  string // of an item: "" for a bullet, or "1."
	spans []span
	lang  string   // of code
	lines []string // of code
}

// span is a piece of a line in one style.
type span struct {
	text                       string
	bold, italic, struck, code bool
	url                        string
}

// maxQuote bounds what a line can ask for with one character each.
const maxQuote = 3

// parse reads Markdown. It takes time in proportion to the text.
func parse(text string) []block {
	var out []block
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		quote, line := quoted(lines[i])
		if mark, lang, ok := fenceOpens(line); ok {
			b := block{kind: fence, quote: quote, lang: lang}
			for i++; i < len(lines); i++ {
				inside := unquote(lines[i], quote)
				if fenceCloses(inside, mark) {
					break
				}
				b.lines = append(b.lines, inside)
			}
			out = append(out, b)
			continue
		}
		if n, table := readTable(lines[i:], quote); n > 0 {
			out = append(out, table)
			i += n - 1
			continue
		}
		b := readLine(line)
		b.quote = quote
		out = append(out, b)
	}
	return out
}

// quoted takes the marks of quotes off a line.
func quoted(line string) (int, string) {
	n := 0
	for n < maxQuote {
		rest := strings.TrimLeft(line, " ")
		after, ok := strings.CutPrefix(rest, ">")
		if !ok || len(line)-len(rest) > 3 {
			break
		}
		n++
		line = strings.TrimPrefix(after, " ")
	}
	return n, line
}

// unquote takes off at most n marks.
func unquote(line string, n int) string {
	for range n {
		after, ok := strings.CutPrefix(strings.TrimLeft(line, " "), ">")
		if !ok {
			break
		}
		line = strings.TrimPrefix(after, " ")
	}
	return line
}

// fenceOpens says that a line begins a block of code (CommonMark 4.5).
func fenceOpens(line string) (mark, lang string, ok bool) {
	rest := strings.TrimLeft(line, " \t") // deeper too: models indent code within lists
	for _, c := range []string{"`", "~"} {
		n := len(rest) - len(strings.TrimLeft(rest, c))
		if n < 3 {
			continue
		}
		info := strings.TrimSpace(rest[n:])
		if c == "`" && strings.Contains(info, "`") {
			return "", "", false
		}
		lang, _, _ := strings.Cut(info, " ")
		return rest[:n], word(lang), true
	}
	return "", "", false
}

// word keeps what can be the name of a language.
func word(s string) string {
	if len(s) > 20 {
		return ""
	}
	for _, r := range s {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("+-#_.", r)) {
			return ""
		}
	}
	return s
}

func fenceCloses(line, mark string) bool {
	rest := strings.TrimSpace(line)
	return strings.HasPrefix(rest, mark) && strings.Trim(rest, mark[:1]) == ""
}

// readLine reads a line that is no code and no table.
func readLine(line string) block {
	trimmed := strings.TrimSpace(line)
	switch {
	case trimmed == "":
		return block{kind: blank}
	case isRule(trimmed):
		return block{kind: rule}
	}
	if n := len(trimmed) - len(strings.TrimLeft(trimmed, "#")); n > 0 && n <= 6 {
		if text, ok := strings.CutPrefix(trimmed[n:], " "); ok {
			text = strings.TrimSpace(strings.TrimRight(text, "#"))
			return block{kind: heading, depth: n, spans: inline(text)}
		}
	}
	indent := len(line) - len(strings.TrimLeft(line, " \t"))
	if mark, text, ok := listItem(trimmed); ok {
		return block{kind: item, depth: min(indent/2, 4), mark: mark, spans: inline(text)}
	}
	return block{kind: paragraph, spans: inline(strings.TrimRight(line, " \t"))}
}

// isRule says that a line is a thematic break (CommonMark 4.1).
func isRule(s string) bool {
	bare := strings.ReplaceAll(s, " ", "")
	return len(bare) >= 3 && strings.ContainsAny(bare[:1], "-*_") && strings.Trim(bare, bare[:1]) == ""
}

// listItem reads "- x", "* x", "+ x", "1. x" and "1) x".
func listItem(s string) (mark, text string, ok bool) {
	if len(s) > 1 && strings.ContainsRune("-*+", rune(s[0])) && s[1] == ' ' {
		return "", strings.TrimSpace(s[2:]), true
	}
	n := 0
	for n < len(s) && n < 9 && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	if n > 0 && n+1 < len(s) && (s[n] == '.' || s[n] == ')') && s[n+1] == ' ' {
		return s[:n] + ".", strings.TrimSpace(s[n+2:]), true
	}
	return "", "", false
}

// maxTable bounds what is laid out as a table; a larger one is shown as written.
const maxTable = 500

// readTable reads a table of GitHub's kind and lays it out as code, since no network
// has tables. It gives how many lines it took, 0 if there is none.
func readTable(lines []string, quote int) (int, block) {
	if len(lines) < 2 || !strings.Contains(lines[0], "|") {
		return 0, block{}
	}
	head, marks := cells(unquote(lines[0], quote)), cells(unquote(lines[1], quote))
	if len(head) != len(marks) || len(head) > 20 {
		return 0, block{}
	}
	for _, c := range marks {
		if bare := strings.Trim(c, ":"); bare == "" || strings.Trim(bare, "-") != "" {
			return 0, block{}
		}
	}
	rows, n := [][]string{head}, 2
	for n < len(lines) && n < maxTable {
		line := unquote(lines[n], quote)
		if !strings.Contains(line, "|") {
			break
		}
		rows = append(rows, cells(line))
		n++
	}
	return n, block{kind: fence, quote: quote, lines: layOut(rows, len(head))}
}

// cells splits a row; "\|" is a bar within a cell.
func cells(line string) []string {
	line = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(line), "|"), "|")
	var out []string
	var b strings.Builder
	for i := 0; i < len(line); i++ {
		switch {
		case line[i] == '\\' && i+1 < len(line) && line[i+1] == '|':
			b.WriteByte('|')
			i++
		case line[i] == '|':
			out = append(out, strings.TrimSpace(b.String()))
			b.Reset()
		default:
			b.WriteByte(line[i])
		}
	}
	return append(out, strings.TrimSpace(b.String()))
}

// maxCell is how far a wide cell pushes the others.
const maxCell = 40

func layOut(rows [][]string, columns int) []string {
	width := make([]int, columns)
	for _, row := range rows {
		for i := range min(columns, len(row)) {
			row[i] = bare(row[i])
			width[i] = min(maxCell, max(width[i], utf8.RuneCountInString(row[i])))
		}
	}
	var out []string
	for i, row := range rows {
		var b, line strings.Builder
		for c := range columns {
			cell := ""
			if c < len(row) {
				cell = row[c]
			}
			b.WriteString(cell)
			line.WriteString(strings.Repeat("-", width[c]))
			if c < columns-1 {
				b.WriteString(strings.Repeat(" ", max(0, width[c]-utf8.RuneCountInString(cell))) + "  ")
				line.WriteString("  ")
			}
		}
		out = append(out, strings.TrimRight(b.String(), " "))
		if i == 0 {
			out = append(out, line.String())
		}
	}
	return out
}

// bare is the text of a cell without its marks.
func bare(s string) string {
	var b strings.Builder
	for _, sp := range inline(s) {
		b.WriteString(sp.text)
		if sp.url != "" && sp.url != sp.text {
			b.WriteString(" (" + sp.url + ")")
		}
	}
	return b.String()
}
