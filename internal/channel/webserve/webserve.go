// Package webserve is the HTTP listener behind which programs reach the host: for
// webhooks, and for the HTTP API.
//
// It promises that nothing which comes over it grows without a bound (connections,
// heads, the time that a request may take), and that what a browser sends on behalf of
// a page reaches no handler: a request for another name than the listener's own, which
// is how a page gets at a loopback address by a name of its own (DNS rebinding), and one
// with an Origin. Who sent a request, and what it may do, is for the handlers.
//
// It speaks plain HTTP and is meant for loopback. Whoever wants it reached from
// elsewhere puts a proxy with TLS before it and names the host that this passes on.
package webserve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/netutil"
)

// Bounds.
const (
	maxConns  = 64 // connections at once; more wait to be accepted
	maxHead   = 16 << 10
	headTime  = 5 * time.Second
	readTime  = 30 * time.Second
	idleTime  = time.Minute
	closeTime = 3 * time.Second

	// WaitTime is the longest that a handler may take to answer.
	WaitTime = time.Minute
)

// Options are how requests are taken.
type Options struct {
	// Listen is an address and a port, such as 127.0.0.1:8377.
	Listen string
	// Hosts are further names for which requests are taken, with their port if it is
	// not the usual one.
	Hosts []string
	Log   *slog.Logger
}

// Listen opens the listener.
func Listen(ctx context.Context, o Options) (net.Listener, error) {
	var c net.ListenConfig
	l, err := c.Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("listening for webhooks and the API on %s: %w", o.Listen, err)
	}
	return netutil.LimitListener(l, maxConns), nil
}

// Serve serves until ctx ends. It closes l.
func Serve(ctx context.Context, l net.Listener, o Options, h http.Handler) error {
	s := &http.Server{
		Handler: Guard(l.Addr(), o.Hosts, h), MaxHeaderBytes: maxHead, ReadHeaderTimeout: headTime, ReadTimeout: readTime,
		WriteTimeout: readTime + WaitTime, IdleTimeout: idleTime, ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
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
	err := s.Serve(l)
	if ctx.Err() != nil && errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Guard lets requests through that are for this listener and come from no page.
func Guard(addr net.Addr, hosts []string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !forUs(r.Host, addr, hosts):
			Refuse(w, http.StatusMisdirectedRequest, "this is no host of that name: see channels.webhook.hosts")
		case r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "":
			Refuse(w, http.StatusForbidden, "nothing here is for a browser")
		default:
			w.Header().Set("X-Content-Type-Options", "nosniff")
			w.Header().Set("Cache-Control", "no-store")
			next.ServeHTTP(w, r)
		}
	})
}

// forUs says whether a request's host is one of ours: a name of the configuration, or
// the very address on which we listen. On loopback it may be called localhost.
func forUs(host string, addr net.Addr, hosts []string) bool {
	if slices.ContainsFunc(hosts, func(h string) bool { return strings.EqualFold(h, host) }) {
		return true
	}
	own, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return false
	}
	name, port, err := net.SplitHostPort(host)
	if err != nil || port != fmt.Sprint(own.Port()) {
		return false
	}
	if strings.EqualFold(name, "localhost") {
		return own.Addr().IsLoopback()
	}
	a, err := netip.ParseAddr(name)
	return err == nil && a == own.Addr()
}

// Refuse answers with words.
func Refuse(w http.ResponseWriter, status int, words string) {
	Answer(w, status, map[string]string{"error": words})
}

// Answer answers with a value.
func Answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // whoever asked may be gone
}
