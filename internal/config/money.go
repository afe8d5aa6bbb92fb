package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// USD is an amount of money in millionths of a dollar, written "$5" or "$0.50".
// It is never negative.
type USD int64

const (
	usdForm = `an amount such as "$5" or "$0.50"`
	maxUSD  = 1_000_000_000 // dollars
)

// ParseUSD reads a dollar sign, whole dollars, and at most six digits after a
// point.
func ParseUSD(s string) (USD, error) {
	bad := fmt.Errorf("%q is not %s", s, usdForm)
	rest, ok := strings.CutPrefix(s, "$")
	whole, part, point := strings.Cut(rest, ".")
	if !ok || whole == "" || point && part == "" || len(part) > 6 || strings.Trim(whole+part, "0123456789") != "" {
		return 0, bad
	}
	dollars, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || dollars > maxUSD {
		return 0, fmt.Errorf("%q is too much: the most is $%d", s, maxUSD)
	}
	micros, err := strconv.ParseInt((part + "000000")[:6], 10, 64)
	if err != nil {
		return 0, bad
	}
	return USD(dollars*1_000_000 + micros), nil
}

// String gives two digits after the point, and more where they are needed.
func (u USD) String() string {
	sign := ""
	if u < 0 {
		sign, u = "-", -u
	}
	part := strings.TrimRight(fmt.Sprintf("%06d", u%1_000_000), "0")
	switch {
	case part == "":
		return fmt.Sprintf("%s$%d", sign, u/1_000_000)
	case len(part) == 1:
		part += "0"
	}
	return fmt.Sprintf("%s$%d.%s", sign, u/1_000_000, part)
}

// MarshalText writes what UnmarshalText reads; a negative amount is an error.
func (u USD) MarshalText() ([]byte, error) {
	if u < 0 {
		return nil, fmt.Errorf("the amount %s is negative", u)
	}
	return []byte(u.String()), nil
}

// UnmarshalText is ParseUSD.
func (u *USD) UnmarshalText(b []byte) (err error) {
	*u, err = ParseUSD(string(b))
	return err
}

// Price gives the price of a model: that of the longest name with which the
// model's begins.
func (b Budgets) Price(model string) (p Price, known bool) {
	best := -1
	for name, price := range b.Prices {
		if strings.HasPrefix(model, name) && len(name) > best {
			p, best = price, len(name)
		}
	}
	return p, best >= 0
}

// RatesOf are the rates of a group: its own, and for what they leave open those of all.
func (c *Config) RatesOf(group string) Rates {
	own, all := c.Groups[group].Rates, c.Rates
	for _, r := range []struct{ own, all *Rate }{{&own.Group, &all.Group}, {&own.Sender, &all.Sender}, {&own.Owner, &all.Owner}} {
		if r.own.MessagesPerMinute == 0 {
			r.own.MessagesPerMinute = r.all.MessagesPerMinute
		}
		if r.own.RunsPerDay == 0 {
			r.own.RunsPerDay = r.all.RunsPerDay
		}
	}
	return own
}

// maxTokens is the largest number of tokens that a budget may name.
const maxTokens = 1_000_000_000_000

func (v *validator) money(c *Config) {
	b := c.Budgets
	between(v, at("hostMode", "confirmTime"), c.HostMode.ConfirmTime, Duration(10*time.Second), Duration(31*24*time.Hour))
	v.rates(at("rates"), c.Rates)
	for _, f := range []struct {
		key string
		b   Budget
	}{{"day", b.Day}, {"group", b.Group}, {"sender", b.Sender}, {"task", b.Task}, {"step", b.Step}} {
		v.budget(at("budgets", f.key), f.b)
	}
	for _, name := range slices.Sorted(maps.Keys(b.Prices)) {
		if v.full() {
			return
		}
		field := at("budgets", "prices", name)
		if name == "" || len(name) > 200 || hasControl(name) {
			v.addKey(field, "the beginning of a model's name", quote(name), "")
		}
		p := b.Prices[name]
		for _, f := range []struct {
			key string
			n   USD
		}{{"input", p.Input}, {"output", p.Output}, {"cacheRead", p.CacheRead}, {"cacheWrite", p.CacheWrite}} {
			between(v, field.plus(f.key), f.n, 0, 100_000*1_000_000)
		}
	}
}

func (v *validator) rates(field Path, r Rates) {
	for _, f := range []struct {
		key string
		r   Rate
	}{{"group", r.Group}, {"sender", r.Sender}, {"owner", r.Owner}} {
		v.between(field.plus(f.key, "messagesPerMinute"), f.r.MessagesPerMinute, 0, 1_000_000)
		v.between(field.plus(f.key, "runsPerDay"), f.r.RunsPerDay, 0, 10_000_000)
	}
}

func (v *validator) budget(field Path, b Budget) {
	between(v, field.plus("usd"), b.USD, 0, maxUSD*1_000_000)
	v.between(field.plus("tokens"), b.Tokens, 0, maxTokens)
}

// amounts checks what a group says of rates, budget and consent.
func (v *validator) amounts(field Path, g Group) {
	if g.Confirm != "" {
		v.oneOf(field.plus("confirm"), g.Confirm, confirms...)
	}
	v.between(field.plus("hostRunsPerHour"), g.HostRunsPerHour, 0, 100_000)
	v.rates(field.plus("rates"), g.Rates)
	v.budget(field.plus("budget"), g.Budget)
}
