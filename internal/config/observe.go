package config

import (
	"net/netip"
	"net/url"
	"strings"
)

// Observe says who may see in numbers how the daemon is. All of it is off unless it is
// set, and none of it holds what people or agents say.
type Observe struct {
	// Metrics is where the daemon is asked for metrics in the format of Prometheus, and
	// whether it is ready: a port of this machine's loopback, as "127.0.0.1:9464", which
	// every user of this machine reaches, or "unix" for metrics.sock beside the control
	// socket, which you alone do. Empty: nowhere.
	Metrics string `json:"metrics"`
	// Traces is the collector of OpenTelemetry that gets a trace of each run, by OTLP
	// over HTTP: "http://127.0.0.1:4318", or one elsewhere by https. It learns when each
	// part of a run began and ended, in which group, and how. Empty: none.
	Traces string `json:"traces"`
}

// MetricsSocket is the value of Metrics for a socket.
const MetricsSocket = "unix"

func (v *validator) observe(o Observe) {
	v.traces(o.Traces)
	if o.Metrics == "" || o.Metrics == MetricsSocket {
		return
	}
	a, err := netip.ParseAddrPort(o.Metrics)
	if err != nil || a.Port() == 0 || !a.Addr().IsLoopback() || a.Addr().Zone() != "" {
		v.add(at("observe", "metrics"), `an address of loopback and a port, as 127.0.0.1:9464, or "unix"`, quote(o.Metrics),
			"for other machines put a proxy with a login before it")
	}
}

// tracesPath is where a collector takes traces, if the address does not say.
const tracesPath = "/v1/traces"

// TracesURL is the whole address of Traces, "" for none.
func (o Observe) TracesURL() string {
	u, err := url.Parse(o.Traces)
	if o.Traces == "" || err != nil {
		return ""
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = tracesPath
	}
	return u.String()
}

func (v *validator) traces(s string) {
	if s == "" {
		return
	}
	u, err := url.Parse(s)
	plain := err == nil && u.Scheme == "http" && loopback(u.Hostname())
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || !plain && u.Scheme != "https" {
		v.add(at("observe", "traces"), "the address of a collector, as http://127.0.0.1:4318, or https elsewhere", quote(s),
			"a collector of this machine passes on what needs a login")
	}
}
