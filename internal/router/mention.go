package router

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Addressed says whether a text calls the assistant: it begins with "@" and
// the name, in any case, and the name ends there. Both are compared in Unicode
// normal form KC, so that "é" typed as two characters, or a full-width "＠",
// is the same; case is folded rune by rune.
//
// Where the name ends is plain for most names: the next character is no letter,
// digit or mark. A name that ends in punctuation ends by itself. So does one in
// a script that writes no spaces between words.
func Addressed(text, name string) bool {
	text = norm.NFKC.String(strings.TrimSpace(text))
	name = norm.NFKC.String(strings.TrimSpace(name))
	rest, ok := strings.CutPrefix(text, "@")
	if !ok || name == "" {
		return false
	}
	rest, ok = cutFold(rest, name)
	if !ok {
		return false
	}
	last, _ := utf8.DecodeLastRuneInString(name)
	if !wordRune(last) || unicode.In(last, unspaced...) {
		return true
	}
	next, size := utf8.DecodeRuneInString(rest)
	return size == 0 || !wordRune(next)
}

// unspaced are scripts that put no space between words.
var unspaced = []*unicode.RangeTable{
	unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar,
}

func wordRune(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) || r == '_'
}

// cutFold cuts prefix off s, ignoring case.
func cutFold(s, prefix string) (string, bool) {
	n := 0
	for range prefix {
		_, size := utf8.DecodeRuneInString(s[n:])
		if size == 0 {
			return s, false
		}
		n += size
	}
	return s[n:], strings.EqualFold(s[:n], prefix)
}
