package config

import (
	"regexp"
	"slices"
)

// nodeName is what a node may be called: it is read in lists and in the names of locks.
var nodeName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,62}$`)

func (v *validator) nodes(c *Config) {
	n := c.Nodes
	if n.Name != "" {
		v.nodeName(at("nodes", "name"), n.Name)
		if c.Database == "" {
			v.add(at("nodes", "name"), `no name while database is ""`, quote(n.Name), "only a PostgreSQL database can be shared")
		}
	}
	if n.Groups != "" {
		v.hostPath(at("nodes", "groups"), n.Groups)
		if n.Name == "" {
			v.add(at("nodes", "groups"), "nothing without nodes.name", quote(n.Groups), "")
		}
	}
	names := make([]string, 0, len(c.Groups))
	for name := range c.Groups {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if node := c.Groups[name].Node; node != "" {
			v.nodeName(at("groups", name, "node"), node)
		}
	}
}

func (v *validator) nodeName(field Path, name string) {
	if !nodeName.MatchString(name) {
		v.add(field, "a name of at most 63 letters, digits, dots and dashes", quote(name), "")
	}
}
