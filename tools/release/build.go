package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/semver"
)

// output runs a program and gives what it printed.
func output(dir string, env []string, name string, args ...string) ([]byte, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, said.Bytes())
	}
	return out, nil
}

// git asks about a repository, whoever it belongs to.
func git(source string, args ...string) (string, error) {
	out, err := output(source, nil, "git", append([]string{"-c", "safe.directory=*"}, args...)...)
	return strings.TrimSpace(string(out)), err
}

// commit gives the time of the commit, and the version that it has by its tag. What no
// tag was given has a version that sorts by time before every tag, in the form of Go's
// own pseudo-versions.
func commit(source string) (epoch time.Time, version string, err error) {
	seconds, err := git(source, "log", "-1", "--format=%ct")
	if err != nil {
		return epoch, "", err
	}
	if given := os.Getenv("SOURCE_DATE_EPOCH"); given != "" {
		seconds = given
	}
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return epoch, "", fmt.Errorf("the time of the commit: %w", err)
	}
	epoch = time.Unix(n, 0).UTC()
	if tag, err := git(source, "describe", "--tags", "--exact-match", "--match", "v[0-9]*"); err == nil {
		return epoch, tag, nil
	}
	hash, err := git(source, "rev-parse", "HEAD")
	if err != nil {
		return epoch, "", err
	}
	return epoch, "v0.0.0-" + epoch.Format("20060102150405") + "-" + hash[:12], nil
}

// checkVersion refuses what an upgrade could not compare, or a file could not be called.
func checkVersion(v string) error {
	if !semver.IsValid(v) || semver.Canonical(v) != v {
		return fmt.Errorf("%q is no version of a release, such as v1.2.0 or v1.2.0-rc.1", v)
	}
	return nil
}

// export writes the files of the commit into a folder.
func export(source, to string) error {
	data, err := output(source, nil, "git", "-c", "safe.directory=*", "archive", "--format=tar", "HEAD")
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(to)
	if err != nil {
		return err
	}
	defer root.Close()
	for in := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch h.Typeflag {
		case tar.TypeDir:
			err = root.MkdirAll(strings.TrimSuffix(h.Name, "/"), 0o755)
		case tar.TypeReg:
			var text []byte
			if text, err = io.ReadAll(in); err == nil {
				err = root.WriteFile(h.Name, text, 0o644)
			}
		case tar.TypeXGlobalHeader: // the name of the commit
		default:
			err = fmt.Errorf("%s is neither a file nor a folder", h.Name)
		}
		if err != nil {
			return err
		}
	}
}

// The flags are those of the Makefile. The init for Linux begins at an entry of its own.
const (
	linuxInit = "-s -w -E=main.entry"
	macInit   = "-s -w"
)

// build makes the program for one platform, with the inits that belong inside it.
func (r *release) build(p platform) error {
	inside := filepath.Join(r.tree, "cmd", "nanoclaw", "inside")
	former, err := filepath.Glob(filepath.Join(inside, "nanoclaw-init-*"))
	if err != nil {
		return err
	}
	for _, name := range former {
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	for _, in := range insideOf(p) {
		if err := r.buildInit(in, filepath.Join(inside, "nanoclaw-init-"+in.os+"-"+in.arch)); err != nil {
			return err
		}
	}
	flags := "-s -w -X main.version=" + r.version
	if r.public != "" {
		flags += " -X main.releaseKey=" + r.public
	}
	return r.goBuild(p, flags, r.program(p), "./cmd/nanoclaw")
}

// buildInit makes the program that is inside.
func (r *release) buildInit(p platform, out string) error {
	flags := linuxInit
	if p.os != "linux" {
		flags = macInit
	}
	return r.goBuild(p, flags, out, "./cmd/nanoclaw-init")
}

// insideOf lists the inits in a program: on a Mac also those of its Linux containers.
func insideOf(p platform) []platform {
	if p.os == "linux" {
		return []platform{p}
	}
	return []platform{p, {"linux", "amd64"}, {"linux", "arm64"}}
}

// goBuild builds one program, by this Go and without what the machine's settings say.
func (r *release) goBuild(p platform, ldflags, out, pkg string) error {
	env := append([]string{
		"GOOS=" + p.os, "GOARCH=" + p.arch, "CGO_ENABLED=0", "GOFLAGS=-trimpath -buildvcs=false", "GOWORK=off", "GOENV=off",
		"GOTOOLCHAIN=local", "GOEXPERIMENT=", "GOAMD64=v1", "GOARM64=v8.0", "GO_EXTLINK_ENABLED=",
	}, r.env...)
	_, err := output(r.tree, env, "go", "build", "-ldflags", ldflags, "-o", out, pkg)
	return err
}

// shells are those for which the program writes completions, by the names under which
// Debian keeps them.
var shells = map[string]string{
	"bash": "share/bash-completion/completions/nanoclaw",
	"zsh":  "share/zsh/vendor-completions/_nanoclaw",
	"fish": "share/fish/vendor_completions.d/nanoclaw.fish",
}

// manual is the name of the page of the manual, which is a text as those for shells are.
const manual = "man"

// completions asks the program of this machine's kind for them, and for its page of
// the manual.
func (r *release) completions() (map[string][]byte, error) {
	home, err := os.MkdirTemp("", "nanoclaw-home-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(home)
	texts := map[string][]byte{}
	for shell := range shells {
		text, err := output(home, []string{"NANOCLAW_HOME=" + home}, r.program(platform{runtime.GOOS, runtime.GOARCH}), "completion", shell)
		if err != nil {
			return nil, err
		}
		texts[shell] = text
	}
	page, err := output(home, []string{"NANOCLAW_HOME=" + home}, r.program(platform{runtime.GOOS, runtime.GOARCH}), "man")
	texts[manual] = page
	return texts, err
}

// documents are the files of the commit that go along with a program.
func (r *release) documents() (map[string][]byte, error) {
	found := map[string][]byte{}
	pages, err := filepath.Glob(filepath.Join(r.tree, "docs", "*.md"))
	if err != nil {
		return nil, err
	}
	for _, page := range append(pages, filepath.Join(r.tree, "README.md"), filepath.Join(r.tree, "LICENSE"), filepath.Join(r.tree, "NOTICE")) {
		text, err := os.ReadFile(page)
		if err != nil {
			return nil, err
		}
		name, err := filepath.Rel(r.tree, page)
		if err != nil {
			return nil, err
		}
		found[filepath.ToSlash(name)] = text
	}
	return found, nil
}
