// Program serves a scripted model on loopback until its input ends, for scripts that
// stand in for a person with an account. Its first line is the address.
package main

import (
	"fmt"
	"io"
	"os"

	"nanoclaw/internal/agent/scripted"
)

func main() {
	m, err := scripted.New(scripted.Puppet)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer m.Close()
	fmt.Println(m.URL)
	io.Copy(io.Discard, os.Stdin)
}
