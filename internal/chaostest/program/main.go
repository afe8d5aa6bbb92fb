// Program runs chaostest for as long as asked, by hand: make chaos. CHAOS_SEED
// chooses what happens, CHAOS_SECONDS how long it goes on at random.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"time"

	"nanoclaw/internal/chaostest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := chaos(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

func chaos(ctx context.Context) error {
	seed, err := number("CHAOS_SEED", uint64(time.Now().UnixNano()))
	if err != nil {
		return err
	}
	seconds, err := number("CHAOS_SECONDS", 60)
	if err != nil {
		return err
	}
	dir, err := chaostest.ShortDir()
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "CHAOS_SEED=%d, in %s\n", seed, dir)
	program, err := chaostest.Build(ctx, ".", dir, "chaos")
	if err != nil {
		return err
	}
	r, err := chaostest.Run(ctx, chaostest.Options{
		Program: program, Claude: os.Getenv("NANOCLAW_TEST_CLAUDE"), Dir: dir, Seed: seed, Length: time.Duration(seconds) * time.Second,
		Sides: []string{"before", "after"}, Faults: chaostest.AllFaults(), Log: os.Stderr,
	})
	if err != nil {
		return fmt.Errorf("%w; CHAOS_SEED=%d does it again, and %s is kept", err, seed, dir)
	}
	fails := r.Failures()
	for _, f := range fails {
		fmt.Println(f)
	}
	fmt.Println(r)
	fmt.Println(r.Line())
	if len(fails) > 0 {
		return fmt.Errorf("%d failures; CHAOS_SEED=%d does it again, and %s is kept", len(fails), seed, dir)
	}
	return os.RemoveAll(dir)
}

// number reads a variable.
func number(name string, fallback uint64) (uint64, error) {
	text := os.Getenv(name)
	if text == "" {
		return fallback, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s is to be a number: %w", name, err)
	}
	return n, nil
}
