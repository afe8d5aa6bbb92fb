// Program plays the attacker in tests, and with attacktest.StageArg the control
// arm; with "table" it makes a table of reports on its standard input. It is a program of its own so that it is the same whatever the test binary
// was built with.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"nanoclaw/internal/attack"
	"nanoclaw/internal/attack/attacktest"
	"nanoclaw/internal/attack/inside"
)

// table writes reports, as the tests keep them, as a table.
func table(from io.Reader, to io.Writer) error {
	var reports []attack.Report
	for d := json.NewDecoder(from); ; {
		var r attack.Report
		if err := d.Decode(&r); err == io.EOF {
			return attack.WriteTable(to, reports)
		} else if err != nil {
			return err
		}
		reports = append(reports, r)
	}
}

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
	if len(os.Args) > 1 && os.Args[1] == "table" {
		if err := table(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "the table:", err)
			os.Exit(1)
		}
		return
	}
	fmt.Fprintln(os.Stderr, "this program is for tests")
	os.Exit(2)
}
