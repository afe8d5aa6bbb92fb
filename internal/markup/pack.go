package markup

import (
	"strings"
	"unicode/utf8"
)

// shortest is the smallest limit that is honoured: less leaves no room for a mark
// and a word.
const shortest = 64

// packer fills parts one after the other.
type packer struct {
	w     writer
	limit int // 0: no limit
	parts []string
	lines []string // of the part that is being filled
	size  int
	// pause is the index in lines after which a paragraph ended last, 0 for none.
	pause int
}

// pack writes blocks into parts.
func pack(w writer, blocks []block, limit int) []string {
	if limit > 0 {
		limit = max(limit, shortest)
	}
	p := &packer{w: w, limit: limit}
	for _, b := range blocks {
		switch b.kind {
		case fence:
			p.fence(b)
		case blank:
			if p.size > 0 {
				p.add("")
				p.pause = len(p.lines)
			}
		default:
			p.line(b)
		}
	}
	p.end(len(p.lines))
	return p.parts
}

// cost is what a line adds to a part.
func cost(line string) int { return length(line) + 1 }

func (p *packer) fits(n int) bool { return p.limit == 0 || p.size+n <= p.limit+1 }

// add puts a line into the part that is being filled, ending that before if need be.
func (p *packer) add(line string) {
	if !p.fits(cost(line)) {
		p.breakPart()
	}
	p.lines = append(p.lines, line)
	p.size += cost(line)
}

// breakPart ends the part: at the end of its last paragraph if that leaves it at
// least half full, else here.
func (p *packer) breakPart() {
	at := len(p.lines)
	if p.pause > 0 {
		n := 0
		for _, l := range p.lines[:p.pause] {
			n += cost(l)
		}
		if 2*n >= p.limit {
			at = p.pause
		}
	}
	p.end(at)
}

// end makes a part of the first n lines; the others begin the next.
func (p *packer) end(n int) {
	part := strings.Trim(strings.Join(p.lines[:n], "\n"), "\n")
	if strings.TrimSpace(part) != "" {
		p.parts = append(p.parts, part)
	}
	p.lines = append([]string(nil), p.lines[n:]...)
	p.size, p.pause = 0, 0
	for _, l := range p.lines {
		p.size += cost(l)
	}
}

// line writes a line, in several if it is longer than a part.
func (p *packer) line(b block) {
	text := p.w.line(b)
	if p.limit == 0 || length(text) <= p.limit {
		p.add(text)
		return
	}
	for _, piece := range halves(b) {
		p.line(piece)
	}
}

// halves splits a line near its middle, between words if it can. Each half has less
// text than the whole, or none of it has a link and a mark any more.
func halves(b block) []block {
	total := 0
	for _, s := range b.spans {
		total += len(s.text)
	}
	if total < 2 { // what is long is not its text
		b.spans = []span{{text: textOf(b)}}
		b.kind, b.quote = paragraph, 0
		for i := range b.spans {
			b.spans[i].url = ""
		}
		return []block{b}
	}
	left, right := b, b
	right.kind, left.spans, right.spans = paragraph, nil, nil
	room := total / 2
	for _, s := range b.spans {
		switch {
		case len(s.text) <= room:
			left.spans, room = append(left.spans, s), room-len(s.text)
		case room > 0:
			cut := cutAt(s.text, room)
			one, two := s, s
			one.text, two.text = s.text[:cut], s.text[cut:]
			if one.text != "" {
				left.spans = append(left.spans, one)
			}
			if two.text != "" {
				right.spans = append(right.spans, two)
			}
			room = 0
		default:
			right.spans = append(right.spans, s)
		}
	}
	if len(left.spans) == 0 || len(right.spans) == 0 { // one character of several bytes
		b.spans = []span{{text: textOf(b)}}
		return []block{{kind: paragraph, spans: b.spans}}
	}
	return []block{left, right}
}

func textOf(b block) string {
	var t strings.Builder
	for _, s := range b.spans {
		t.WriteString(s.text)
	}
	return t.String()
}

// cutAt is where to cut a text at or before n: behind a space if one is near, and
// never within a character.
func cutAt(s string, n int) int {
	if at := strings.LastIndexByte(s[:n], ' '); at > n/2 {
		return at + 1
	}
	for n < len(s) && !utf8.RuneStart(s[n]) {
		n++
	}
	return n
}

// fence writes a block of code. Where a part ends within it, the code is closed
// there and opened again in the next.
func (p *packer) fence(b block) {
	open, shut := p.w.open(b.lang), p.w.close()
	if len(b.lines) == 0 {
		return
	}
	frame := cost(open) + cost(shut)
	first := p.w.code(b.lines[0])
	whole := frame
	for _, l := range b.lines {
		whole += cost(p.w.code(l))
	}
	// Code that fits into a part of its own is not cut for what stands before it.
	if !p.fits(whole) && p.size > 0 && (whole <= p.limit || !p.fits(frame+cost(first))) {
		p.breakPart()
	}
	p.lines, p.size = append(p.lines, open), p.size+cost(open)
	p.pause = 0
	begun := false
	for _, l := range b.lines {
		for _, piece := range p.pieces(l, frame) {
			if begun && !p.fits(cost(piece)+cost(shut)) {
				p.lines = append(p.lines, shut)
				p.end(len(p.lines))
				p.lines, p.size = append(p.lines, open), cost(open)
			}
			p.lines, p.size = append(p.lines, piece), p.size+cost(piece)
			begun = true
		}
	}
	p.lines, p.size = append(p.lines, shut), p.size+cost(shut)
	p.pause = len(p.lines)
}

// pieces writes a line of code, in several if it is longer than a part.
func (p *packer) pieces(line string, frame int) []string {
	text := p.w.code(line)
	if p.limit == 0 || length(text)+frame+1 <= p.limit || utf8.RuneCountInString(line) < 2 {
		return []string{text}
	}
	cut := len(line) / 2
	for !utf8.RuneStart(line[cut]) {
		cut++
	}
	if cut == len(line) {
		_, cut = utf8.DecodeRuneInString(line)
	}
	return append(p.pieces(line[:cut], frame), p.pieces(line[cut:], frame)...)
}
