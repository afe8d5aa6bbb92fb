package chaostest

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

// The graph of a long soak is small enough to be kept, is well-formed, and shows the
// one peak that there was.
func TestGraphOfALongSoak(t *testing.T) {
	all := make([]Sample, 4*3600)
	for i := range all {
		all[i] = Sample{Second: i, Messages: i, RSS: 50, Goroutines: 40}
	}
	all[7777].RSS = 100
	var b bytes.Buffer
	must(t, WriteSVG(&b, all))
	if b.Len() > 30_000 {
		t.Errorf("%d bytes", b.Len())
	}
	var curves []string
	for d := xml.NewDecoder(bytes.NewReader(b.Bytes())); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "polyline" {
			i := slices.IndexFunc(e.Attr, func(a xml.Attr) bool { return a.Name.Local == "points" })
			curves = append(curves, e.Attr[i].Value)
		}
	}
	top := fmt.Sprintf(",%d.0", 10+graphHeight+graphGap) // of memory, the second
	peaks := 0
	for point := range strings.FieldsSeq(curves[1]) {
		if strings.HasSuffix(point, top) {
			peaks++
		}
	}
	if peaks != 1 {
		t.Errorf("%d points of memory at the top, want the one peak: %s", peaks, curves[1])
	}
}
