package config

import (
	"maps"
	"slices"
)

// What entries about hosts look like, in words.
const (
	hostForm = "HOST, *.SUFFIX, HOST:PORT or a preset"
	denyForm = "HOST, *.SUFFIX, HOST:PORT, a preset or *"
)

// way checks what holds of the way out for every group.
func (v *validator) way(e Egress, o Options) {
	v.denied(at("egress", "deny"), e.Deny, o)
	v.terms(at("egress", "hosts"), e.Hosts, o)
	between(v, at("egress", "upload"), e.Upload, 1<<10, 1<<50)
	between(v, at("egress", "download"), e.Download, 1<<10, 1<<50)
	v.between(at("egress", "connections"), e.Connections, 1, 1_000_000_000)
}

func (v *validator) denied(field Path, entries []string, o Options) {
	for i, entry := range entries {
		if v.full() {
			return
		}
		v.entry(field.plus(i), entry, denyForm, o.CheckDeny)
	}
}

// terms checks how hosts are treated.
func (v *validator) terms(field Path, hosts map[string]EgressHost, o Options) {
	for _, entry := range slices.Sorted(maps.Keys(hosts)) {
		if v.full() {
			return
		}
		h, field := hosts[entry], field.plus(entry)
		between(v, field.plus("upload"), h.Upload, 0, 1<<50)
		between(v, field.plus("download"), h.Download, 0, 1<<50)
		v.between(field.plus("connections"), h.Connections, 0, 1_000_000_000)
		if o.CheckTerms == nil {
			continue
		}
		if err := o.CheckTerms(entry, h); err != nil {
			v.add(field, "a host and how it is treated", quote(entry), oneLine(err.Error()))
		}
	}
}

// entry checks one entry of a list whose syntax another package knows.
func (v *validator) entry(field Path, entry, form string, check func(string) error) {
	if entry == "" || hasControl(entry) {
		v.add(field, form, quote(entry), "")
		return
	}
	if check == nil {
		return
	}
	if err := check(entry); err != nil {
		v.add(field, form, quote(entry), oneLine(err.Error()))
	}
}
