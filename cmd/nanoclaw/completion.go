package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"nanoclaw/internal/config"
)

// names gives what a word on the command line can be, from the configuration or from
// what the program knows itself. No daemon is asked and nothing is started: a shell
// asks at each key.
type names func(c *config.Config) []string

// words of the program's own.
func fixed(words ...string) names { return func(*config.Config) []string { return words } }

func groupNames(c *config.Config) []string    { return slices.Sorted(maps.Keys(c.Groups)) }
func serverNames(c *config.Config) []string   { return slices.Sorted(maps.Keys(c.MCPServers)) }
func providerNames(c *config.Config) []string { return slices.Sorted(maps.Keys(c.Providers)) }
func webhookNames(c *config.Config) []string {
	return slices.Sorted(maps.Keys(c.Channels.Webhook.Hooks))
}
func channelNames(c *config.Config) []string {
	return append(networkNames(), slices.Sorted(maps.Keys(c.Channels.External))...)
}

// argumentNames are what the first argument of a verb can be.
func argumentNames() map[string]names {
	return map[string]names{
		"group set": groupNames, "group remove": groupNames, "group mount add": groupNames, "group mount remove": groupNames,
		"group egress add": groupNames, "group egress remove": groupNames,
		"channel login": channelNames, "channel logout": channelNames, "channel test": channelNames,
		"mcp test": serverNames, "mcp pin": serverNames, "webhook secret": webhookNames, "webhook remove": webhookNames,
	}
}

// flagNames are what the value of a flag can be, in every verb that has it and says
// nothing else.
func flagNames() map[string]names {
	modes := fixed("host", "container")
	return map[string]names{
		"group": groupNames, "provider": providerNames, "mode": modes, "trigger": fixed("mention", "always"),
		"agent": fixed("auto", "claude", "shell"), "effort": fixed("low", "medium", "high", "xhigh", "max"),
		"boundary": fixed("native", "bubblewrap", "srt", "seatbelt", "podman", "docker", "apple-container"),
		"render":   fixed("native", "bubblewrap", "srt", "seatbelt"), "permission-mode": fixed("bypass", "ask"),
		"confirm": fixed("each", "session", "never"), "missed": fixed("skip", "once", "all"), "overlap": fixed("skip", "queue"),
		"context": fixed("group", "isolated"),
	}
}

// complete gives the verbs below root what a shell can offer for them.
func (a *app) complete(root *cobra.Command) {
	arguments, flags := argumentNames(), flagNames()
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		path := strings.TrimPrefix(cmd.CommandPath(), root.Name()+" ")
		if of, ok := arguments[path]; ok {
			cmd.ValidArgs, cmd.ValidArgsFunction = nil, func(_ *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
				if len(args) > 0 { // what follows is a folder, or new
					return nil, cobra.ShellCompDirectiveDefault
				}
				return a.offer(of, begin)
			}
		}
		for name, of := range flags {
			if _, said := cmd.GetFlagCompletionFunc(name); cmd.LocalFlags().Lookup(name) == nil || said {
				continue
			}
			if err := cmd.RegisterFlagCompletionFunc(name, func(_ *cobra.Command, _ []string, begin string) ([]string, cobra.ShellCompDirective) {
				return a.offer(of, begin)
			}); err != nil {
				panic(err) // a mistake in this file: the flag is there
			}
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(root)
}

// offer gives the names that begin as the word does, and no files.
func (a *app) offer(of names, begin string) ([]string, cobra.ShellCompDirective) {
	var fitting []string
	for _, name := range of(a.configForNames()) {
		if strings.HasPrefix(name, begin) {
			fitting = append(fitting, name)
		}
	}
	return fitting, cobra.ShellCompDirectiveNoFileComp
}

// configForNames is the configuration, or what holds without one: a shell that
// completes a word is not told of mistakes in it.
func (a *app) configForNames() *config.Config {
	if p, err := a.paths(); err == nil {
		if c, err := a.loadConfig(p); err == nil {
			return c
		}
	}
	c := config.Default()
	return &c
}
