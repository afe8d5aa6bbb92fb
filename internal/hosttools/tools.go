package hosttools

import (
	"encoding/json"
)

// all lists the tools. The order is the one in which they are told of.
func all() []tool { return []tool{sendMessage(), listGroups(), sendFile(), sendImage()} }

// object is a JSON Schema for arguments: nothing beside the properties.
func object(properties map[string]string, required ...string) json.RawMessage {
	props := map[string]any{}
	for name, description := range properties {
		props[name] = map[string]any{"type": "string", "description": description}
	}
	schema := map[string]any{"type": "object", "properties": props, "additionalProperties": false}
	if required != nil {
		schema["required"] = required
	}
	b, _ := json.Marshal(schema) // maps of strings always marshal
	return b
}
