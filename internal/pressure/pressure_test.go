package pressure

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestShort(t *testing.T) {
	const (
		plenty  = "MemTotal: 16384000 kB\nMemFree: 100 kB\nMemAvailable: 8192000 kB\n"
		some    = "MemTotal: 16384000 kB\nMemAvailable: 2048000 kB\n"
		nothing = "MemTotal: 16384000 kB\nMemAvailable: 1000000 kB\nHugePages_Total: 0\n"
		calm    = "some avg10=9.99 avg60=80.00 avg300=0.00 total=1\nfull avg10=99.00 avg60=0.00 avg300=0.00 total=1\n"
		stalled = "some avg10=12.40 avg60=0.00 avg300=0.00 total=1\n"
		service = "1:name=systemd:/x\n0::/system.slice/nanoclaw.service\n"
		dir     = "sys/fs/cgroup/system.slice/nanoclaw.service/"
	)
	tests := []struct {
		name  string
		files map[string]string
		want  string // a part of the answer; "" for not short
	}{
		{"plenty", map[string]string{"proc/meminfo": plenty, "proc/pressure/memory": calm}, ""},
		{"one group waits at its own limit", map[string]string{"proc/meminfo": plenty, "proc/pressure/memory": stalled}, ""},
		{"some is left and nobody waits", map[string]string{"proc/meminfo": some, "proc/pressure/memory": calm}, ""},
		{"some is left and processes wait", map[string]string{"proc/meminfo": some, "proc/pressure/memory": stalled}, "2000 of 16000 MB left, and processes waited for memory for 12 %"},
		{"hardly any is left", map[string]string{"proc/meminfo": nothing, "proc/pressure/memory": calm}, "the machine has 976 of 16000 MB left"},
		{"a kernel without stall information", map[string]string{"proc/meminfo": nothing}, "the machine has"},
		{"no such files at all", nil, ""},
		{"nonsense", map[string]string{"proc/meminfo": "MemTotal: x kB\nMemAvailable: -1 kB\n", "proc/pressure/memory": "some avg10=\n", "proc/self/cgroup": "0::"}, ""},
		{"a service at its limit", map[string]string{"proc/meminfo": plenty, "proc/self/cgroup": service,
			dir + "memory.max": "1073741824\n", dir + "memory.current": "1063741824\n", dir + "memory.stat": "anon 1\ninactive_file 1000\n",
		}, "the cgroup /system.slice/nanoclaw.service has 9 of 1024 MB left"},
		{"a service whose files could be dropped", map[string]string{"proc/meminfo": plenty, "proc/self/cgroup": service,
			dir + "memory.max": "1073741824\n", dir + "memory.current": "1063741824\n", dir + "memory.stat": "anon 1\ninactive_file 900000000\n",
		}, ""},
		{"a slice at its limit", map[string]string{"proc/meminfo": plenty, "proc/self/cgroup": service, dir + "memory.max": "max\n", dir + "memory.current": "1\n",
			"sys/fs/cgroup/system.slice/memory.max": "1000000\n", "sys/fs/cgroup/system.slice/memory.current": "999999\n",
		}, "the cgroup /system.slice has 0 of 0 MB left"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := Meter{Root: t.TempDir()}
			for name, text := range tt.files {
				p := filepath.Join(m.Root, name)
				if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got := m.Short(); (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// This kernel's own files are read.
func TestMachine(t *testing.T) {
	m := Meter{}
	if got := m.Measured(); got != (runtime.GOOS == "linux") {
		t.Errorf("measured: %v", got)
	}
	if s := m.machine(); s.left > s.all {
		t.Errorf("got %+v", s)
	}
}
