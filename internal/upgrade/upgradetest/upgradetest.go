// Package upgradetest makes small releases for tests: programs that say which version
// they are, and are built from a package of the name that ours has; archives of them;
// and signed lists.
//
// It promises files of the form that a release has. Whether they are accepted is for
// the tests.
package upgradetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"aead.dev/minisign"
)

// source is a program that answers what an upgrade asks of a new one: its version, and
// what "doctor" finds. What it is to say is linked in.
const source = `package main

import (
	"fmt"
	"os"
	"runtime"
)

var version, fails, exit string

func main() {
	switch {
	case exit != "":
		os.Exit(9)
	case len(os.Args) > 1 && os.Args[1] == "version":
		fmt.Printf("{\"version\": %q, \"os\": %q, \"arch\": %q}\n", version, runtime.GOOS, runtime.GOARCH)
	case len(os.Args) > 1 && os.Args[1] == "doctor":
		if fails != "" {
			fmt.Printf("{\"checks\": [{\"name\": %q, \"state\": \"fail\", \"detail\": \"it is said to fail\"}]}\n", fails)
			os.Exit(1)
		}
		fmt.Println("{\"checks\": [{\"name\": \"boundary\", \"state\": \"ok\"}]}")
	}
}
`

// Program is what a program is to say.
type Program struct {
	Version string
	Fails   string // a check of doctor that fails, "" for none
	Broken  bool   // it only ends, with an error
}

// Build builds one. With the build's cache it takes about a second.
func Build(tb testing.TB, p Program) []byte {
	tb.Helper()
	dir := tb.TempDir()
	main := filepath.Join(dir, "cmd", "nanoclaw")
	if err := os.MkdirAll(main, 0o755); err != nil {
		tb.Fatal(err)
	}
	for name, text := range map[string]string{filepath.Join(dir, "go.mod"): "module nanoclaw\n\ngo 1.26.0\n", filepath.Join(main, "main.go"): source} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	flags := "-s -w -X main.version=" + p.Version + " -X main.fails=" + p.Fails
	if p.Broken {
		flags += " -X main.exit=yes"
	}
	out := filepath.Join(dir, "nanoclaw")
	cmd := exec.Command("go", "build", "-ldflags", flags, "-o", out, "./cmd/nanoclaw")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-trimpath -buildvcs=false", "CGO_ENABLED=0", "GOWORK=off")
	if text, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("%v\n%s", err, text)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// Other is a program for another architecture, as far as it says itself. The name of
// that is as long as the real one's.
func Other(program []byte) []byte {
	out := bytes.ReplaceAll(program, []byte("GOARCH=amd64"), []byte("GOARCH=mips9"))
	return bytes.ReplaceAll(out, []byte("GOARCH=arm64"), []byte("GOARCH=mips9"))
}

// Archive is a released archive of a program.
func Archive(tb testing.TB, program []byte) []byte {
	tb.Helper()
	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	w := tar.NewWriter(gz)
	for name, data := range map[string][]byte{"nanoclaw_x/README.md": []byte("read me\n"), "nanoclaw_x/nanoclaw": program} {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(data)), Typeflag: tar.TypeReg}); err != nil {
			tb.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	if err := gz.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// Key makes a pair.
func Key(tb testing.TB) (minisign.PublicKey, minisign.PrivateKey) {
	tb.Helper()
	public, private, err := minisign.GenerateKey(nil)
	if err != nil {
		tb.Fatal(err)
	}
	return public, private
}

// Write writes files into a folder of their own, with the signed list of them, and
// gives the folder.
func Write(tb testing.TB, key minisign.PrivateKey, files map[string][]byte) string {
	tb.Helper()
	dir := tb.TempDir()
	var sums strings.Builder
	for name, data := range files {
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(data), name)
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	hashed := minisign.NewReader(strings.NewReader(sums.String()))
	if _, err := new(bytes.Buffer).ReadFrom(hashed); err != nil {
		tb.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"SHA256SUMS": []byte(sums.String()), "SHA256SUMS.minisig": hashed.SignWithComments(key, "nanoclaw", "signature of a test"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	return dir
}
