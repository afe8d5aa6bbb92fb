// Package qr makes QR codes, for a terminal: a network's login is often one that a
// phone has to look at.
//
// It makes codes of bytes at the lowest level of error correction, in the versions 1
// to 20, which hold up to 858 bytes, and always with mask 0: every reader takes any.
// Source: ISO/IEC 18004.
package qr

import (
	"fmt"
	"strings"
)

// maxVersion is the largest that is made.
const maxVersion = 20

// Code words for error correction in each block, and the number of blocks, by version,
// at level L.
var (
	correction = [maxVersion + 1]int{0, 7, 10, 15, 20, 26, 18, 20, 24, 30, 18, 20, 24, 26, 30, 22, 24, 28, 30, 28, 28}
	blocks     = [maxVersion + 1]int{0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 4, 4, 4, 4, 4, 6, 6, 6, 6, 7, 8}
)

// Code is a square of modules: true is dark.
type Code [][]bool

// Encode makes the code of a text.
func Encode(text string) (Code, error) {
	for v := 1; v <= maxVersion; v++ {
		counter := 8
		if v > 9 {
			counter = 16
		}
		room := modules(v)/8 - correction[v]*blocks[v]
		if 4+counter+8*len(text) <= 8*room {
			return draw(v, interleave(v, pack(text, counter, room))), nil
		}
	}
	return nil, fmt.Errorf("a text of %d bytes is too long for a QR code", len(text))
}

// modules is how many of a version are for data.
func modules(v int) int {
	n := (16*v+128)*v + 64
	if v >= 2 {
		align := v/7 + 2
		n -= (25*align-10)*align - 55
		if v >= 7 {
			n -= 36
		}
	}
	return n
}

// pack writes the text as code words: mode, length, bytes, end, padding.
func pack(text string, counter, room int) []byte {
	var bits []bool
	put := func(value, n int) {
		for i := n - 1; i >= 0; i-- {
			bits = append(bits, value>>i&1 == 1)
		}
	}
	put(4, 4)
	put(len(text), counter)
	for i := range len(text) {
		put(int(text[i]), 8)
	}
	put(0, min(4, 8*room-len(bits)))
	put(0, (8-len(bits)%8)%8)
	out := make([]byte, 0, room)
	for i := 0; i < len(bits); i += 8 {
		var b byte
		for _, bit := range bits[i : i+8] {
			b <<= 1
			if bit {
				b |= 1
			}
		}
		out = append(out, b)
	}
	for pad := byte(0xec); len(out) < room; pad ^= 0xec ^ 0x11 {
		out = append(out, pad)
	}
	return out
}

// interleave adds the error correction, and mixes the blocks.
func interleave(v int, data []byte) []byte {
	total, n := modules(v)/8, blocks[v]
	short := total/n - correction[v] // data of a short block
	long := n - total%n              // the first long one
	divisor := generator(correction[v])
	var parts, checks [][]byte
	for i := range n {
		size := short
		if i >= long {
			size++
		}
		parts = append(parts, data[:size])
		checks = append(checks, remainder(data[:size], divisor))
		data = data[size:]
	}
	out := make([]byte, 0, total)
	for i := range short + 1 {
		for _, p := range parts {
			if i < len(p) {
				out = append(out, p[i])
			}
		}
	}
	for i := range correction[v] {
		for _, c := range checks {
			out = append(out, c[i])
		}
	}
	return out
}

// multiply is that of the field GF(2^8) modulo x^8+x^4+x^3+x^2+1.
func multiply(a, b byte) byte {
	var z int
	for i := 7; i >= 0; i-- {
		z = z<<1 ^ z>>7*0x11d
		z ^= int(b>>i&1) * int(a)
	}
	return byte(z)
}

// generator is the divisor of a Reed-Solomon code, without its highest term.
func generator(degree int) []byte {
	out := make([]byte, degree)
	out[degree-1] = 1
	root := byte(1)
	for range degree {
		for j := range out {
			out[j] = multiply(out[j], root)
			if j+1 < len(out) {
				out[j] ^= out[j+1]
			}
		}
		root = multiply(root, 2)
	}
	return out
}

func remainder(data, divisor []byte) []byte {
	out := make([]byte, len(divisor))
	for _, b := range data {
		factor := b ^ out[0]
		copy(out, out[1:])
		out[len(out)-1] = 0
		for i, d := range divisor {
			out[i] ^= multiply(d, factor)
		}
	}
	return out
}

// drawing is a code in the making: fixed modules are no data.
type drawing struct {
	size        int
	dark, fixed Code
}

func square(n int) Code {
	c := make(Code, n)
	for i := range c {
		c[i] = make([]bool, n)
	}
	return c
}

func (d *drawing) set(x, y int, dark bool) { d.dark[y][x], d.fixed[y][x] = dark, true }

// draw puts the patterns and the data into a square.
func draw(v int, data []byte) Code {
	n := 17 + 4*v
	d := &drawing{n, square(n), square(n)}
	for i := range n {
		d.set(6, i, i%2 == 0)
		d.set(i, 6, i%2 == 0)
	}
	for _, at := range [][2]int{{3, 3}, {n - 4, 3}, {3, n - 4}} {
		d.finder(at[0], at[1])
	}
	at := centres(v)
	for i, x := range at {
		for j, y := range at {
			if last := len(at) - 1; i == 0 && (j == 0 || j == last) || i == last && j == 0 {
				continue // there is a finder
			}
			d.ring(x, y, 2, func(far int) bool { return far != 1 })
		}
	}
	d.format()
	d.version(v)
	d.fill(data)
	return d.dark
}

func (d *drawing) ring(x, y, radius int, dark func(far int) bool) {
	for dy := -radius; dy <= radius; dy++ {
		for dx := -radius; dx <= radius; dx++ {
			if x+dx >= 0 && x+dx < d.size && y+dy >= 0 && y+dy < d.size {
				d.set(x+dx, y+dy, dark(max(dx, -dx, dy, -dy)))
			}
		}
	}
}

func (d *drawing) finder(x, y int) {
	d.ring(x, y, 4, func(far int) bool { return far != 2 && far != 4 })
}

// centres are those of the alignment patterns, in both directions.
func centres(v int) []int {
	if v == 1 {
		return nil
	}
	n := v/7 + 2
	step := (v*8 + n*3 + 5) / (n*4 - 4) * 2
	out := make([]int, n)
	for i := range out {
		out[i] = 17 + 4*v - 7 - step*(n-1-i)
	}
	out[0] = 6
	return out
}

// format says twice which level and which mask it is.
func (d *drawing) format() {
	const level, mask = 1, 0 // L
	rest := level<<3 | mask
	for range 10 {
		rest = rest<<1 ^ rest>>9*0x537
	}
	bits := ((level<<3|mask)<<10 | rest) ^ 0x5412
	bit := func(i int) bool { return bits>>i&1 == 1 }
	for i := range 6 {
		d.set(8, i, bit(i))
	}
	d.set(8, 7, bit(6))
	d.set(8, 8, bit(7))
	d.set(7, 8, bit(8))
	for i := 9; i < 15; i++ {
		d.set(14-i, 8, bit(i))
	}
	for i := range 8 {
		d.set(d.size-1-i, 8, bit(i))
	}
	for i := 8; i < 15; i++ {
		d.set(8, d.size-15+i, bit(i))
	}
	d.set(8, d.size-8, true)
}

// version says which it is, from the seventh on.
func (d *drawing) version(v int) {
	if v < 7 {
		return
	}
	rest := v
	for range 12 {
		rest = rest<<1 ^ rest>>11*0x1f25
	}
	bits := v<<12 | rest
	for i := range 18 {
		a, b := d.size-11+i%3, i/3
		d.set(a, b, bits>>i&1 == 1)
		d.set(b, a, bits>>i&1 == 1)
	}
}

// fill writes the data in columns of two, up and down, with mask 0.
func (d *drawing) fill(data []byte) {
	i := 0
	for right := d.size - 1; right >= 1; right -= 2 {
		if right == 6 {
			right = 5
		}
		for vert := range d.size {
			for j := range 2 {
				x, y := right-j, vert
				if (right+1)&2 == 0 {
					y = d.size - 1 - vert
				}
				if d.fixed[y][x] {
					continue
				}
				dark := i < 8*len(data) && data[i/8]>>(7-i%8)&1 == 1
				d.dark[y][x] = dark != ((x+y)%2 == 0)
				i++
			}
		}
	}
}

// quiet is how wide the margin is.
const quiet = 2

// Terminal shows the code with block characters, two rows on a line, dark on light by
// colours of its own, so that the terminal's do not matter.
func (c Code) Terminal() string {
	at := func(x, y int) bool {
		x, y = x-quiet, y-quiet
		return x >= 0 && y >= 0 && x < len(c) && y < len(c) && c[y][x]
	}
	var b strings.Builder
	for y := 0; y < len(c)+2*quiet; y += 2 {
		b.WriteString("\x1b[30;107m")
		for x := range len(c) + 2*quiet {
			switch upper, lower := at(x, y), at(x, y+1); {
			case upper && lower:
				b.WriteString("█")
			case upper:
				b.WriteString("▀")
			case lower:
				b.WriteString("▄")
			default:
				b.WriteString(" ")
			}
		}
		b.WriteString("\x1b[0m\n")
	}
	return b.String()
}
