package nanoclaw_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"nanoclaw/internal/config"
)

// configurationPage is made from the structs of the configuration.
const configurationPage = "docs/configuration.md"

// knob is a part of the schema of the configuration.
type knob struct {
	Type        json.RawMessage `json:"type"`
	Description string          `json:"description"`
	Default     json.RawMessage `json:"default"`
	Properties  knobs           `json:"properties"`
	Additional  json.RawMessage `json:"additionalProperties"`
	Items       *knob           `json:"items"`
	AnyOf       []struct {
		Enum []string `json:"enum"`
	} `json:"anyOf"`
}

// knobs are properties in the order in which the structs have them.
type knobs []struct {
	key   string
	value knob
}

func (s *knobs) UnmarshalJSON(text []byte) error {
	in := json.NewDecoder(bytes.NewReader(text))
	if _, err := in.Token(); err != nil {
		return err
	}
	for in.More() {
		key, err := in.Token()
		if err != nil {
			return err
		}
		var v knob
		if err := in.Decode(&v); err != nil {
			return err
		}
		*s = append(*s, struct {
			key   string
			value knob
		}{key.(string), v})
	}
	return nil
}

// each calls for a knob, and for all below it, by their whole names.
func (s knob) each(name string, see func(name string, s knob)) {
	see(name, s)
	for _, p := range s.Properties {
		p.value.each(name+"."+p.key, see)
	}
	var named knob
	if json.Unmarshal(s.Additional, &named) == nil && named.Type != nil {
		named.each(name+".NAME", see)
	}
	if s.Items != nil && s.Items.Properties != nil {
		for _, p := range s.Items.Properties {
			p.value.each(name+"[]."+p.key, see)
		}
	}
}

// kind is the type in words, with the values that may be.
func (s knob) kind() string {
	for _, a := range s.AnyOf {
		if len(a.Enum) > 0 {
			var values []string
			for _, v := range a.Enum {
				values = append(values, fmt.Sprintf("`%q`", v))
			}
			return strings.Join(values, ", ")
		}
	}
	kind := strings.Trim(string(s.Type), `"`)
	switch {
	case kind == "array":
		return "list"
	case kind == "object" && len(s.Properties) == 0:
		return "by name"
	case kind == "object":
		return ""
	}
	return kind
}

// configurationReference writes the page.
func configurationReference(t *testing.T) string {
	t.Helper()
	text, err := config.Schema()
	if err != nil {
		t.Fatal(err)
	}
	var whole knob
	if err := json.Unmarshal(text, &whole); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString(`# Every setting

This page is made from the program (` + "`go test . -update`" + `), and a test compares them. The file is
` + "`config.jsonc`" + `: JSON with comments and trailing commas. Every key may be left out; what stands under
*default* holds then. ` + "`NAME`" + ` stands for a name of yours, and ` + "`[]`" + ` for each of a list. Texts may hold
` + "`${VARIABLE}`" + `, which is read from the environment at the start.

How a change of the file takes effect: [config.md](config.md). ` + "`nanoclaw config schema`" + ` prints the same for
editors, and ` + "`nanoclaw config check`" + ` says whether a file is right.
`)
	for _, p := range whole.Properties {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", p.key, p.value.Description)
		var rows strings.Builder
		p.value.each(p.key, func(name string, s knob) {
			if name == p.key && len(s.Properties) > 0 || name != p.key && s.Description == "" {
				return
			}
			words := s.Description
			if name == p.key {
				words = "" // it stands above
			}
			value := ""
			if s.Default != nil {
				value = "`" + string(s.Default) + "`"
			}
			fmt.Fprintf(&rows, "| `%s` | %s | %s | %s |\n", name, s.kind(), value, strings.ReplaceAll(strings.ReplaceAll(words, "|", `\|`), "\n", " "))
		})
		if rows.Len() > 0 {
			b.WriteString("\n| key | value | default | meaning |\n|---|---|---|---|\n" + rows.String())
		}
	}
	return b.String()
}

// The reference cannot fall behind the program.
func TestConfigurationReference(t *testing.T) {
	want := configurationReference(t)
	if *update {
		if err := os.WriteFile(configurationPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(configurationPage)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the program says: go test . -run ConfigurationReference -update\n%s", configurationPage, difference(string(got), want))
	}
	for _, must := range []string{"| `limits.runTime` |", "| `groups.NAME.mounts[].path` |", "| `channels.slack.connect` |", "| `mcpServers.NAME.modes` |"} {
		if !strings.Contains(want, must) {
			t.Errorf("the page has no row %s", must)
		}
	}
}
