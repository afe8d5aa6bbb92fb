package daemon

import (
	"bytes"
	"os"
	"testing"
)

// TestReleaseProgram: the pages of the program that were let go are the same
// when they come back.
func TestReleaseProgram(t *testing.T) {
	table := []byte(entitled) // read before, so that its page is there
	if n := releaseProgram(); n == 0 {
		smaps, err := os.ReadFile("/proc/self/smaps")
		t.Fatalf("nothing was let go of: %v\n%.2000s", err, smaps)
	}
	if !bytes.Equal(table, []byte(entitled)) {
		t.Error("a constant changed")
	}
	if n := releaseProgram(); n == 0 {
		t.Error("the second time nothing was let go of")
	}
}

// entitled lies in the read-only data of the test's program.
const entitled = "what lies in the program file is read again from it, and is as it was before"
