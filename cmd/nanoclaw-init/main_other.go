//go:build !linux && !darwin

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "nanoclaw-init runs on Linux and macOS only")
	os.Exit(2)
}
