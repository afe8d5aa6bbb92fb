package service

import (
	"net"
	"strconv"
	"strings"
	"time"
)

// What a service tells its manager, sd_notify(3).
const (
	Ready    = "READY=1"
	Stopping = "STOPPING=1"
	Alive    = "WATCHDOG=1"
)

// Notify tells the manager that started this process how it stands: one datagram to
// the socket that NOTIFY_SOCKET names. Without that variable nobody wants to know.
func Notify(getenv func(string) string, states ...string) error {
	path := getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	// "@" is an abstract name; the net package writes it the same way.
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte(strings.Join(states, "\n")))
	return err
}

// WatchdogEvery is how often the manager wants to hear Alive, a third of the time
// after which it gives up (sd_watchdog_enabled(3)). It is 0 if it does not wait for
// that, or waits for another process.
func WatchdogEvery(getenv func(string) string, pid int) time.Duration {
	if of := getenv("WATCHDOG_PID"); of != "" && of != strconv.Itoa(pid) {
		return 0
	}
	us, err := strconv.ParseInt(getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || us <= 0 || us > int64(24*time.Hour/time.Microsecond) {
		return 0
	}
	return time.Duration(us) * time.Microsecond / 3
}
