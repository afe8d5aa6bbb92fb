// Program runs chaostest for as long as asked, by hand. "chaos" kills: CHAOS_SEED
// chooses what happens, CHAOS_SECONDS how long it goes on at random, and with
// CHAOS_DATABASE=postgres it is three nodes that share a database. "soak FILE"
// does not, for SOAK_SECONDS, and writes FILE.csv and FILE.svg.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"time"

	"nanoclaw/internal/chaostest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := errors.New("say chaos, or soak FILE")
	switch {
	case len(os.Args) == 2 && os.Args[1] == "chaos":
		err = chaos(ctx)
	case len(os.Args) == 3 && os.Args[1] == "soak":
		err = soak(ctx, os.Args[2])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// prepare reads the seed and the length, and builds the program into a folder.
func prepare(ctx context.Context, what string) (o chaostest.Options, err error) {
	seed, err := number("CHAOS_SEED", uint64(time.Now().UnixNano()))
	if err != nil {
		return o, err
	}
	seconds, err := number(what, 60)
	if err != nil {
		return o, err
	}
	dir, err := chaostest.ShortDir()
	if err != nil {
		return o, err
	}
	fmt.Fprintf(os.Stderr, "CHAOS_SEED=%d, in %s\n", seed, dir)
	program, err := chaostest.Build(ctx, ".", dir, "chaos")
	return chaostest.Options{Program: program, Dir: dir, Seed: seed, Length: time.Duration(seconds) * time.Second, Log: os.Stderr}, err
}

func chaos(ctx context.Context) error {
	o, err := prepare(ctx, "CHAOS_SECONDS")
	if err != nil {
		return err
	}
	switch database := os.Getenv("CHAOS_DATABASE"); database {
	case "", "sqlite":
	case "postgres":
		r, err := chaostest.RunNodes(ctx, o)
		return tell(o, r.Failures(), r.String(), r.Line(), err)
	default:
		return fmt.Errorf("CHAOS_DATABASE is %q, and not sqlite or postgres", database)
	}
	o.Claude, o.Sides, o.Faults = os.Getenv("NANOCLAW_TEST_CLAUDE"), []string{"before", "after"}, chaostest.AllFaults()
	r, err := chaostest.Run(ctx, o)
	return tell(o, r.Failures(), r.String(), r.Line(), err)
}

func soak(ctx context.Context, file string) error {
	o, err := prepare(ctx, "SOAK_SECONDS")
	if err != nil {
		return err
	}
	s, err := chaostest.Soak(ctx, o)
	if err == nil {
		err = errors.Join(write(file+".csv", s.Samples, chaostest.WriteCSV), write(file+".svg", s.Samples, chaostest.WriteSVG))
	}
	return tell(o, append(s.Failures(), s.Grew...), s.Table, s.Line(), err)
}

func write(name string, all []chaostest.Sample, as func(io.Writer, []chaostest.Sample) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(as(f, all), f.Close())
}

// tell prints what came of it, the figure last, and removes the folder unless it
// is needed.
func tell(o chaostest.Options, fails []string, rest, line string, err error) error {
	if err == nil {
		for _, f := range fails {
			fmt.Println(f)
		}
		fmt.Printf("%s\n%s\n", rest, line)
		if len(fails) == 0 {
			return os.RemoveAll(o.Dir)
		}
		err = fmt.Errorf("%d failures", len(fails))
	}
	return fmt.Errorf("%w; CHAOS_SEED=%d chooses the same again, and %s is kept", err, o.Seed, o.Dir)
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
