package qr

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

// Codes of these texts, one for each shape of a code (alignment, version, blocks), were
// read back by another program's decoder when they were written down.
func TestEncode(t *testing.T) {
	tests := []struct {
		bytes, size int
		want        string
	}{
		{1, 21, "6a462a27543a"}, {17, 21, "996624d1c715"}, {18, 25, "81196a2f0b01"}, {106, 37, "e04f62fcb129"}, {154, 45, "1b44061f9ae8"}, {192, 49, "ee4fa37be6dd"}, {240, 57, "dedc76661622"}, {271, 57, "98958f41908c"}, {700, 89, "115e8b58b51c"}, {858, 97, "b9cd996f3427"},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.bytes), func(t *testing.T) {
			c, err := Encode(strings.Repeat("WhatsApp,2@+/=", 70)[:tt.bytes])
			if err != nil {
				t.Fatal(err)
			}
			if len(c) != tt.size {
				t.Errorf("it is %d wide, want %d", len(c), tt.size)
			}
			sum := sha256.Sum256([]byte(c.Terminal()))
			if got := hex.EncodeToString(sum[:6]); got != tt.want {
				t.Errorf("the code is %s, want %s", got, tt.want)
			}
		})
	}
	if _, err := Encode(strings.Repeat("x", 859)); err == nil {
		t.Error("a text that is too long became a code")
	}
}
