package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// What completion knows is about verbs and flags that are there.
func TestCompletionNamesWhatExists(t *testing.T) {
	flags := map[string]bool{}
	root := newApp().root()
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		for name := range flagNames() {
			flags[name] = flags[name] || cmd.LocalFlags().Lookup(name) != nil
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(root)
	for name, there := range flags {
		if !there {
			t.Errorf("no verb has the flag --%s", name)
		}
	}
	for path := range argumentNames() {
		if cmd, _, err := root.Find(strings.Fields(path)); err != nil || cmd.CommandPath() != "nanoclaw "+path || cmd.ValidArgsFunction == nil {
			t.Errorf("there is no verb %q, or it is not completed (%v)", path, err)
		}
	}
}
