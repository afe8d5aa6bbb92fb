// Release makes what is published of a commit: static programs for each system and
// architecture, archives, Debian packages, images for containers, lists of what is
// linked, and the signed sums of all of it.
//
// It promises the same bytes for the same commit, version, Go and public key, wherever
// and whenever it runs: sources come from git and not from the folder as it is, paths
// and times of the machine are left out, and times that a format wants are that of
// the commit. It links nothing into the programs; they come to be in a copy of the
// sources, by the flags of the Makefile.
//
// The key that signs is a file of minisign outside of the repository, which
// NANOCLAW_RELEASE_KEY names. It is read at the end, and only its public half goes into
// the programs, so that "nanoclaw upgrade" knows what it may believe.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// platform is a system and an architecture, in Go's words.
type platform struct{ os, arch string }

func (p platform) String() string { return p.os + "_" + p.arch }

var all = []platform{{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "amd64"}, {"darwin", "arm64"}}

// release is one that is being made.
type release struct {
	tree      string // a copy of the sources of the commit
	out       string
	version   string    // such as v1.2.0
	epoch     time.Time // of the commit
	platforms []platform
	public    string   // the public key that the programs know, "" for none
	env       []string // of the Go tool
}

func main() {
	source := flag.String("source", "..", "the repository; what is not committed is not in a release")
	out := flag.String("out", "../build/release", "where the release goes; what is there is removed")
	version := flag.String("version", "", "the version (default: the tag of the commit, else v0.0.0-TIME-COMMIT)")
	unsigned := flag.Bool("unsigned", false, "sign nothing; the programs then know no release key, unless NANOCLAW_RELEASE_PUBLIC gives it")
	twice := flag.Bool("reproduce", false, "make the release of this system and architecture twice, in two folders and with two build caches, and compare every byte")
	here := flag.Bool("here", false, "make that of this system and architecture alone, to try it; it is not to be published")
	flag.Parse()
	platforms := all
	if *here {
		platforms = []platform{{runtime.GOOS, runtime.GOARCH}}
	}
	if err := run(*source, *out, *version, platforms, *unsigned, *twice); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(source, out, version string, platforms []platform, unsigned, twice bool) error {
	epoch, described, err := commit(source)
	if err != nil {
		return err
	}
	if version == "" {
		version = described
	}
	if err := checkVersion(version); err != nil {
		return err
	}
	if twice {
		return reproduce(source, release{version: version, epoch: epoch, public: os.Getenv("NANOCLAW_RELEASE_PUBLIC")})
	}
	r := release{out: out, version: version, epoch: epoch, platforms: platforms, public: os.Getenv("NANOCLAW_RELEASE_PUBLIC")}
	sign := func([]byte) error { return nil }
	if !unsigned {
		if r.public, sign, err = signer(source, out, version); err != nil {
			return err
		}
	}
	if err := r.make(source); err != nil {
		return err
	}
	sums, err := os.ReadFile(filepath.Join(out, sumsName))
	if err != nil {
		return err
	}
	if err := sign(sums); err != nil {
		return err
	}
	fmt.Printf("%s is in %s\n", version, out)
	return nil
}

// make fills the folder of the release, all but the signature.
func (r *release) make(source string) (err error) {
	if r.out, err = filepath.Abs(r.out); err != nil {
		return err
	}
	if err := os.RemoveAll(r.out); err != nil {
		return err
	}
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	if r.tree, err = os.MkdirTemp("", "nanoclaw-release-"); err != nil {
		return err
	}
	defer os.RemoveAll(r.tree)
	if err := export(source, r.tree); err != nil {
		return err
	}
	for _, p := range r.platforms {
		fmt.Fprintln(os.Stderr, "== program for", p)
		if err := r.build(p); err != nil {
			return err
		}
	}
	shells, err := r.completions()
	if err != nil {
		return err
	}
	for _, p := range r.platforms {
		if err := r.pack(p, shells); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	return writeSums(r.out)
}

// pack makes everything that is made of one program.
func (r *release) pack(p platform, shells map[string][]byte) error {
	program, err := os.ReadFile(r.program(p))
	if err != nil {
		return err
	}
	docs, err := r.documents()
	if err != nil {
		return err
	}
	if err := r.archive(p, program, docs, shells); err != nil {
		return err
	}
	if err := r.listParts(p); err != nil {
		return err
	}
	if p.os != "linux" {
		return nil
	}
	if err := r.debian(p, program, docs, shells); err != nil {
		return err
	}
	return r.image(p, program)
}

// name is that of a file of the release.
func (r *release) name(p platform, suffix string) string {
	return "nanoclaw_" + r.version + "_" + p.String() + suffix
}

func (r *release) program(p platform) string { return filepath.Join(r.out, r.name(p, "")) }

// reproduce makes the release of this machine's kind twice and compares it.
func reproduce(source string, r release) error {
	host := platform{runtime.GOOS, runtime.GOARCH}
	dir, err := os.MkdirTemp("", "nanoclaw-reproduce-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var sums []string
	for i, way := range []struct{ folder, cache, zone string }{
		{"one", "", "UTC"}, // the cache that is there
		{"another/folder, with a longer name", filepath.Join(dir, "cache"), "Pacific/Kiritimati"},
	} {
		one := r
		one.platforms, one.out = []platform{host}, filepath.Join(dir, way.folder, "out")
		tmp := filepath.Join(dir, way.folder, "tmp")
		if err := os.MkdirAll(tmp, 0o700); err != nil {
			return err
		}
		one.env = []string{"TZ=" + way.zone}
		if way.cache != "" {
			one.env = append(one.env, "GOCACHE="+way.cache)
		}
		if err := errors.Join(os.Setenv("TMPDIR", tmp), os.Setenv("TZ", way.zone)); err != nil {
			return err
		}
		fmt.Fprintln(os.Stderr, "== release", i+1, "of 2")
		if err := one.make(source); err != nil {
			return err
		}
		text, err := os.ReadFile(filepath.Join(one.out, sumsName))
		if err != nil {
			return err
		}
		sums = append(sums, string(text))
	}
	if sums[0] != sums[1] {
		return fmt.Errorf("two releases of one commit differ:\n%s\n%s", sums[0], sums[1])
	}
	fmt.Printf("two releases of %s, in two folders with two build caches, are the same:\n%s", r.version, strings.TrimRight(sums[0], "\n")+"\n")
	return nil
}
