package confine

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// mount is one line of /proc/self/mountinfo (proc_pid_mountinfo(5)).
type mount struct {
	id, parent int
	point      string
	options    map[string]bool // of the mount, such as "ro"
	fields     []string        // optional ones, such as "master:2"
	fstype     string
}

// receives says that mounts made elsewhere appear beneath it, and gives those
// that leaves out: what is made beneath it appears elsewhere.
func (m *mount) receives() bool { return m.tagged("master:") }
func (m *mount) gives() bool    { return m.tagged("shared:") }

func (m *mount) tagged(prefix string) bool {
	for _, f := range m.fields {
		if strings.HasPrefix(f, prefix) {
			return true
		}
	}
	return false
}

// lacks gives those of want that are not among the mount's options.
func (m *mount) lacks(want []string) []string {
	var out []string
	for _, o := range want {
		if !m.options[o] {
			out = append(out, o)
		}
	}
	return out
}

// parseMounts reads all of mountinfo. A line that it does not understand whole
// is an error: a mount that is not seen could not be judged.
func parseMounts(text string) ([]mount, error) {
	var all []mount
	for line := range strings.Lines(text) {
		m, err := parseMount(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, fmt.Errorf("mountinfo line %q: %w", line, err)
		}
		all = append(all, m)
	}
	return all, nil
}

func parseMount(line string) (m mount, err error) {
	left, right, ok := strings.Cut(line, " - ")
	fields, rest := strings.Split(left, " "), strings.Split(right, " ")
	if !ok || len(fields) < 6 || len(rest) < 3 {
		return m, errors.New("fields are missing")
	}
	var errs [3]error
	m.id, errs[0] = strconv.Atoi(fields[0])
	m.parent, errs[1] = strconv.Atoi(fields[1])
	m.point, errs[2] = unescape(fields[4])
	if err := errors.Join(errs[:]...); err != nil {
		return m, err
	}
	if !strings.HasPrefix(m.point, "/") {
		return m, errors.New("the mount point is not absolute")
	}
	m.options = make(map[string]bool)
	for o := range strings.SplitSeq(fields[5], ",") {
		m.options[o] = true
	}
	m.fields, m.fstype = fields[6:], rest[0]
	return m, nil
}

// unescape resolves the octal forms in which mountinfo writes space, tab,
// newline and backslash.
func unescape(s string) (string, error) {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, `\`)
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		if len(after) < 3 {
			return "", errors.New("an escape is cut short")
		}
		c, err := strconv.ParseUint(after[:3], 8, 8)
		if err != nil {
			return "", fmt.Errorf("escape: %w", err)
		}
		b.WriteByte(byte(c))
		s = after[3:]
	}
}
