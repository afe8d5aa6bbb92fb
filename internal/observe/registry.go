package observe

import (
	"cmp"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// The kinds of metric.
const (
	counter   = "counter"
	gauge     = "gauge"
	histogram = "histogram"
)

// maxSeries bounds the series of one metric. What comes beyond is counted as Other.
const maxSeries = 1000

// Other stands in a label for what is not in its list.
const Other = "other"

// Metric is one of those that there are.
type Metric struct {
	Name   string
	Kind   string // counter, gauge or histogram
	Labels []string
	Help   string

	buckets []float64

	mu     sync.Mutex // held for a few instructions, and never over anything else
	series map[string]*series
}

// series is one combination of values of a metric's labels.
type series struct {
	values []string
	value  float64 // of a counter or gauge; of a histogram the sum
	counts []uint64
	count  uint64
}

// add counts, or observes in a histogram, v at these values of the labels.
func (m *Metric) add(v float64, values ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.at(values)
	s.value += v
	if m.Kind != histogram {
		return
	}
	s.count++
	if i, _ := slices.BinarySearch(m.buckets, v); i < len(s.counts) {
		s.counts[i]++
	}
}

// set gives a gauge its value.
func (m *Metric) set(v float64, values ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at(values).value = v
}

// clear forgets all series.
func (m *Metric) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.series)
}

// at gives the series of values. The caller holds mu.
func (m *Metric) at(values []string) *series {
	key := strings.Join(values, "\xff")
	s := m.series[key]
	if s == nil && len(m.series) >= maxSeries {
		values = slices.Repeat([]string{Other}, len(m.Labels))
		key = strings.Join(values, "\xff")
		s = m.series[key]
	}
	if s == nil {
		s = &series{values: slices.Clone(values), counts: make([]uint64, len(m.buckets))}
		m.series[key] = s
	}
	return s
}

// write renders a metric in the text format of Prometheus, version 0.0.4. One without
// series is named all the same, unless it has labels.
func (m *Metric) write(b *strings.Builder) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b.WriteString("# HELP " + m.Name + " " + helpText.Replace(m.Help) + "\n# TYPE " + m.Name + " " + m.Kind + "\n")
	if len(m.Labels) == 0 {
		m.at(nil)
	}
	all := make([]*series, 0, len(m.series))
	for _, s := range m.series {
		all = append(all, s)
	}
	slices.SortFunc(all, func(x, y *series) int { return slices.Compare(x.values, y.values) })
	for _, s := range all {
		if m.Kind != histogram {
			m.line(b, "", s, "", s.value)
			continue
		}
		sum := uint64(0)
		for i, n := range s.counts {
			sum += n
			m.line(b, "_bucket", s, number(m.buckets[i]), float64(sum))
		}
		m.line(b, "_bucket", s, "+Inf", float64(s.count))
		m.line(b, "_sum", s, "", s.value)
		m.line(b, "_count", s, "", float64(s.count))
	}
}

func (m *Metric) line(b *strings.Builder, suffix string, s *series, le string, v float64) {
	b.WriteString(m.Name + suffix)
	open := "{"
	for i, name := range m.Labels {
		b.WriteString(open + name + `="` + labelText.Replace(strings.ToValidUTF8(s.values[i], "\uFFFD")) + `"`)
		open = ","
	}
	if le != "" {
		b.WriteString(open + `le="` + le + `"`)
		open = ","
	}
	if open == "," {
		b.WriteByte('}')
	}
	b.WriteString(" " + number(v) + "\n")
}

var (
	helpText  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	labelText = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

func number(v float64) string {
	if math.IsInf(v, 1) {
		return "+Inf"
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// registry is a set of metrics.
type registry struct{ all []*Metric }

func (r *registry) add(kind, name, help string, labels ...string) *Metric {
	m := &Metric{Name: "nanoclaw_" + name, Kind: kind, Labels: labels, Help: help, series: map[string]*series{}}
	r.all = append(r.all, m)
	return m
}

func (r *registry) times(buckets []float64, name, help string, labels ...string) *Metric {
	m := r.add(histogram, name, help, labels...)
	m.buckets = buckets
	return m
}

// write renders all of them, by name.
func (r *registry) write(w io.Writer) error {
	all := slices.SortedFunc(slices.Values(r.all), func(a, b *Metric) int { return cmp.Compare(a.Name, b.Name) })
	var b strings.Builder
	for _, m := range all {
		m.write(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// recent remembers values for a while: at least the last so many, and at most twice
// as many. Who uses it holds a lock.
type recent[K comparable, V any] struct {
	most     int
	new, old map[K]V
}

func (r *recent[K, V]) put(k K, v V) {
	if r.new == nil || len(r.new) >= r.most {
		r.old, r.new = r.new, make(map[K]V)
	}
	r.new[k] = v
}

// take gives a value and forgets it.
func (r *recent[K, V]) take(k K) (V, bool) {
	v, ok := r.get(k)
	delete(r.new, k)
	delete(r.old, k)
	return v, ok
}

func (r *recent[K, V]) get(k K) (V, bool) {
	v, ok := r.new[k]
	if !ok {
		v, ok = r.old[k]
	}
	return v, ok
}
