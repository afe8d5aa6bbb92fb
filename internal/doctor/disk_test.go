package doctor

import (
	"errors"
	"testing"
)

func TestDisk(t *testing.T) {
	const mb, gb = 1 << 20, 1 << 30
	for _, c := range []struct {
		free, all int64
		err       error
		want      State
	}{
		{500 * gb, 1000 * gb, nil, OK}, {500 * mb, 2 * gb, nil, OK}, {900 * mb, 100 * gb, nil, Warn},
		{10 * mb, 20 * mb, nil, Fail}, {0, 0, errors.New("gone"), Fail},
	} {
		if got := disk("disk", "/d", c.free, c.all, c.err); got.State != c.want || got.Detail == "" || (got.Fix == "") != (c.want == OK) {
			t.Errorf("%d of %d: %+v, want %s", c.free, c.all, got, c.want)
		}
	}
	if got := Disk("disk", t.TempDir()); got.Detail == "" {
		t.Errorf("%+v", got)
	}
	if got := Disk("disk", "/nonexistent/x"); got.State != Fail {
		t.Errorf("%+v", got)
	}
}
