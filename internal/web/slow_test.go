package web

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
)

// What takes long is waited for with the page in sight, and what fails then is said on it.
func TestSlowPagesShowTheirFrameFirst(t *testing.T) {
	ask := make(chan struct{})
	h := fullHost()
	h.OnDoctor = func(context.Context, control.DoctorQuery) (control.DoctorReport, error) {
		<-ask
		return control.DoctorReport{}, &control.Error{Code: control.CodeFailed, Message: "nothing here" + hostile, Hint: "try again"}
	}
	_, l := opened(t, h)
	c := browser(t)
	base, _ := signIn(t, c, l)
	r, err := c.Get(base + "/doctor")
	if err != nil {
		close(ask)
		t.Fatal(err)
	}
	defer r.Body.Close()
	lines := bufio.NewScanner(r.Body)
	for lines.Scan() && !strings.Contains(lines.Text(), "<h1>Doctor</h1>") {
	}
	close(ask) // only now does the doctor answer
	var rest strings.Builder
	for lines.Scan() {
		rest.WriteString(lines.Text())
	}
	if got := rest.String(); !strings.Contains(got, "nothing here&lt;script&gt;") || !strings.Contains(got, "try again") || !strings.HasSuffix(got, "</html>") {
		t.Errorf("after the frame: %s", got)
	}
}

// Lists go back to the beginning, a page at a time.
func TestPaging(t *testing.T) {
	h := fullHost()
	h.OnRuns = func(_ context.Context, q control.RunsQuery) ([]control.RunInfo, error) {
		next := 250
		if q.Before != "" {
			fmt.Sscanf(string(q.Before), "r%d", &next)
		}
		var out []control.RunInfo
		for i := next - 1; i > 0 && len(out) < q.Limit; i-- {
			out = append(out, control.RunInfo{ID: chat.RunID(fmt.Sprintf("r%d", i)), Group: q.Group})
		}
		return out, nil
	}
	h.OnList = func(_ context.Context, q control.AuditQuery) ([]control.AuditEntry, error) {
		next := int64(250)
		if q.Before != 0 {
			next = q.Before
		}
		var out []control.AuditEntry
		for i := max(next-int64(q.Limit), 1); i < next; i++ {
			out = append(out, control.AuditEntry{ID: i})
		}
		return out, nil
	}
	_, l := opened(t, h)
	c := browser(t)
	base, _ := signIn(t, c, l)
	for _, try := range []struct{ path, has, link string }{
		{"/runs?group=family", "/runs/r249\"", "/runs?group=family&amp;before=r200"},
		{"/runs?group=family&before=r150", "/runs/r149\"", "/runs?group=family&amp;before=r100"},
		{"/runs?group=family&before=r50", "/runs/r1\"", ""},
		{"/audit?group=family&kind=k", "<td>249<", "/audit?group=family&amp;kind=k&amp;before=200"},
		{"/audit?group=family&kind=k&before=50", "<td>1<", ""},
	} {
		status, page := fetch(t, c, http.MethodGet, base+try.path, nil)
		if status != http.StatusOK || !strings.Contains(page, try.has) || !strings.Contains(page, try.link) || strings.Contains(page, ">Older<") != (try.link != "") {
			t.Errorf("%s: %d\n%s", try.path, status, page)
		}
	}
	if status, _ := fetch(t, c, http.MethodGet, base+"/audit?before=x", nil); status != http.StatusBadRequest {
		t.Errorf("no number: %d", status)
	}
}
