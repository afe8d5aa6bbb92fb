package boundary

import (
	"slices"
	"testing"
)

func TestKin(t *testing.T) {
	never := func(int) bool { return false }
	host := relative{pid: 50, ppid: 1, pgid: 50, sid: 50, start: 1}
	init := relative{pid: 100, ppid: 50, pgid: 100, sid: 100, start: 10}
	for _, c := range []struct {
		name   string
		tables [][]relative
		marked func(int) bool
		want   []int // of the last table
	}{
		{"alone", [][]relative{{host, init}}, never, []int{100}},
		{"children of children, in any order", [][]relative{{
			{pid: 102, ppid: 101, pgid: 102, sid: 102, start: 12}, {pid: 101, ppid: 100, pgid: 101, sid: 101, start: 11}, host, init,
		}}, never, []int{100, 101, 102}},
		{"an orphan that was seen before", [][]relative{
			{host, init, {pid: 101, ppid: 100, pgid: 101, sid: 101, start: 11}, {pid: 102, ppid: 101, pgid: 102, sid: 102, start: 12}},
			{host, {pid: 102, ppid: 1, pgid: 102, sid: 102, start: 12}},
		}, never, []int{102}},
		{"an orphan in the group of one that has ended", [][]relative{
			{host, init, {pid: 101, ppid: 100, pgid: 101, sid: 101, start: 11}},
			{host, init, {pid: 103, ppid: 1, pgid: 101, sid: 101, start: 13}},
		}, never, []int{100, 103}},
		{"an orphan that nothing shows", [][]relative{
			{host, init}, {host, init, {pid: 103, ppid: 1, pgid: 103, sid: 103, start: 13}},
		}, never, []int{100}},
		{"an orphan with the mark, and its child", [][]relative{
			{host, init, {pid: 103, ppid: 1, pgid: 103, sid: 103, start: 13}, {pid: 104, ppid: 103, pgid: 104, sid: 104, start: 14}},
		}, func(pid int) bool { return pid == 103 }, []int{100, 103, 104}},
		{"an older process is not asked for the mark", [][]relative{
			{host, init, {pid: 90, ppid: 1, pgid: 90, sid: 90, start: 9}},
		}, func(pid int) bool { return pid == 90 }, []int{100}},
		{"a number that passed to another", [][]relative{
			{host, init, {pid: 101, ppid: 100, pgid: 101, sid: 101, start: 11}},
			{host, init, {pid: 101, ppid: 1, pgid: 101, sid: 101, start: 20}, {pid: 105, ppid: 101, pgid: 101, sid: 101, start: 21}},
		}, never, []int{100}},
		{"the init's number after its end", [][]relative{
			{host, init}, {host, {pid: 100, ppid: 1, pgid: 100, sid: 100, start: 30}, {pid: 106, ppid: 100, pgid: 100, sid: 100, start: 31}},
		}, never, nil},
		{"neither the host nor its other children", [][]relative{
			{host, init, {pid: 60, ppid: 50, pgid: 50, sid: 50, start: 40}, {pid: 1, ppid: 0, pgid: 1, sid: 1, start: 0}},
		}, never, []int{100}},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newKin(init)
			var got []int
			for _, table := range c.tables {
				got = k.look(table, init.start, c.marked)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

// Nobody is asked for the mark twice, but one whose number passed to another.
func TestKinAsksOnce(t *testing.T) {
	init := relative{pid: 100, ppid: 50, pgid: 100, sid: 100, start: 10}
	k := newKin(init)
	var asked []int
	marked := func(pid int) bool { asked = append(asked, pid); return false }
	for _, start := range []int64{20, 20, 30} {
		k.look([]relative{init, {pid: 200, ppid: 1, pgid: 200, sid: 200, start: start}}, init.start, marked)
	}
	if !slices.Equal(asked, []int{200, 200}) {
		t.Errorf("asked %v", asked)
	}
}
