// Package hostlog is what the daemon writes about itself, in files that are bounded,
// and the reading of it, also while it is written.
//
// Each line is an object of JSON as log/slog writes it, with the run and the group
// that it is about where there is one. Trust: texts of agents and of strangers occur in
// the values, so whoever shows a line has to take out of it what a terminal obeys;
// Line.Text does. Credentials are taken out before a line is written. The folder is the
// owner's alone and in no grant.
package hostlog

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"gopkg.in/natefinch/lumberjack.v2"
)

// Bounds of the files. The oldest is removed for a new one.
const (
	maxSize  = 8  // MB of a file
	maxFiles = 4  // files beside the one that is written
	maxAge   = 30 // days
)

// name is the file that is written. Older ones have the time at which they were put
// aside in their names, which so have the order of their age (lumberjack).
const name = "nanoclaw.log"

// Folder is where in a data folder the files are.
func Folder(dataDir string) string { return filepath.Join(dataDir, "log") }

// File is the one in it that is written.
func File(dir string) string { return filepath.Join(dir, name) }

// Open makes the folder, with mode 0700, and gives the handler that writes lines from a
// level on. clean is asked for each text before it is written. A line that cannot be
// written is lost: the daemon goes on, and says all of it to its standard error too.
func Open(dir string, level slog.Leveler, clean func(string) string) (slog.Handler, io.Closer, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("the folder of the log: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("the folder of the log: %w", err)
	}
	w := &lumberjack.Logger{Filename: File(dir), MaxSize: maxSize, MaxBackups: maxFiles, MaxAge: maxAge}
	h := slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		switch v := a.Value.Any().(type) {
		case time.Duration: // as people read it, and not in nanoseconds
			a.Value = slog.StringValue(v.String())
		case string:
			a.Value = slog.StringValue(clean(v))
		case error:
			a.Value = slog.StringValue(clean(v.Error()))
		case fmt.Stringer:
			if a.Value.Kind() == slog.KindAny {
				a.Value = slog.StringValue(clean(v.String()))
			}
		}
		return a
	}})
	return h, w, nil
}
