package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// control says what the package is. It depends on nothing, since the program is
// static; what is suggested are engines beside its own. No script is in it: nothing is
// started by installing it, and nothing but its own files goes by removing it.
const control = `Package: nanoclaw
Version: %s
Architecture: %s
Maintainer: The NanoClaw authors <nanoclaw@localhost>
Installed-Size: %d
Section: net
Priority: optional
Suggests: bubblewrap, podman, uidmap
Description: personal agent that works on your machine, inside a boundary
 NanoClaw runs a coding agent for each of your chats, natively on this machine
 and inside a boundary of the operating system that it cannot leave. It starts
 nothing by itself; begin with: nanoclaw chat
`

// debianVersion is the version in Debian's words, where "~" sorts before the end.
func debianVersion(v string) string {
	return strings.Replace(strings.TrimPrefix(v, "v"), "-", "~", 1)
}

// debian makes the package, with dpkg-deb.
func (r *release) debian(p platform, program []byte, docs, texts map[string][]byte) error {
	files := map[string]entry{
		"usr/bin/nanoclaw":                 {data: program, mode: 0o755},
		"usr/share/doc/nanoclaw/copyright": {data: append([]byte(noticeHead), docs["LICENSE"]...), mode: 0o644},
	}
	for name, text := range docs {
		if name != "LICENSE" {
			files["usr/share/doc/nanoclaw/"+name] = entry{data: text, mode: 0o644}
		}
	}
	for shell, name := range shells {
		files["usr/"+name] = entry{data: texts[shell], mode: 0o644}
	}
	page, err := zip(texts[manual])
	if err != nil {
		return err
	}
	files["usr/share/man/man1/nanoclaw.1.gz"] = entry{data: page, mode: 0o644}
	size := 0
	for _, f := range files {
		size += len(f.data)
	}
	version := debianVersion(r.version)
	files["DEBIAN/control"] = entry{data: fmt.Appendf(nil, control, version, p.arch, (size+1023)/1024), mode: 0o644}
	dir, err := os.MkdirTemp("", "nanoclaw-deb-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := lay(dir, files, r.epoch); err != nil {
		return err
	}
	_, err = output(dir, []string{fmt.Sprintf("SOURCE_DATE_EPOCH=%d", r.epoch.Unix())},
		"dpkg-deb", "--root-owner-group", "-Zgzip", "-z6", "--build", dir, filepath.Join(r.out, "nanoclaw_"+version+"_"+p.arch+".deb"))
	return err
}

const noticeHead = "NanoClaw is under the Apache License 2.0, which follows. What is linked, and under which\nlicence, stands in NOTICE beside this file.\n\n"

// lay writes files below a folder, with modes and times that no umask and no clock
// decides.
func lay(dir string, files map[string]entry, at time.Time) error {
	for name, f := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, f.data, os.FileMode(f.mode)); err != nil {
			return err
		}
		if err := os.Chmod(name, os.FileMode(f.mode)); err != nil {
			return err
		}
	}
	return filepath.Walk(dir, func(name string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		if info.IsDir() {
			if err := os.Chmod(name, 0o755); err != nil {
				return err
			}
		}
		return os.Chtimes(name, at, at)
	})
}
