package main

import (
	"fmt"
	"os"
	"strings"
)

// inside fails unless this process is in user, mount and PID namespaces that
// are not the host's.
func inside(outside string) error {
	seen := 0
	for _, pair := range strings.Fields(outside) {
		kind, host, _ := strings.Cut(pair, "=")
		own, err := os.Readlink("/proc/self/ns/" + kind)
		if err != nil {
			return err
		}
		if own == host {
			return fmt.Errorf("its %s namespace is the host's", kind)
		}
		switch kind {
		case "user", "mnt", "pid":
			seen++
		}
	}
	if seen != 3 {
		return fmt.Errorf("nobody said which namespaces are the host's")
	}
	return nil
}
