package config

import (
	"embed"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"reflect"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
)

// manual is the description of the format: the comments of its fields are the
// descriptions in the schema. The source itself is embedded, so there is no
// second copy that could fall behind.
//
//go:embed channels.go config.go group.go nodes.go observe.go servers.go
var manual embed.FS

// variable is what a text may hold in place of a value that a pattern or a list
// of words asks for.
const variable = `\$\{`

// Schema gives the JSON Schema of the file, made from Config and the comments
// on its fields. It is for editors and other tools; Decode does not use it, and
// checks more.
func Schema() ([]byte, error) {
	s, err := schema()
	if err != nil {
		return nil, fmt.Errorf("schema of the configuration: %w", err)
	}
	return json.MarshalIndent(s, "", "  ")
}

func schema() (*jsonschema.Schema, error) {
	s, err := jsonschema.For[Config](&jsonschema.ForOptions{TypeSchemas: map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[Duration](): {Type: "string", Pattern: `^([0-9]+(d|h|m|s|ms))+$|` + variable},
		reflect.TypeFor[Text]():     {Type: "string"},
		reflect.TypeFor[USD]():      {Type: "string", Pattern: `^\$[0-9]+(\.[0-9]{1,6})?$|` + variable},
		reflect.TypeFor[Size]():     {Type: "string", Pattern: `^[0-9]+(B|KB|MB|GB|TB)$|` + variable},
	}})
	if err != nil {
		return nil, err
	}
	words, err := comments(manual)
	if err != nil {
		return nil, err
	}
	describeSchema(s, reflect.TypeFor[Config](), words)
	s.Schema = "https://json-schema.org/draft/2020-12/schema"
	s.Title = "NanoClaw configuration"
	s.Description = words["Config"]
	if err := setDefaults(s); err != nil {
		return nil, err
	}
	for property, known := range map[*jsonschema.Schema][]string{
		s.Properties["executionMode"]:                                     {modeContainer, modeHost},
		s.Properties["globalMcpInheritance"]:                              inheritances,
		s.Properties["agent"].Properties["kind"]:                          agentKinds,
		s.Properties["boundary"].Properties["engine"]:                     engines,
		s.Properties["container"].Properties["engine"]:                    containers,
		s.Properties["groups"].AdditionalProperties.Properties["mode"]:    {"", modeContainer, modeHost},
		s.Properties["groups"].AdditionalProperties.Properties["agent"]:   append([]string{""}, agentKinds...),
		s.Properties["groups"].AdditionalProperties.Properties["trigger"]: append([]string{""}, triggers...),
		s.Properties["groups"].AdditionalProperties.Properties["confirm"]: append([]string{""}, confirms...),

		s.Properties["groups"].AdditionalProperties.Properties["serverTools"].Items: serverTools,
	} {
		property.AnyOf = []*jsonschema.Schema{{Enum: anys(known)}, {Pattern: variable}}
	}
	return s, nil
}

// describeSchema adds the comments, and corrects what the library takes from
// the types: every key may be left out but the path of a mount and the modes of an
// MCP server, and null is never a value.
func describeSchema(s *jsonschema.Schema, t reflect.Type, words map[string]string) {
	switch t.Kind() {
	case reflect.Map:
		describeSchema(s.AdditionalProperties, t.Elem(), words)
	case reflect.Slice:
		s.Type, s.Types = "array", nil
		describeSchema(s.Items, t.Elem(), words)
	case reflect.Struct:
		if t == reflect.TypeFor[Text]() {
			return
		}
		s.Required = nil
		if t == reflect.TypeFor[Mount]() {
			s.Required = []string{"path"}
		}
		if t == reflect.TypeFor[MCPServer]() {
			s.Required = []string{"modes"}
		}
		for _, f := range fieldsOf(t) {
			property := s.Properties[f.key]
			describeSchema(property, t.Field(f.index).Type, words)
			property.Description = words[t.Name()+"."+t.Field(f.index).Name]
		}
	}
}

// setDefaults writes the defaults of single values into the schema.
func setDefaults(s *jsonschema.Schema) error {
	text, err := json.Marshal(Default())
	if err != nil {
		return err
	}
	var set func(s *jsonschema.Schema, text json.RawMessage) error
	set = func(s *jsonschema.Schema, text json.RawMessage) error {
		if s.Type != "object" {
			s.Default = text
			return nil
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(text, &members); err != nil {
			return err
		}
		for key, value := range members {
			if property := s.Properties[key]; property != nil {
				if err := set(property, value); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return set(s, text)
}

func anys(words []string) []any {
	list := make([]any, len(words))
	for i, w := range words {
		list[i] = w
	}
	return list
}

// comments reads the comments of the types and fields in the Go sources of a folder,
// by "Type" and "Type.Field".
func comments(sources fs.FS) (map[string]string, error) {
	files, err := fs.Glob(sources, "*.go")
	if err != nil {
		return nil, err
	}
	words := make(map[string]string)
	for _, name := range files {
		src, err := fs.ReadFile(sources, name)
		if err != nil {
			return nil, err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		explain(words, file)
	}
	return words, nil
}

// explain adds the comments of one source to words.
func explain(words map[string]string, file *ast.File) {
	for _, decl := range file.Decls {
		general, ok := decl.(*ast.GenDecl)
		if !ok || general.Tok != token.TYPE {
			continue
		}
		for _, spec := range general.Specs {
			typ := spec.(*ast.TypeSpec)
			words[typ.Name.Name] = sentence(general.Doc)
			fields, ok := typ.Type.(*ast.StructType)
			if !ok {
				continue
			}
			for _, f := range fields.Fields.List {
				for _, name := range f.Names {
					words[typ.Name.Name+"."+name.Name] = sentence(f.Doc)
				}
			}
		}
	}
}

// sentence is a comment on one line.
func sentence(c *ast.CommentGroup) string {
	return strings.Join(strings.Fields(c.Text()), " ")
}
