package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"nanoclaw/internal/install"
)

// tiny is an archive that stands for Claude Code's, with the pin that fits it.
type tiny struct {
	data []byte
	pin  install.Package
}

// tinyClaude packs the same bytes each time: the script and the program that it
// runs are two processes.
func tinyClaude() tiny {
	const program = "\x7fELF is how it begins, and this is all of it\n"
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "package/claude", Mode: 0o755, Size: int64(len(program))})
	w.Write([]byte(program))
	w.Close()
	z.Close()
	sum := sha512.Sum512(b.Bytes())
	return tiny{b.Bytes(), install.Package{
		Name: "@anthropic-ai/claude-code-tiny", Version: install.Version, Integrity: "sha512-" + base64.StdEncoding.EncodeToString(sum[:]),
	}}
}

// tinyRegistry serves it below /good, spoiled below /wrong and halved below /short.
func tinyRegistry(t *testing.T) string {
	t.Helper()
	file := "/@anthropic-ai/claude-code-tiny/-/claude-code-tiny-" + install.Version + ".tgz"
	data := tinyClaude().data
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/good" + file:
			w.Write(data)
		case "/wrong" + file:
			w.Write(append(bytes.Clone(data), '!'))
		case "/short" + file:
			w.Header().Set("Content-Length", "100000")
			w.Write(data)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// keyedModel is an endpoint that knows one key and one subscription.
func keyedModel(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, subscribed := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer sk-ant-oat01-")
		if r.URL.Path != "/v1/models" || r.Header.Get("X-Api-Key") != "sk-good" && !(subscribed && token == "good") {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}
