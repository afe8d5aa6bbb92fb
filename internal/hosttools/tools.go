package hosttools

import (
	"encoding/json"
	"sync"
)

// all lists the tools. The order is the one in which they are told of.
var all = sync.OnceValue(func() []tool {
	return []tool{
		sendMessage(), listGroups(), registerGroup(), scheduleTask(), listTasks(), updateTask(),
		actTask(PauseTask, "Pause a scheduled task: it is not due until it is resumed. What it would have done meanwhile is left out."),
		actTask(ResumeTask, "Resume a paused task. Its next time is computed from now; what passed meanwhile is not made up for."),
		actTask(CancelTask, "Cancel a scheduled task for good: it is forgotten, with its history. If it runs now, the run is ended."),
		sendFile(), sendImage(), addReaction(),
	}
})

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
