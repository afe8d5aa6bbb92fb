package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// listParts writes what a program is made of, in the form of CycloneDX: what the
// program itself says was linked, and the licences from NOTICE, which a test holds to
// the licences of the modules.
func (r *release) listParts(p platform) error {
	notice, err := os.ReadFile(filepath.Join(r.tree, "NOTICE"))
	if err != nil {
		return err
	}
	l := partsList{licences: licencesOf(string(notice)), seen: map[string]bool{}}
	main, err := l.program(r.program(p), "nanoclaw", r.version)
	if err != nil {
		return err
	}
	// What is embedded is no module of the program, and has modules of its own.
	inits := []cdx.Component{}
	for _, in := range insideOf(p) {
		name := "nanoclaw-init-" + in.os + "-" + in.arch
		file := filepath.Join(r.tree, "cmd", "nanoclaw", "inside", name)
		if err := r.buildInit(in, file); err != nil {
			return err
		}
		c, err := l.program(file, name, r.version)
		if err != nil {
			return err
		}
		inits = append(inits, c)
	}
	main.Components = &inits
	bom := cdx.NewBOM()
	bom.SerialNumber = "urn:uuid:" + nameUUID((*main.Hashes)[0].Value)
	bom.Metadata = &cdx.Metadata{Timestamp: r.epoch.Format("2006-01-02T15:04:05Z"), Component: &main}
	bom.Components, bom.Dependencies = &l.components, &l.dependencies
	f, err := os.Create(filepath.Join(r.out, r.name(p, ".cdx.json")))
	if err != nil {
		return err
	}
	err = cdx.NewBOMEncoder(f, cdx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(bom, cdx.SpecVersion1_6)
	if closing := f.Close(); err == nil {
		err = closing
	}
	return err
}

// partsList collects modules, each once.
type partsList struct {
	licences     map[string]string
	seen         map[string]bool
	components   []cdx.Component
	dependencies []cdx.Dependency
}

// program adds what one program links, and gives the program itself.
func (l *partsList) program(file, name, version string) (cdx.Component, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return cdx.Component{}, err
	}
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return cdx.Component{}, err
	}
	ref := name + "@" + version
	on := []string{l.module("stdlib", "v"+strings.TrimPrefix(info.GoVersion, "go"), "pkg:golang/stdlib@"+strings.TrimPrefix(info.GoVersion, "go"))}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		on = append(on, l.module(m.Path, m.Version, "pkg:golang/"+m.Path+"@"+m.Version))
	}
	slices.Sort(on)
	l.dependencies = append(l.dependencies, cdx.Dependency{Ref: ref, Dependencies: &on})
	return cdx.Component{
		BOMRef: ref, Type: cdx.ComponentTypeApplication, Name: name, Version: version,
		Hashes:   &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: fmt.Sprintf("%x", sha256.Sum256(data))}},
		Licenses: &cdx.Licenses{{License: &cdx.License{ID: "Apache-2.0"}}},
	}, nil
}

// module adds one, and gives how it is called in the list.
func (l *partsList) module(path, version, url string) string {
	if l.seen[url] {
		return url
	}
	l.seen[url] = true
	c := cdx.Component{BOMRef: url, Type: cdx.ComponentTypeLibrary, Name: path, Version: version, PackageURL: url, Scope: cdx.ScopeRequired}
	said := l.licences[path+" "+version]
	if path == "stdlib" {
		said = "BSD-3-Clause"
	}
	if said != "" {
		c.Licenses = &cdx.Licenses{{Expression: said}}
	}
	l.components = append(l.components, c)
	l.dependencies = append(l.dependencies, cdx.Dependency{Ref: url})
	return url
}

// noticed is a module in NOTICE: its path and version, and in the next line its
// licences, each perhaps with the number of its text.
var (
	noticed = regexp.MustCompile(`(?m)^(\S+ v\S+)\n  (.+)$`)
	ofText  = regexp.MustCompile(` \(text \d+\)`)
)

// licencesOf gives licences by module, as an expression of SPDX.
func licencesOf(notice string) map[string]string {
	found := map[string]string{}
	for _, m := range noticed.FindAllStringSubmatch(notice, -1) {
		names := strings.Split(ofText.ReplaceAllString(m[2], ""), ", ")
		for i, n := range names {
			if n == "Public-Domain" { // for which SPDX has no name
				names[i] = "LicenseRef-Public-Domain"
			}
		}
		found[m[1]] = strings.Join(names, " AND ")
	}
	return found
}

// nameUUID makes a UUID of a hash, so that the same program has the same list. Its
// form is version 8 of RFC 9562, which leaves the bits to us.
func nameUUID(hash string) string {
	return hash[:8] + "-" + hash[8:12] + "-8" + hash[13:16] + "-a" + hash[17:20] + "-" + hash[20:32]
}
