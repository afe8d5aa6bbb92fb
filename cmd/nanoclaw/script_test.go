package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"nanoclaw": main})
}

// The scripts run the real program, each with a home of its own.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("NANOCLAW_HOME", e.WorkDir+"/home")
			e.Setenv("HOME", e.WorkDir)
			return nil
		},
	})
}
