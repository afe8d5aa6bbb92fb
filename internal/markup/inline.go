package markup

import (
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// inline reads the marks within a line.
func inline(s string) []span {
	p := inliner{s: s, closers: map[string]int{}}
	p.read()
	return p.out
}

// inliner reads one line from left to right. A mark that finds no end is text.
type inliner struct {
	s     string
	i     int
	style span // of what is read now, without text
	text  strings.Builder
	out   []span
	// closers has, for each mark, from where on it is known to have no end. So a line
	// full of openings costs one search and not one for each.
	closers map[string]int
	// open are the marks that are open, the innermost last.
	open []string
}

func (p *inliner) flush() {
	if p.text.Len() > 0 {
		sp := p.style
		sp.text = p.text.String()
		p.out = append(p.out, sp)
		p.text.Reset()
	}
}

// put adds a whole span in the style that is open.
func (p *inliner) put(sp span) {
	p.flush()
	sp.bold, sp.italic, sp.struck = sp.bold || p.style.bold, sp.italic || p.style.italic, sp.struck || p.style.struck
	p.out = append(p.out, sp)
}

func (p *inliner) read() {
	for p.i < len(p.s) {
		switch c := p.s[p.i]; {
		case c == '\\' && p.i+1 < len(p.s) && isPunct(p.s[p.i+1]):
			p.text.WriteByte(p.s[p.i+1])
			p.i += 2
		case c == '`' && p.codeSpan(),
			(c == '[' || c == '!') && p.link(),
			c == '<' && p.autolink(),
			c == 'h' && p.address(),
			(c == '*' || c == '_' || c == '~') && p.emphasis(c):
		default:
			p.text.WriteByte(c)
			p.i++
		}
	}
	p.flush()
}

func isPunct(c byte) bool {
	return c >= '!' && c <= '/' || c >= ':' && c <= '@' || c >= '[' && c <= '`' || c >= '{' && c <= '~'
}

// next finds a mark at or after from, and remembers where there is none.
func (p *inliner) next(mark string, from int) int {
	if none, ok := p.closers[mark]; ok && from >= none {
		return -1
	}
	n := strings.Index(p.s[from:], mark)
	if n < 0 {
		p.closers[mark] = from
		return -1
	}
	return from + n
}

// codeSpan reads `code` between runs of backticks of the same length.
func (p *inliner) codeSpan() bool {
	rest := p.s[p.i:]
	n := len(rest) - len(strings.TrimLeft(rest, "`"))
	mark := rest[:n]
	if none, ok := p.closers[mark]; !ok || p.i < none {
		for from := p.i + n; ; {
			at := strings.Index(p.s[from:], mark)
			if at < 0 {
				break
			}
			at += from
			run := len(p.s[at:]) - len(strings.TrimLeft(p.s[at:], "`"))
			if run == n {
				code := p.s[p.i+n : at]
				if len(code) > 2 && code[0] == ' ' && code[len(code)-1] == ' ' {
					code = code[1 : len(code)-1]
				}
				p.put(span{text: code, code: true})
				p.i = at + n
				return true
			}
			from = at + run
		}
		p.closers[mark] = p.i
	}
	p.text.WriteString(mark)
	p.i += n
	return true
}

// link reads [words](address) and ![words](address). Words that hold brackets are
// no link here.
func (p *inliner) link() bool {
	start := p.i
	if p.s[start] == '!' {
		start++
	}
	if start >= len(p.s) || p.s[start] != '[' {
		return false
	}
	end := p.next("](", start)
	if end < 0 || strings.ContainsAny(p.s[start+1:end], "[]") {
		return false
	}
	stop := p.next(")", end)
	if stop < 0 {
		return false
	}
	target, _, _ := strings.Cut(strings.TrimSpace(p.s[end+2:stop]), " ")
	target = strings.Trim(target, "<>")
	words := plainWords(p.s[start+1 : end])
	if target == "" {
		return false
	}
	p.put(linkTo(words, target))
	p.i = stop + 1
	return true
}

// plainWords drops the marks of emphasis in the words of a link.
func plainWords(s string) string {
	return strings.NewReplacer("**", "", "__", "", "`", "", "~~", "").Replace(s)
}

// linkTo is a link, or text where the address must not become one. A reader trusts
// the words of a link, so words that look like another address are followed by the
// real one.
func linkTo(words, target string) span {
	u, err := url.Parse(target)
	if err != nil || !(u.Scheme == "http" || u.Scheme == "https") || u.Host == "" || strings.ContainsFunc(target, badInURL) {
		if err == nil && u.Scheme == "mailto" && !strings.ContainsFunc(target, badInURL) {
			return span{text: nonEmpty(words, target), url: target}
		}
		return span{text: strings.TrimSpace(words + " (" + target + ")")}
	}
	if words == "" || words == target {
		return span{text: target, url: target}
	}
	if looksLikeAddress(words) && !strings.EqualFold(strings.TrimSuffix(words, "/"), strings.TrimSuffix(u.Host+u.Path, "/")) {
		return span{text: words + " (" + target + ")"}
	}
	return span{text: words, url: target}
}

func nonEmpty(a, b string) string {
	if strings.TrimSpace(a) == "" {
		return b
	}
	return a
}

// badInURL are characters that could end an address early in some network's form.
func badInURL(r rune) bool {
	return r <= ' ' || strings.ContainsRune("<>|\"`\\^{}", r) || unicode.IsSpace(r) || unicode.IsControl(r)
}

// looksLikeAddress says that a reader could take words for an address: they hold
// "://", or a word with a dot between letters.
func looksLikeAddress(words string) bool {
	if strings.Contains(words, "://") {
		return true
	}
	for _, w := range strings.Fields(words) {
		for i := 1; i+1 < len(w); i++ {
			if w[i] == '.' && alphanumeric(w[i-1]) && alphanumeric(w[i+1]) {
				return true
			}
		}
	}
	return false
}

func alphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c >= utf8.RuneSelf
}

// autolink reads <https://…>.
func (p *inliner) autolink() bool {
	end := p.next(">", p.i)
	if end < 0 {
		return false
	}
	target := p.s[p.i+1 : end]
	if !strings.HasPrefix(target, "http://") && !strings.HasPrefix(target, "https://") {
		return false
	}
	sp := linkTo(target, target)
	if sp.url == "" {
		return false
	}
	p.put(sp)
	p.i = end + 1
	return true
}

// address reads a bare address, so that what it holds is no mark.
func (p *inliner) address() bool {
	rest := p.s[p.i:]
	if !strings.HasPrefix(rest, "https://") && !strings.HasPrefix(rest, "http://") {
		return false
	}
	end := strings.IndexFunc(rest, badInURL)
	if end < 0 {
		end = len(rest)
	}
	target := strings.TrimRight(rest[:end], ".,;:!?)]*_~'")
	sp := linkTo(target, target)
	if sp.url == "" {
		return false
	}
	p.put(sp)
	p.i += len(target)
	return true
}

// emphasis opens or closes bold, italic or struck text.
func (p *inliner) emphasis(c byte) bool {
	rest := p.s[p.i:]
	run := len(rest) - len(strings.TrimLeft(rest, string(c)))
	before, _ := utf8.DecodeLastRuneInString(p.s[:p.i])
	after, _ := utf8.DecodeRuneInString(rest[run:])
	opens := p.i+run < len(p.s) && !unicode.IsSpace(after)
	closes := p.i > 0 && !unicode.IsSpace(before)
	if c == '_' && opens && closes && letter(before) && letter(after) {
		opens, closes = false, false // within a word
	}
	if run > 3 || c == '~' && run > 2 {
		p.text.WriteString(rest[:run])
		p.i += run
		return true
	}
	for run > 0 {
		mark := p.mark(c, run)
		switch {
		case closes && len(p.open) > 0 && strings.HasPrefix(rest[:run], p.open[len(p.open)-1]):
			mark = p.open[len(p.open)-1]
			p.flush()
			p.toggle(mark, false)
			p.open = p.open[:len(p.open)-1]
		case opens && !slices.Contains(p.open, mark) && p.ends(mark, p.i+len(mark)):
			p.flush()
			p.toggle(mark, true)
			p.open = append(p.open, mark)
		default:
			p.text.WriteString(rest[:run])
			p.i += run
			return true
		}
		p.i += len(mark)
		rest, run = rest[len(mark):], run-len(mark)
	}
	return true
}

func letter(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// mark is what a run begins with.
func (p *inliner) mark(c byte, run int) string {
	if run >= 2 {
		return string([]byte{c, c})
	}
	return string(c)
}

// ends says that a mark is closed further on in this line: there is one with no
// space before it that is not a part of a longer one.
func (p *inliner) ends(mark string, from int) bool {
	key := "end" + mark
	if none, ok := p.closers[key]; ok && from >= none {
		return false
	}
	for i := from; i < len(p.s); {
		n := strings.Index(p.s[i:], mark)
		if n < 0 {
			break
		}
		at := i + n
		stop := at + len(mark)
		for stop < len(p.s) && p.s[stop] == mark[0] {
			stop++
		}
		before, _ := utf8.DecodeLastRuneInString(p.s[:at])
		after, _ := utf8.DecodeRuneInString(p.s[stop:])
		inWord := mark[0] == '_' && letter(before) && letter(after)
		if at > from && !unicode.IsSpace(before) && !inWord && (len(mark) == 2 || stop-at != 2) {
			return true
		}
		i = stop
	}
	p.closers[key] = from
	return false
}

func (p *inliner) toggle(mark string, on bool) {
	switch mark {
	case "**", "__":
		p.style.bold = on
	case "*", "_":
		p.style.italic = on
	case "~~", "~":
		p.style.struck = on
	}
}
