package config

import "time"

// Duration is a span of time, written "90s", "30m", "2h".
type Duration time.Duration

// Size is a number of bytes, written "512KB", "10MB", "2GB" (powers of 1024).
type Size int64
