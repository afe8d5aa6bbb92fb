package support

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What is private in any text is taken out, and what helps stays.
func TestText(t *testing.T) {
	c := NewCleaner("/home/ann")
	c.Hide("the plan for Saturday\nbring the boat", "123456789@lid", "~/diary")
	for _, tt := range []struct{ in, gone string }{
		{"call +49 171 2345678 now", "2345678"}, {"call 0171 2345678 now", "2345678"}, {"(030) 123 456", "123"}, {"555-123-4567", "4567"},
		{"chat 4917123456789 left", "49171"}, {"jid 49171@s.whatsapp.net", "whatsapp.net"}, {"ann.b@example.org wrote", "ann.b"},
		{"open /home/ann/diary: no", "ann"}, {"open /home/ann/diary: no", "diary"}, {"open /Users/bob/diary: no", "bob"}, {"dial 192.168.7.12:443", "192.168"},
		{"said: the plan for Saturday", "Saturday"}, {"then bring the boat!", "boat"}, {"key sk-ant-REDACTED", "aaaa"},
		{"Authorization: Bearer abcdefgh12345678", "abcdefgh"}, {"postgres://u:hunter22@h/db", "hunter22"},
	} {
		if got := c.Text(tt.in); strings.Contains(got, tt.gone) {
			t.Errorf("%q became %q", tt.in, got)
		}
	}
	for _, s := range []string{
		"run r4k2m9x7aq failed with exit 137 after 1m30s", "2026-11-23 18:00:00 the boundary holds against 214 attempts", "127.0.0.1:9464", "kernel 6.1.0-28-amd64",
		"cgroup v2, memory.max 4294967", "entry 1234 of 99999",
	} {
		if got := c.Text(s); got != strings.ReplaceAll(s, "4294967", Hidden) {
			t.Errorf("%q became %q", s, got)
		}
	}
	if got := c.Words(`cannot read "my diary": 'x y' is ` + "`odd`" + `, “so”`); got != "cannot read "+Hidden+": "+Hidden+" is "+Hidden+", "+Hidden {
		t.Errorf("%q", got)
	}
}

// Of a configuration the shape stays, the numbers, and words of closed lists.
func TestConfig(t *testing.T) {
	c := NewCleaner("")
	raw := []byte(`{"version":1,"executionMode":"host","database":"postgres://x","limits":{"runTime":"30m0s","memory":"4GiB","cpus":2},
		"groups":{"family":{"mode":"host","mounts":[{"path":"~/diary"}],"chats":["slack:C1"],"prompt":"Be kind to Ann."}},
		"people":{"whatsapp:4917123":{"name":"Ann","role":"admin"}},"model":{"baseURL":"https://internal.corp"},"egress":{"hosts":{"internal.corp":{"private":true}}},
		"mcpServers":{"tracker":{"env":{"TOKEN":"hunter22","MODE":"abc"},"args":["--secret","x"]}}}`)
	out := asBundled(c.Config(raw))
	for _, gone := range []string{"diary", "C1", "Ann", "4917", "internal.corp", "hunter22", "abc", "--secret", "postgres"} {
		if strings.Contains(out, gone) {
			t.Errorf("%q is in %s", gone, out)
		}
	}
	for _, stays := range []string{`"executionMode": "host"`, `"runTime": "30m0s"`, `"memory": "4GiB"`, `"cpus": 2`, `"family"`, `"role": "admin"`, `"tracker"`, `"TOKEN": "[hidden]"`, `"private": true`} {
		if !strings.Contains(out, stays) {
			t.Errorf("%s is not in %s", stays, out)
		}
	}
	if got := strings.Join(c.Private(raw), "|"); !strings.Contains(got, "hunter22") || !strings.Contains(got, "internal.corp") || !strings.Contains(got, "Be kind to Ann.") || strings.Contains(got, "admin") {
		t.Errorf("%q", got)
	}
}

// asBundled is a value as it would be in a bundle.
func asBundled(v any) string {
	var b Bundle
	b.AddJSON("x", "", v)
	return string(b.Files[0].Data)
}

// Values of ours keep their numbers and times, and only named fields of others pass.
func TestValues(t *testing.T) {
	c := NewCleaner("")
	got := asBundled(c.Value(map[string]any{"at": "2026-11-23T18:00:00.5Z", "bytes": 123456789, "err": `no "secret" there`}))
	if !strings.Contains(got, "2026-11-23T18:00:00.5Z") || !strings.Contains(got, "123456789") || strings.Contains(got, "secret") {
		t.Error(got)
	}
	got = asBundled(c.Only(map[string]any{"state": "failed", "text": "secret", "reason": "secret", "verdict": "a\nlong <text>", "ms": 5}, "state", "verdict", "ms"))
	if strings.Contains(got, "secret") || strings.Contains(got, "long") || !strings.Contains(got, `"failed"`) {
		t.Error(got)
	}
}

// A bundle is one file that its owner alone can read; of a long one the end is kept.
func TestSave(t *testing.T) {
	var b Bundle
	b.Add("log", "", strings.Repeat("old\n", maxFile/4)+"newest\n")
	b.Add("a", "", "x\n")
	path := filepath.Join(t.TempDir(), "b.tar.gz")
	if err := b.Save(path, "folder", time.Now()); err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(path)
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", fi, err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	r := tar.NewReader(z)
	h, err := r.Next()
	if err != nil || h.Name != "folder/log" || h.Mode != 0o600 || h.Size > maxFile {
		t.Errorf("%+v %v", h, err)
	}
	text, err := io.ReadAll(r)
	if err != nil || !bytes.HasSuffix(text, []byte("old\nnewest\n")) {
		t.Errorf("%v, %d bytes", err, len(text))
	}
}
