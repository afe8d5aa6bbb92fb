package chaostest

import (
	"fmt"
	"io"
	"strings"
)

// size of one curve in the graph, in pixels.
const (
	graphWidth, graphHeight = 640, 90
	graphLeft               = 150
)

// WriteSVG draws the samples, one curve below the other, each from zero to its
// own maximum.
func WriteSVG(w io.Writer, all []Sample) error {
	curves := append([]bound{
		{name: "messages so far", of: func(s Sample) float64 { return float64(s.Messages) }},
		{name: "resident memory (MB)", of: func(s Sample) float64 { return s.RSS }},
	}, bounds()...)
	curves = append(curves, bound{name: "store (MB)", of: func(s Sample) float64 { return s.Store }})
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n",
		graphLeft+graphWidth+20, len(curves)*(graphHeight+20)+40)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/>`+"\n")
	for i, c := range curves {
		curve(&b, c, all, 10+i*(graphHeight+20))
	}
	if n := len(all); n > 0 {
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%d s</text>`+"\n", graphLeft+graphWidth, len(curves)*(graphHeight+20)+25, all[n-1].Second)
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
	fmt.Fprintf(b, `<path d="M%d %dv%dh%d" stroke="#bbb" fill="none"/>`+"\n", graphLeft, top, graphHeight, graphWidth)
	b.WriteString(`<polyline fill="none" stroke="#1f6feb" points="`)
	step := max(1, len(all)/graphWidth)
	for i := 0; i < len(all); i += step {
		x := float64(graphLeft) + float64(graphWidth)*float64(i)/float64(max(1, len(all)-1))
		fmt.Fprintf(b, "%.1f,%.1f ", x, float64(top+graphHeight)-float64(graphHeight)*c.of(all[i])/most)
	}
	b.WriteString(`"/>` + "\n")
}
