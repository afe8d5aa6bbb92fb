package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"sync"
	"time"

	"nanoclaw/internal/channel"
	"nanoclaw/internal/control"
	"nanoclaw/internal/qr"
)

//go:embed pages/*.html
var pageFiles embed.FS

//go:embed static
var staticFiles embed.FS

// pages are the templates, each with the frame around it.
type pages struct {
	by map[string]*template.Template
}

// frame is what each page is made of.
type frame struct {
	Title string
	// Here is the entry of the menu that this is.
	Here string
	// Live pages renew themselves when something happens.
	Live bool
	// Renew has the browser ask for the page again after so many seconds, 0 for never.
	Renew int
	// Outside pages are shown to who is not signed in.
	Outside bool
	// Open is how many questions wait for the owner.
	Open int
	Now  time.Time
	// Body is the page's own.
	Body any
}

// parsePages reads the templates. A mistake in one is a mistake in this package, which
// each of its tests finds.
func parsePages() *pages {
	base := template.New("").Funcs(template.FuncMap{
		"clean": channel.SafeText, "ago": ago, "clock": clock, "day": func(t time.Time) string { return t.Format("Monday, 2 January 2006") },
		"lines": func(s string) []string { return strings.Split(strings.TrimSpace(s), "\n") },
		"entry": func(id, to, name, here string) menuEntry { return menuEntry{to, name, id == here} },
		"rows":  func(runs []control.RunInfo, now time.Time) runRows { return runRows{runs, now} },
		"questions": func(n int) string {
			if n == 0 {
				return "Approvals"
			}
			return fmt.Sprintf("Approvals (%d)", n)
		},
		"dollars": dollars, "used": used, "limits": limits,
		"indent": indent, "qr": picture, "since": since, "asset": asset,
		"took": func(a, b time.Time) string { return b.Sub(a).Round(100 * time.Millisecond).String() },
	})
	base = template.Must(base.ParseFS(pageFiles, "pages/frame.html"))
	p := &pages{by: map[string]*template.Template{}}
	names, err := pageFiles.ReadDir("pages")
	if err != nil {
		panic(err) // it is part of the program
	}
	for _, n := range names {
		name := strings.TrimSuffix(n.Name(), ".html")
		if name != "frame" {
			p.by[name] = template.Must(template.Must(base.Clone()).ParseFS(pageFiles, "pages/"+n.Name()))
		}
	}
	return p
}

// menuEntry is one entry of the menu, runRows a table of runs.
type (
	menuEntry struct {
		To, Name string
		Is       bool
	}
	runRows struct {
		Runs []control.RunInfo
		Now  time.Time
	}
)

// indent lays JSON out for the eye.
func indent(data json.RawMessage) string {
	var b bytes.Buffer
	if err := json.Indent(&b, data, "", "  "); err != nil {
		return string(data)
	}
	return channel.SafeText(b.String())
}

// picture draws a QR code, dark on light whatever the page's colors are. A text that
// does not fit into one is shown as it is.
func picture(text string) template.HTML {
	code, err := qr.Encode(text)
	if err != nil {
		return template.HTML("<pre>" + template.HTMLEscapeString(channel.SafeText(text)) + "</pre>")
	}
	const quiet = 4 // modules of margin, which readers need
	n := len(code) + 2*quiet
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="qr" role="img" aria-label="QR code" viewBox="0 0 %d %d"><path fill="#fff" d="M0 0h%dv%dH0z"/><path fill="#000" d="`, n, n, n, n)
	for y, row := range code {
		for x, dark := range row {
			if dark {
				fmt.Fprintf(&b, "M%d %dh1v1h-1z", x+quiet, y+quiet)
			}
		}
	}
	b.WriteString(`"/></svg>`)
	return template.HTML(b.String()) // numbers alone
}

// write shows a page, whole or not at all.
func (p *pages) write(w http.ResponseWriter, _ *http.Request, status int, name string, f frame) {
	var page bytes.Buffer
	if err := p.by[name].ExecuteTemplate(&page, "frame.html", f); err != nil {
		http.Error(w, "this page cannot be shown: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	w.Write(page.Bytes()) // an error here means that nobody reads any more
}

// writeSlowly shows a page whose content takes long: its frame at once, so that there is
// something to see, and the content when get has it. What get fails with stands in its place.
func (p *pages) writeSlowly(w http.ResponseWriter, name string, f frame, get func() (any, error)) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	part := func(name, of string) bool {
		var text bytes.Buffer
		if err := p.by[name].ExecuteTemplate(&text, of, f); err != nil {
			return false
		}
		_, err := w.Write(text.Bytes())
		return err == nil
	}
	if !part(name, "top") || http.NewResponseController(w).Flush() != nil {
		return // nobody reads any more
	}
	var err error
	if f.Body, err = get(); err != nil {
		name, f.Body = "error", inWords(err)
	}
	if !part(name, "body") {
		name, f.Body = "error", "this page cannot be shown"
		part(name, "body")
	}
	part(name, "end")
}

// assets names the style, the script and the icon as they are in this program: another
// one's have another name.
var assets = sync.OnceValue(func() string {
	sum := sha256.New()
	for _, name := range []string{"style.css", "app.js", "icon.svg"} {
		b, err := staticFiles.ReadFile("static/" + name)
		if err != nil {
			panic(err) // it is part of the program
		}
		sum.Write(b)
	}
	return hex.EncodeToString(sum.Sum(nil)[:8])
})

// asset is the address of a file of the program.
func asset(name string) string { return "/static/" + name + "?v=" + assets() }

// static serves the style and the script, which belong to the program and are no secret.
// A browser keeps them, so that a page is painted without asking for them anew.
func (s *Server) static(w http.ResponseWriter, r *http.Request) {
	if r.FormValue("v") == assets() {
		w.Header().Set("Cache-Control", "max-age=31536000, immutable")
	}
	http.ServeFileFS(w, r, staticFiles, "static/"+r.PathValue("file"))
}

// clock is a time to read and to compute with.
func clock(t time.Time) template.HTML {
	if t.IsZero() {
		return "–"
	}
	// Both parts are numbers and letters that time.Format makes.
	return template.HTML(`<time datetime="` + t.UTC().Format(time.RFC3339) + `">` + t.Local().Format("2006-01-02 15:04:05") + `</time>`)
}

// ago says how long ago or ahead a time is, roughly.
func ago(now, t time.Time) string {
	d := now.Sub(t).Round(time.Second)
	form := func(d time.Duration) string {
		switch {
		case d < time.Minute:
			return d.String()
		case d < 48*time.Hour:
			return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
		}
		return d.Round(time.Hour).String()[:len(d.Round(time.Hour).String())-len("0m0s")]
	}
	switch {
	case t.IsZero():
		return "never"
	case d < 0:
		return "in " + form(-d)
	}
	return form(d) + " ago"
}
