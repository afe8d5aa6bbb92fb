package nanoclaw_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// licences are the ones that we accept in the program, each known by a phrase
// that no other has. Texts are compared with their white space folded.
var licences = []struct {
	name  string
	match func(text string) bool
}{
	{"Apache-2.0", has("Apache License Version 2.0, January 2004")},
	{"MPL-2.0", has("Mozilla Public License Version 2.0 ====", "Mozilla Public License Version 2.0 1. Definitions", "Mozilla Public License, version 2.0 1. Definitions")},
	{"MIT", has("Permission is hereby granted, free of charge, to any person obtaining a copy")},
	{"ISC", has("Permission to use, copy, modify, and/or distribute this software for any purpose", "Permission to use, copy, modify, and distribute this software for any purpose")},
	{"BSD-3-Clause", func(s string) bool {
		return redistribution(s) && strings.Contains(s, "Neither the name") && !advertising(s)
	}},
	{"BSD-2-Clause", func(s string) bool {
		return redistribution(s) && !strings.Contains(s, "Neither the name") && !advertising(s)
	}},
	{"Public-Domain", has("SQLite Is Public Domain")},
	{"Zlib", has("Altered source versions must be plainly marked as such")},
}

var (
	redistribution = has("Redistribution and use in source and binary forms")
	advertising    = has("All advertising materials")
)

func has(phrases ...string) func(string) bool {
	return func(text string) bool {
		return slices.ContainsFunc(phrases, func(p string) bool { return strings.Contains(text, p) })
	}
}

// refused are the titles of licences that would decide over our whole program.
// MPL-2.0 names them in its text, so only a title counts.
var refused = regexp.MustCompile(`(?m)^\s*GNU (AFFERO |LESSER )?GENERAL PUBLIC LICENSE\s*$`)

// identify names the licences in a text. A text with none that we know, or
// with one that we refuse, is an error.
func identify(text string) ([]string, error) {
	if title := refused.FindString(text); title != "" {
		return nil, fmt.Errorf("%q is a licence that we cannot link", strings.TrimSpace(title))
	}
	folded := strings.Join(strings.Fields(text), " ")
	var names []string
	for _, l := range licences {
		if l.match(folded) {
			names = append(names, l.name)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no licence that we know")
	}
	return names, nil
}

// linked is a module that is part of the program.
type linked struct {
	path, version string
	licences      []string
	copyrights    []string
	texts         []string // the terms, without copyright lines
	notice        string   // its own NOTICE file
}

// linkedModules reads every module that the programs link on any platform.
func linkedModules(t *testing.T) []linked {
	t.Helper()
	found := make(map[string]linked)
	for _, platform := range platforms {
		const format = "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}"
		for _, line := range goTool(t, env(platform), "list", "-deps", "-f", format, "./cmd/...") {
			path, rest, _ := strings.Cut(line, " ")
			version, dir, _ := strings.Cut(rest, " ")
			if _, seen := found[path]; !seen {
				found[path] = readModule(t, path, version, dir)
			}
		}
	}
	var all []linked
	for _, m := range found {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b linked) int { return strings.Compare(a.path, b.path) })
	return all
}

// aside are files that are called licences and say nothing about what we link.
var aside = map[string]string{
	"modernc.org/memory LICENSE-LOGO":         "about a picture",
	"modernc.org/sqlite LICENSE-3RD-PARTY.md": "repeats the licences of other modules, each of which is read itself",
	"modernc.org/sqlite LICENSE-SQLITE_VEC":   "of a package that we do not import",
}

// readModule reads the licence files at the root of a module.
func readModule(t *testing.T, path, version, dir string) linked {
	t.Helper()
	m := linked{path: path, version: version}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := strings.ToUpper(e.Name())
		licence := strings.HasPrefix(name, "LICENSE") || strings.HasPrefix(name, "LICENCE") || strings.HasPrefix(name, "COPYING")
		if e.IsDir() || aside[path+" "+e.Name()] != "" || !licence && !strings.HasPrefix(name, "NOTICE") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(data), "\r\n", "\n")
		if !licence {
			m.notice += strings.TrimSpace(text) + "\n"
			continue
		}
		names, err := identify(text)
		if err != nil {
			t.Errorf("%s %s: %s: %v", path, version, e.Name(), err)
		}
		m.licences = append(m.licences, names...)
		if strings.Contains(name, "3RD-PARTY") { // a collection: its copyright lines belong to their texts
			m.texts = append(m.texts, text)
			continue
		}
		rights, terms := split(text)
		m.copyrights = append(m.copyrights, rights...)
		m.texts = append(m.texts, terms)
	}
	if len(m.texts) == 0 {
		t.Errorf("%s %s has no licence file", path, version)
	}
	slices.Sort(m.licences)
	m.licences = slices.Compact(m.licences)
	slices.Sort(m.copyrights)
	m.copyrights = slices.Compact(m.copyrights)
	return m
}

var copyright = regexp.MustCompile(`^(Copyright|©) .*`)

// split parts the copyright lines of a licence from its terms.
func split(text string) (rights []string, terms string) {
	var kept []string
	for _, line := range strings.Split(text, "\n") {
		bare := strings.TrimSpace(line)
		if copyright.MatchString(bare) && !strings.Contains(bare, "[yyyy]") {
			rights = append(rights, bare)
			continue
		}
		kept = append(kept, strings.TrimRight(line, " \t"))
	}
	return rights, strings.Trim(strings.Join(kept, "\n"), "\n")
}

const noticeHead = `NanoClaw
Copyright The NanoClaw authors

Licensed under the Apache License, Version 2.0 (see LICENSE).

The programs "nanoclaw" and "nanoclaw-init" contain the Go standard library and
the modules below, unchanged. This file is made by "go test . -update" from the
licence files of the modules, and a test holds it to what is linked. Claude Code
is not part of NanoClaw and is not shipped with it.

The source of each module is what its path and version name at any Go module
proxy; that holds for the ones under MPL-2.0 too, which are used unmodified.
`

// notice writes the NOTICE file.
func notice(modules []linked) string {
	var b strings.Builder
	b.WriteString(noticeHead)
	var texts []string
	for _, m := range modules {
		fmt.Fprintf(&b, "\n%s %s\n  %s", m.path, m.version, strings.Join(m.licences, ", "))
		for _, text := range m.texts {
			at := slices.IndexFunc(texts, func(known string) bool {
				return strings.Join(strings.Fields(known), " ") == strings.Join(strings.Fields(text), " ")
			})
			if at < 0 {
				at = len(texts)
				texts = append(texts, text)
			}
			fmt.Fprintf(&b, " (text %d)", at+1)
		}
		b.WriteString("\n")
		for _, c := range m.copyrights {
			fmt.Fprintf(&b, "  %s\n", c)
		}
		for line := range strings.Lines(m.notice) {
			b.WriteString("  | " + line)
		}
	}
	for i, text := range texts {
		fmt.Fprintf(&b, "\n%s\nText %d\n\n%s\n", strings.Repeat("=", 80), i+1, text)
	}
	return b.String()
}

// WhatsApp's library links one that is under the GPL. It is in a module of its own, and
// no program of ours here may come to need it.
func TestWhatsAppIsApart(t *testing.T) {
	for _, m := range linkedModules(t) {
		if strings.HasPrefix(m.path, "go.mau.fi/") {
			t.Errorf("%s is linked", m.path)
		}
	}
	for _, file := range []string{"go.mod", "go.sum"} {
		if data, err := os.ReadFile(file); err != nil || strings.Contains(string(data), "go.mau.fi/") {
			t.Errorf("%s names a module of WhatsApp's (%v)", file, err)
		}
	}
	text, err := os.ReadFile("adapters/whatsapp/LICENSE")
	if err != nil || !refused.Match(text) {
		t.Errorf("the adapter does not say that it is under the GPL (%v)", err)
	}
}

func TestNoticeNamesWhatIsLinked(t *testing.T) {
	golden(t, "NOTICE", notice(linkedModules(t)))
}

func TestIdentifyLicences(t *testing.T) {
	tests := []struct {
		name, text, want string
	}{
		{"MIT", "Copyright (c) X\n\nPermission is hereby granted, free of charge, to any\nperson obtaining a copy of", "MIT"},
		{"ISC", "Permission to use, copy, modify, and/or distribute this software for any\npurpose with", "ISC"},
		{"BSD with three clauses", "Redistribution and use in source and binary forms, x. Neither the name of", "BSD-3-Clause"},
		{"BSD with two clauses", "Redistribution and use in source and binary forms, x.", "BSD-2-Clause"},
		{"BSD with the advertising clause", "Redistribution and use in source and binary forms. All advertising materials. Neither the name", ""},
		{"Apache", "   Apache License\n  Version 2.0, January 2004\n http", "Apache-2.0"},
		{"two at once", "Apache License\nVersion 2.0, January 2004\n---\nPermission is hereby granted, free of charge, to any person obtaining a copy", "Apache-2.0 MIT"},
		{"GPL", "                    GNU GENERAL PUBLIC LICENSE\n                       Version 3, 29 June 2007", ""},
		{"AGPL", "GNU AFFERO GENERAL PUBLIC LICENSE\n", ""},
		{"GPL beside MIT", "Permission is hereby granted, free of charge, to any person obtaining a copy\n\nGNU GENERAL PUBLIC LICENSE\n", ""},
		{"MPL, which names the GPL", "Mozilla Public License Version 2.0\n====\n\"Secondary License\" means either the GNU General Public License, Version 2.0,", "MPL-2.0"},
		{"unknown", "You may look at this on Sundays.", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			names, err := identify(tt.text)
			if got := strings.Join(names, " "); got != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("identify = %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}
