package grant

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// aton reads an address as inet_aton(3) does: one to four parts, each decimal,
// octal with 0 or hexadecimal with 0x, the last one filling what is left.
func aton(s string) bool {
	parts := strings.Split(strings.TrimSuffix(s, "."), ".")
	if len(parts) > 4 {
		return false
	}
	for i, p := range parts {
		bits := 8
		if i == len(parts)-1 {
			bits = 8 * (5 - len(parts))
		}
		digits, base := strings.ToLower(p), 10
		switch {
		case strings.HasPrefix(digits, "0x"):
			digits, base = digits[2:], 16
			if digits == "" {
				digits = "0"
			}
		case len(digits) > 1 && digits[0] == '0':
			base = 8
		}
		if _, err := strconv.ParseUint(digits, base, bits); err != nil {
			return false
		}
	}
	return true
}

// TestEverySpellingOfAnAddress writes addresses in every way that inet_aton
// reads, one to four parts in three bases each, and none is a name.
func TestEverySpellingOfAnAddress(t *testing.T) {
	forms := []string{"%d", "0%o", "0x%x", "0X%X", "0x%08x", "000%o"}
	count := 0
	for _, a := range [][4]uint32{{127, 0, 0, 1}, {169, 254, 169, 254}, {10, 0, 0, 1}, {0, 0, 0, 0}, {192, 168, 1, 20}, {255, 255, 255, 255}} {
		for n := 1; n <= 4; n++ {
			values := make([]uint32, n)
			copy(values, a[:n])
			values[n-1] = 0
			for _, v := range a[n-1:] {
				values[n-1] = values[n-1]<<8 | v
			}
			for i := range pow(len(forms), n) {
				parts := make([]string, n)
				for j := range parts {
					parts[j] = fmt.Sprintf(forms[i%len(forms)], values[j])
					i /= len(forms)
				}
				for _, end := range []string{"", "."} {
					s := strings.Join(parts, ".") + end
					if !aton(s) {
						t.Fatalf("%s is no address", s)
					}
					if name, err := CanonicalHost(s); !errors.Is(err, ErrIPLiteral) {
						t.Fatalf("%s became the name %q, %v", s, name, err)
					}
					count++
				}
			}
		}
	}
	if count < 10_000 {
		t.Errorf("only %d spellings", count)
	}
}

func pow(b, n int) int {
	out := 1
	for range n {
		out *= b
	}
	return out
}

// FuzzHostIsNoAddress: what is accepted as a name is no address to inet_aton.
func FuzzHostIsNoAddress(f *testing.F) {
	for _, s := range []string{"127.1", "0x7f.1", "017700000001", "0x", "1.2.3.4.5", "08.1", "0x7f.0.0.0x", "a.0x1g", "2130706433."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if name, err := CanonicalHost(s); err == nil && (aton(name) || aton(s)) {
			t.Fatalf("%q became the name %q, which inet_aton takes for an address", s, name)
		}
	})
}

// FuzzEntries: an entry of an egress list stands for lines that match themselves
// and what they say, and a deny list made of the same entry refuses at least that.
func FuzzEntries(f *testing.F) {
	for _, s := range []string{"example.com", "*.example.com:8443", "@git", "*.co.uk", "*", "EXAMPLE.com.:80", "a..b", "x.1", "*.*.a.b"} {
		f.Add(s, "a.example.com")
	}
	f.Fuzz(func(t *testing.T, entry, host string) {
		hosts, err := ParseHost(entry)
		if err != nil {
			return
		}
		denied, err := ParseDeny(entry)
		if err != nil {
			t.Fatalf("%q can be granted and not denied: %v", entry, err)
		}
		for _, h := range hosts {
			for _, name := range []string{sample(h.Pattern), host} {
				got, ok := Match(hosts, name, h.Port)
				if name != host && (!ok || got.key() != h.key()) {
					t.Fatalf("%q: %s does not match %s", entry, h.key(), name)
				}
				if _, no := Denies(denied, name, h.Port); ok && !no {
					t.Fatalf("%q grants %s:%d and, as a denial, lets it pass", entry, name, h.Port)
				}
			}
		}
	})
}
