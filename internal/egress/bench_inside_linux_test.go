package egress

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/wire"
)

// BenchmarkInside downloads 100 MB with curl: from inside a boundary (a loopback
// listener of the init, the wire, the gateway, a server on loopback), and by the
// same gateway without a boundary. The two take turns, each run of curl is a
// process of its own, and medians are compared.
func BenchmarkInside(b *testing.B) {
	const size = 100 << 20
	chunk := make([]byte, 1<<20)
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Length", fmt.Sprint(size))
		for range size / len(chunk) {
			if _, err := rw.Write(chunk); err != nil {
				return
			}
		}
	})
	for _, kind := range []struct{ name, url string }{{"plain", "http://plain.example.com/"}, {"tunnel", "https://www.example.com/"}} {
		w := newWorld(b)
		outside := w.everything(b, []string{"www.example.com"}, mux)
		w.plainSite(mux)
		c := config1(nil, "www.example.com", "plain.example.com:80")
		c.Egress.Download, c.Egress.Upload, c.Egress.Connections = 1<<50, 1<<50, 1<<30
		in := w.start(b, outside, c)
		proxy := "http://" + listen(b, in.g, wire.Proxy)
		curl := func(url string) []string {
			return []string{"curl", "-sS", "--http1.1", "-o", "/dev/null", "-w", "%{size_download}", url}
		}
		check := func(out string, err error) {
			if strings.TrimSpace(out) != fmt.Sprint(size) || err != nil {
				b.Fatalf("curl: %q, %v", out, err)
			}
		}
		alone := func() {
			argv := curl(kind.url)
			cmd := exec.Command(argv[0], argv[1:]...)
			cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "http_proxy=" + proxy, "https_proxy=" + proxy, "CURL_CA_BUNDLE=" + in.roots}
			out, err := cmd.CombinedOutput()
			check(string(out), err)
		}
		inside := func() {
			out, _ := in.run(curl(kind.url)...)
			check(out, nil)
		}
		b.Run(kind.name, func(b *testing.B) {
			var times [2][]time.Duration
			for b.Loop() {
				for i, download := range []func(){inside, alone} {
					begin := time.Now()
					download()
					times[i] = append(times[i], time.Since(begin))
				}
			}
			var speed [2]float64
			for i, t := range times {
				slices.Sort(t)
				speed[i] = size / t[len(t)/2].Seconds() / 1e6
			}
			b.ReportMetric(speed[0], "MB/s-inside")
			b.ReportMetric(speed[1], "MB/s-alone")
			b.ReportMetric(100*speed[0]/speed[1], "%")
		})
	}
}
