//go:build linux || darwin

package boundary

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"nanoclaw/internal/wire"
)

// maxReport bounds a probe's report, in bytes.
const maxReport = 1 << 20

// report reads what the probe says. It comes from inside: bounded, and made
// plain.
func (p *Process) report(ctx context.Context) (wire.ProbeReport, error) {
	var report wire.ProbeReport
	go func() { p.Stdin.Close() }()
	words := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(io.LimitReader(p.Stderr, 4<<10))
		words <- b
		io.Copy(io.Discard, p.Stderr)
	}()
	out, err := io.ReadAll(io.LimitReader(p.Stdout, maxReport+1))
	if err != nil {
		return report, err
	}
	if len(out) > maxReport {
		return report, errors.New("it is too long")
	}
	end, err := p.Wait(ctx)
	if err != nil {
		return report, err
	}
	if end.Code != 0 {
		return report, fmt.Errorf("it ended with code %d, signal %d: %s", end.Code, end.Signal, plain(string(<-words)))
	}
	if err := json.NewDecoder(bytes.NewReader(out)).Decode(&report); err != nil {
		return report, err
	}
	for i := range report.Attempts {
		a := &report.Attempts[i]
		a.Name, a.Detail, a.Known = plain(a.Name), plain(a.Detail), ""
	}
	return report, nil
}
