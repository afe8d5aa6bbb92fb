package web

import (
	"fmt"
	"strings"
	"time"

	"nanoclaw/internal/control"
	"nanoclaw/internal/grant"
)

// dollars writes millionths of a dollar.
func dollars(micros int64) string {
	if micros > 0 && micros < 10_000 {
		return "less than $0.01"
	}
	return fmt.Sprintf("$%.2f", float64(micros)/1e6)
}

// used says of an account what it used of what it may.
func used(b control.CostBudget) string {
	part := func(now, most string, bound bool) string {
		if bound {
			return now + " of " + most
		}
		return now
	}
	words := []string{
		part(fmt.Sprint(b.Runs), fmt.Sprint(b.MaxRuns), b.MaxRuns > 0) + " runs",
		part(fmt.Sprint(b.Tokens), fmt.Sprint(b.MaxTokens), b.MaxTokens > 0) + " tokens",
		part(dollars(b.Micros), dollars(b.MaxMicros), b.MaxMicros > 0),
	}
	if b.Extended {
		words = append(words, "which you extended for today")
	}
	return strings.Join(words, ", ")
}

// limits are those of a session that bound something, in words.
func limits(l grant.Limits) (out []string) {
	add := func(bound bool, format string, args ...any) {
		if bound {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	add(l.RunTime > 0, "a run takes %s at most", span(l.RunTime))
	add(l.IdleTime > 0, "a session waits %s for the next message", span(l.IdleTime))
	add(l.Memory > 0, "%s of memory, of all its processes together", size(l.Memory))
	add(l.CPUs > 0, "%d processors", l.CPUs)
	add(l.CPUTime > 0, "%s of processor time", span(l.CPUTime))
	add(l.Processes > 0, "%d processes, each with %d open files", l.Processes, l.OpenFiles)
	add(l.Disk > 0, "%s on the disk, %s in a file, %s in /tmp", size(l.Disk), size(l.FileSize), size(l.TmpSize))
	add(l.Output > 0, "%s of answer", size(l.Output))
	add(l.ToolCalls > 0, "%d calls of tools in a run", l.ToolCalls)
	return out
}

// span is a duration without the zeros of its end.
func span(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// size is a number of bytes, in the largest unit of 1024 that it fills.
func size(n int64) string {
	for _, u := range []struct {
		name  string
		bytes int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.bytes {
			return strings.TrimSuffix(fmt.Sprintf("%.1f", float64(n)/float64(u.bytes)), ".0") + " " + u.name
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
