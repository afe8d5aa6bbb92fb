package main

import (
	"fmt"
	"os"

	"nanoclaw/internal/imports/importstest"
)

// oldNanoClaw is a command of the scripts: it makes an installation of NanoClaw 1 in a
// folder, of a version.
func oldNanoClaw() {
	schema, ok := map[string]string{"1.0": importstest.V1, "1.2": importstest.V12, "fork": importstest.Fork}[os.Args[2]]
	err := fmt.Errorf("no version %q", os.Args[2])
	if ok {
		err = importstest.Write(os.Args[1], schema, importstest.Rows, importstest.Files)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
