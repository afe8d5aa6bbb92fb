package install

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// public is the registry of a machine on which nobody named another.
const public = "https://registry.npmjs.org"

// Registry says which npm registry this machine uses, as npm would: the
// variable npm_config_registry, else .npmrc in the owner's home, where a line
// for the scope @anthropic-ai goes before a general one, else the public one.
//
// A registry is not trusted with anything: it decides whether there is an
// archive, and the pinned hash decides which. Plain http is accepted therefore.
func Registry(getenv func(string) string, home string) (*url.URL, error) {
	for _, name := range []string{"npm_config_registry", "NPM_CONFIG_REGISTRY"} {
		if v := getenv(name); v != "" {
			return parseRegistry(v, name)
		}
	}
	if home != "" {
		file := filepath.Join(home, ".npmrc")
		data, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		if v := fromNpmrc(string(data), getenv); v != "" {
			return parseRegistry(v, file)
		}
	}
	return parseRegistry(public, "")
}

var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// fromNpmrc reads the two kinds of lines that matter (npm's documentation of
// npmrc: ini, comments begin with ; or #, ${NAME} is a variable).
func fromNpmrc(text string, getenv func(string) string) string {
	values := make(map[string]string)
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok || strings.ContainsAny(key[:min(1, len(key))], ";#") {
			continue
		}
		value = strings.Trim(strings.TrimSpace(value), `"'`)
		values[strings.TrimSpace(key)] = variable.ReplaceAllStringFunc(value, func(v string) string { return getenv(v[2 : len(v)-1]) })
	}
	if v := values["@anthropic-ai:registry"]; v != "" {
		return v
	}
	return values["registry"]
}

// parseRegistry checks an address. Its errors do not repeat it, since it may
// hold a password.
func parseRegistry(raw, source string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("the npm registry that %s names is no address such as %s\nfix: mend it, or set npm_config_registry", source, public)
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), ""
	return u, nil
}
