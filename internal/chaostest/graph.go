package chaostest

import (
	"fmt"
	"io"
	"strings"
)

// size of one curve in the graph, in pixels.
const (
	graphWidth, graphHeight = 600, 60
	graphLeft               = 170
	graphGap                = 18
	graphPoints             = 150 // of a curve
)

// graphStyle is readable on a light and on a dark page, whatever stands around it.
const graphStyle = `<style>text{fill:#57606a}.axis{stroke:#8c959f}.curve{stroke:#0969da}` +
	`@media(prefers-color-scheme:dark){text{fill:#9198a1}.axis{stroke:#656c76}.curve{stroke:#4493f8}}</style>`

// WriteSVG draws the samples, one curve below the other, each from zero to its
// own maximum, on no ground of its own and with so few points that it can be kept
// beside a document. A point is the greatest of its stretch, so no peak is lost.
func WriteSVG(w io.Writer, all []Sample) error {
	curves := append([]bound{
		{name: "messages so far", of: func(s Sample) float64 { return float64(s.Messages) }},
		{name: "resident memory (MB)", of: func(s Sample) float64 { return s.RSS }},
	}, bounds()...)
	curves = append(curves, bound{name: "store (MB)", of: func(s Sample) float64 { return s.Store }})
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n",
		graphLeft+graphWidth+20, len(curves)*(graphHeight+graphGap)+40)
	b.WriteString(graphStyle + "\n")
	for i, c := range curves {
		curve(&b, c, all, 10+i*(graphHeight+graphGap))
	}
	if n := len(all); n > 0 {
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%d s</text>`+"\n", graphLeft+graphWidth, len(curves)*(graphHeight+graphGap)+25, all[n-1].Second)
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func curve(b *strings.Builder, c bound, all []Sample, top int) {
	most := 1.0
	for _, s := range all {
		most = max(most, c.of(s))
	}
	fmt.Fprintf(b, `<text x="5" y="%d">%s</text><text x="%d" y="%d" text-anchor="end">%.0f</text><text x="%d" y="%d" text-anchor="end">0</text>`+"\n",
		top+graphHeight/2, c.name, graphLeft-5, top+10, most, graphLeft-5, top+graphHeight)
	fmt.Fprintf(b, `<path d="M%d %dv%dh%d" class="axis" fill="none"/>`+"\n", graphLeft, top, graphHeight, graphWidth)
	b.WriteString(`<polyline fill="none" class="curve" points="`)
	points := min(graphPoints, len(all))
	for i := range points {
		from, to := i*len(all)/points, (i+1)*len(all)/points
		high := 0.0
		for _, s := range all[from:to] {
			high = max(high, c.of(s))
		}
		x := float64(graphLeft) + float64(graphWidth)*float64(i)/float64(max(1, points-1))
		fmt.Fprintf(b, "%.0f,%.1f ", x, float64(top+graphHeight)-float64(graphHeight)*high/most)
	}
	b.WriteString(`"/>` + "\n")
}
