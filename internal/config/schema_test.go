package config

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/tailscale/hujson"
)

func TestSchemaDescribesEveryField(t *testing.T) {
	s, err := schema()
	if err != nil {
		t.Fatal(err)
	}
	var visit func(*jsonschema.Schema, reflect.Type)
	visit = func(s *jsonschema.Schema, typ reflect.Type) {
		if typ == reflect.TypeFor[Text]() {
			return
		}
		switch typ.Kind() {
		case reflect.Map:
			visit(s.AdditionalProperties, typ.Elem())
		case reflect.Slice:
			visit(s.Items, typ.Elem())
		case reflect.Struct:
			for i, f := range fieldsOf(typ) {
				property := s.Properties[f.key]
				if property == nil || len(property.Description) < 10 {
					t.Errorf("%s.%s has no description: write a comment on the field", typ, typ.Field(i).Name)
					continue
				}
				visit(property, typ.Field(i).Type)
			}
		}
	}
	visit(s, reflect.TypeFor[Config]())
	const want = "RunTime ends a run that takes longer."
	if got := s.Properties["limits"].Properties["runTime"].Description; got != want {
		t.Errorf("description %q, want %q", got, want)
	}
}

// The schema and the decoder agree on these files.
func TestSchemaAgreesWithDecode(t *testing.T) {
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var s jsonschema.Schema
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	resolved, err := s.Resolve(&jsonschema.ResolveOptions{ValidateDefaults: true})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, text string
		valid      bool
	}{
		{"template", string(Template(Facts{HostMode: true})), true},
		{"empty", "{}", true},
		{"group", `{"groups": {"a": {"mode": "host", "mounts": [{"path": "/x"}]}}}`, true},
		{"variables", `{"executionMode": "${M:-host}", "limits": {"runTime": "${T:-5m}", "fileSize": "${S:-1GB}"}}`, true},
		{"unknown key", `{"x": 1}`, false},
		{"unknown key in a group", `{"groups": {"a": {"mod": "host"}}}`, false},
		{"mode", `{"executionMode": "hots"}`, false},
		{"trigger", `{"groups": {"a": {"trigger": "never"}}}`, false},
		{"number for duration", `{"limits": {"runTime": 5}}`, false},
		{"bad duration", `{"limits": {"runTime": "5"}}`, false},
		{"bad size", `{"limits": {"fileSize": "5gb"}}`, false},
		{"null", `{"tools": null}`, false},
		{"mount without path", `{"groups": {"a": {"mounts": [{}]}}}`, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			standard, err := hujson.Standardize([]byte(test.text))
			if err != nil {
				t.Fatal(err)
			}
			var instance any
			if err := json.Unmarshal(standard, &instance); err != nil {
				t.Fatal(err)
			}
			bySchema := resolved.Validate(instance)
			_, byDecode := Decode("c.jsonc", []byte(test.text), Options{})
			if (bySchema == nil) != test.valid || (byDecode == nil) != test.valid {
				t.Errorf("schema: %v\ndecoder: %v", bySchema, byDecode)
			}
		})
	}
}
