package attack

import "nanoclaw/internal/seatbelt"

// macLines are the lines of macOS. Their attempts are package seatbelt's: what
// can be tried on a Mac, and asked of the profile anywhere.
func macLines() []Line {
	var out []Line
	for _, a := range seatbelt.Attacks(seatbelt.Places{}) {
		id := a.ID[:4] // a letter follows where a line is tried in more ways
		if n := len(out); n > 0 && out[n-1].ID == id {
			out[n-1].Tries += "; " + a.What
			continue
		}
		out = append(out, Line{ID: id, Tries: a.What, Want: a.Expected, Shown: []string{"seatbelt · TestCatalogue"}})
	}
	return out
}
