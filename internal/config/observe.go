package config

import "net/netip"

// Observe says who may see in numbers how the daemon is. All of it is off unless it is
// set, and none of it holds what people or agents say.
type Observe struct {
	// Metrics is where the daemon is asked for metrics in the format of Prometheus, and
	// whether it is ready: a port of this machine's loopback, as "127.0.0.1:9464", which
	// every user of this machine reaches, or "unix" for metrics.sock beside the control
	// socket, which you alone do. Empty: nowhere.
	Metrics string `json:"metrics"`
}

// MetricsSocket is the value of Metrics for a socket.
const MetricsSocket = "unix"

func (v *validator) observe(o Observe) {
	if o.Metrics == "" || o.Metrics == MetricsSocket {
		return
	}
	a, err := netip.ParseAddrPort(o.Metrics)
	if err != nil || a.Port() == 0 || !a.Addr().IsLoopback() || a.Addr().Zone() != "" {
		v.add(at("observe", "metrics"), `an address of loopback and a port, as 127.0.0.1:9464, or "unix"`, quote(o.Metrics),
			"for other machines put a proxy with a login before it")
	}
}
