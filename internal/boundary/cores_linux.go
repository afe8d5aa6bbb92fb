package boundary

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// cores refuses a limit on cores of 0 where it would not hold. Sessions have 1, for
// which no handler of crashes is started (see confine's rules about cores), but a
// limit that is 0 and hard cannot be raised to it. That is as good where cores are
// files, since none is written; where core_pattern names a handler, a program or a
// socket, any crash inside would start it, outside of all namespaces.
func cores(limit uint64, pattern func() ([]byte, error)) error {
	if limit != 0 {
		return nil
	}
	text, err := pattern()
	if err == nil && !strings.HasPrefix(string(text), "|") && !strings.HasPrefix(string(text), "@") {
		return nil
	}
	if err == nil {
		err = errors.New("the hard limit on cores is 0, for which the kernel hands crashes to " + strings.TrimSpace(string(text)))
	} else {
		err = fmt.Errorf("the hard limit on cores is 0, and where crashes go is not known: %w", err)
	}
	return &StartError{Step: "limits", Err: err,
		Hint: "Start nanoclaw with a hard limit on cores of 1 or more (in a unit of systemd LimitCORE=1; under a shell, what set \"ulimit -c 0\")."}
}

// corePattern is where the kernel says what becomes of a core: core(5).
func corePattern() ([]byte, error) { return os.ReadFile("/proc/sys/kernel/core_pattern") }
