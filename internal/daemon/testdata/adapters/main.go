// Adapters is a process with channels and nothing else, for BenchmarkIdleAdapters: what
// the daemon keeps of a chat is in its store, and here in nobody's. Its arguments are
// KIND, ADDRESS, APP TOKEN and BOT TOKEN of each.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/channel/discord"
	"nanoclaw/internal/channel/slack"
	"nanoclaw/internal/channel/telegram"
	"nanoclaw/internal/chat"
)

type nobody struct{}

func (nobody) Receive(context.Context, chat.Inbound) error { return nil }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var all sync.WaitGroup
	for args := os.Args[1:]; len(args) >= 4; args = args[4:] {
		var c channel.Channel
		switch api, app, bot := args[1], args[2], args[3]; args[0] {
		case "slack":
			c = slack.New(slack.Options{API: api, App: app, Bot: bot})
		case "telegram":
			c = telegram.New(telegram.Options{API: api, Bot: bot})
		case "discord":
			c = discord.New(discord.Options{API: api, Bot: bot})
		}
		all.Go(func() {
			if err := c.Run(ctx, nobody{}); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		})
	}
	fmt.Println("ready")
	all.Wait()
}
