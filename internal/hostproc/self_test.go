package hostproc

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSelf(t *testing.T) {
	tests := []struct {
		name, script string
		want         map[string]string
		err          string
	}{
		{"nothing fails", `echo '{"checks":[{"name":"landlock","state":"ok"}]}'`, map[string]string{}, ""},
		{"something fails", `echo '{"checks":[{"name":"landlock","state":"fail","detail":"none"},{"name":"x","state":"warn"}]}'; exit 1`, map[string]string{"landlock": "none"}, ""},
		{"it checks nothing", `echo '{}'`, nil, "checked nothing"},
		{"it says no JSON", `echo ok`, nil, "invalid character"},
		{"it ends with an error", `echo "no such store" >&2; exit 1`, nil, "no such store"},
		{"it breaks", `echo '{"checks":[{"name":"x","state":"ok"}]}'; exit 9`, nil, "exit status 9"},
		{"it is killed", `kill -9 $$`, nil, "killed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := Self{Path: program(t, t.TempDir(), "nanoclaw", `[ "$1 $2" = "doctor --json" ] || exit 7; `+tt.script)}
			got, err := s.Failures(t.Context())
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("error %v, want %q", err, tt.err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("failures (-want +got):\n%s", d)
			}
		})
	}
}

func TestSelfSaysItsVersion(t *testing.T) {
	s := Self{Path: program(t, t.TempDir(), "nanoclaw", `echo "{\"version\":\"$V\",\"os\":\"plan9\",\"arch\":\"$1\"}"`), Env: []string{"V=v7"}}
	got, err := s.Version(t.Context())
	if want := (About{Version: "v7", OS: "plan9", Arch: "version"}); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
}
