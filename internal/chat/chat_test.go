package chat

import "testing"

func TestParseGroup(t *testing.T) {
	tests := []struct {
		name string
		ok   bool
	}{
		{"main", true}, {"family", true}, {"work-2", true}, {"a_b", true}, {"2nd", true},
		{"", false}, {".", false}, {"..", false}, {"a/b", false}, {"-x", false}, {"_x", false}, {"Family", false},
		{"MAIN", false}, {"main ", false}, {"ma\u0456n", false}, {"mаin", false}, // Cyrillic letters that look Latin
		{"global", false}, {"all", false}, {"a\x00b", false}, {"a b", false},
		{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", true}, {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
	}
	for _, tt := range tests {
		g, err := ParseGroup(tt.name)
		if (err == nil) != tt.ok {
			t.Errorf("ParseGroup(%q) = %q, %v", tt.name, g, err)
		}
		if err == nil && string(g) != tt.name {
			t.Errorf("ParseGroup(%q) changed it to %q", tt.name, g)
		}
	}
}

func TestAddress(t *testing.T) {
	a := Address{"slack", "T1:C2"} // a chat may hold a colon, a channel may not
	got, err := ParseAddress(a.String())
	if err != nil || got != a {
		t.Errorf("got %v, %v; want %v", got, err, a)
	}
	for _, s := range []string{"", "console", ":x", "console:"} {
		if _, err := ParseAddress(s); err == nil {
			t.Errorf("%q was taken for an address", s)
		}
	}
}

func TestIDsDiffer(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		for _, id := range []string{string(NewRunID()), string(NewSessionID())} {
			if len(id) != 11 || seen[id] {
				t.Fatalf("%q came twice or is no id", id)
			}
			seen[id] = true
		}
	}
}
