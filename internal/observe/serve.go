package observe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/netutil"

	"nanoclaw/internal/control"
)

// Bounds of the listener.
const (
	maxConns   = 16
	maxHead    = 8 << 10
	readTime   = 5 * time.Second
	answerTime = 30 * time.Second
	idleTime   = time.Minute
	closeTime  = 2 * time.Second
	// healthFor is how long a look at the health is good for, so that who asks all the
	// time does not make the daemon look all the time.
	healthFor = 2 * time.Second
)

// Options are what a listener is made of.
type Options struct {
	Metrics *Metrics
	Health  func(context.Context) (control.Health, error)
	Log     *slog.Logger
}

// Serve answers at a listener until ctx ends: /metrics, /healthz, which says that the
// daemon lives, and /readyz, which says whether it can do its work. It closes l.
func Serve(ctx context.Context, l net.Listener, o Options) error {
	s := &http.Server{
		Handler: Handler(l.Addr(), o), MaxHeaderBytes: maxHead, ReadHeaderTimeout: readTime, ReadTimeout: readTime,
		WriteTimeout: answerTime, IdleTimeout: idleTime, ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
		defer cancel()
		if s.Shutdown(bounded) != nil {
			s.Close()
		}
	})
	defer stop()
	err := s.Serve(netutil.LimitListener(l, maxConns))
	if ctx.Err() != nil && errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Handler answers requests that come to an address.
func Handler(addr net.Addr, o Options) http.Handler {
	h := &health{ask: o.Health}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		var b strings.Builder
		if err := o.Metrics.Write(r.Context(), &b); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = io.WriteString(w, b.String()) // whoever asked may be gone
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		got, err := h.get(r.Context())
		if err != nil {
			http.Error(w, "not ready", http.StatusServiceUnavailable)
			return
		}
		ready(w, got)
	})
	return guard(addr, mux)
}

// ready answers with a line for each check and no more: the words of a check are for the
// owner, and nanoclaw health has them.
func ready(w http.ResponseWriter, h control.Health) {
	status, word := http.StatusOK, "ready"
	if !h.Ready {
		status, word = http.StatusServiceUnavailable, "not ready"
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	for _, c := range h.Checks {
		fmt.Fprintf(w, "%s %s\n", c.State, c.Name)
	}
	fmt.Fprintln(w, word)
}

// health remembers for a moment what was found.
type health struct {
	ask func(context.Context) (control.Health, error)

	mu    sync.Mutex // held while asking: who comes meanwhile gets the same answer
	last  control.Health
	until time.Time
}

func (h *health) get(ctx context.Context) (control.Health, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Now().Before(h.until) {
		return h.last, nil
	}
	got, err := h.ask(context.WithoutCancel(ctx)) // it is for all who wait
	if err == nil {
		h.last, h.until = got, time.Now().Add(healthFor)
	}
	return got, err
}

// guard lets requests through that a program of this machine makes for us. A page in a
// browser is none, also where somebody's name points to our address.
func guard(addr net.Addr, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		switch {
		case !ours(addr, r.Host):
			http.Error(w, "this is not called "+strconv.Quote(r.Host), http.StatusMisdirectedRequest)
		case r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "":
			http.Error(w, "nothing here is for a browser", http.StatusForbidden)
		case r.Method != http.MethodGet:
			h.Set("Allow", http.MethodGet)
			http.Error(w, "only GET is answered", http.StatusMethodNotAllowed)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// ours says whether a request names us. At a socket there is no name, and no browser.
func ours(addr net.Addr, host string) bool {
	a, ok := addr.(*net.TCPAddr)
	if !ok {
		return true
	}
	port := strconv.Itoa(a.Port)
	return slices.Contains([]string{net.JoinHostPort(a.IP.String(), port), net.JoinHostPort("localhost", port)}, strings.ToLower(host))
}
