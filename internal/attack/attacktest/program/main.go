// Program plays the attacker in tests, and with attacktest.StageArg the control
// arm. It is a program of its own so that it is the same whatever the test binary
// was built with.
package main

import (
	"fmt"
	"os"

	"nanoclaw/internal/attack/attacktest"
	"nanoclaw/internal/attack/inside"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == inside.Verb {
		os.Exit(inside.Main(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == attacktest.StageArg {
		if err := stage(); err != nil {
			fmt.Fprintln(os.Stderr, "the control arm:", err)
			os.Exit(1)
		}
		return
	}
	fmt.Fprintln(os.Stderr, "this program is for tests")
	os.Exit(2)
}
