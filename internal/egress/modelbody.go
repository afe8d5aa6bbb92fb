package egress

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// What a request to the model may ask of the model's provider.
//
// The provider does things on request: it fetches addresses, runs code, calls
// tool servers, opens files of an account. Each would be a way out of the
// boundary that no egress rule sees, paid with the owner's credential. Any
// process inside can send such a request, whatever tools the agent was given. So
// a body passes only if each part of it is known to be harmless (the Messages
// API, platform.claude.com/docs).
//
// The body is judged as it is and forwarded as it is, so it must not read
// differently elsewhere: it has to be one JSON value, and no object that is
// judged may name a key twice.

// bodyFields are the fields of a request that pass. Among those that do not:
// mcp_servers (the provider would call servers) and container (it would run
// code).
var bodyFields = map[string]bool{
	"model": true, "messages": true, "system": true, "max_tokens": true, "stream": true, "tools": true, "tool_choice": true,
	"temperature": true, "top_p": true, "top_k": true, "stop_sequences": true, "metadata": true, "thinking": true,
	"output_config": true, "output_format": true, "context_management": true, "service_tier": true, "speed": true, "cache_control": true,
}

// bodyRules is what a session's requests may ask of the provider.
type bodyRules struct {
	tools  []string        // beginnings of the types of tools that pass
	blocks map[string]bool // beyond blockTypes
	uses   map[string]bool // names in a server_tool_use block
}

// serverTool is a tool that the provider runs, as requests speak of it: the type by
// which it is asked for, the names under which its uses stand in a conversation, and
// the blocks that hold what came of them.
type serverTool struct {
	kind   string
	uses   []string
	blocks []string
}

// serverTools are those that a grant may name. What a conversation says of earlier
// uses passes only where the tool is granted: the provider takes up uses that have no
// result yet.
var serverTools = map[string]serverTool{
	"web_search": {"web_search_", []string{"web_search"}, []string{"web_search_tool_result", "web_search_result", "web_search_tool_result_error"}},
	"web_fetch":  {"web_fetch_", []string{"web_fetch"}, []string{"web_fetch_tool_result", "web_fetch_result", "web_fetch_tool_result_error"}},
	"code_execution": {"code_execution_", []string{"code_execution", "bash_code_execution", "text_editor_code_execution"}, []string{
		"code_execution_tool_result", "code_execution_result", "code_execution_output", "code_execution_tool_result_error",
		"bash_code_execution_tool_result", "bash_code_execution_result", "bash_code_execution_output", "bash_code_execution_tool_result_error",
		"text_editor_code_execution_tool_result", "text_editor_code_execution_view_result", "text_editor_code_execution_create_result",
		"text_editor_code_execution_str_replace_result", "text_editor_code_execution_tool_result_error",
	}},
}

// newBodyRules gives the rules of a grant with these server tools.
func newBodyRules(granted []string) bodyRules {
	r := bodyRules{tools: clientTools, blocks: map[string]bool{}, uses: map[string]bool{}}
	for _, name := range granted {
		t, known := serverTools[name]
		if !known {
			continue
		}
		r.tools = append(slices.Clip(r.tools), t.kind)
		r.blocks["server_tool_use"] = true
		for _, use := range t.uses {
			r.uses[use] = true
		}
		for _, b := range t.blocks {
			r.blocks[b] = true
		}
	}
	return r
}

// clientTools begin the types of tools that whoever asks runs, and of those that
// only search the list of tools. A tool of any other type is run by the provider.
var clientTools = []string{"bash_", "text_editor_", "computer_", "memory_", "tool_search_tool_"}

// blockTypes are the content blocks that pass. Among those that do not:
// container_upload, which names a file of the account.
var blockTypes = map[string]bool{
	"text": true, "image": true, "document": true, "search_result": true, "thinking": true, "redacted_thinking": true,
	"tool_use": true, "tool_result": true, "tool_reference": true, "compaction": true,
}

// sources are the kinds of source of an image or a document that carry it along.
// The others, url and file, make the provider fetch it.
var sources = map[string]bool{"base64": true, "text": true, "content": true}

// check says why a request's body may not pass, "" if it may.
func (r bodyRules) check(body []byte) string {
	if !json.Valid(body) {
		return "the request is not one JSON value"
	}
	err := members(body, func(key string, value []byte) error {
		switch {
		case !bodyFields[key]:
			return fmt.Errorf("the field %s is not forwarded", clean(key))
		case key == "tools":
			return elements(value, r.checkTool)
		case key == "system":
			return r.content(value)
		case key == "messages":
			return elements(value, func(message []byte) error {
				return members(message, func(key string, value []byte) error {
					if key == "content" {
						return r.content(value)
					}
					return nil
				})
			})
		}
		return nil
	})
	if err != nil {
		return err.Error()
	}
	return ""
}

// checkTool refuses tools that the provider would run.
func (r bodyRules) checkTool(tool []byte) error {
	return members(tool, func(key string, value []byte) error {
		if key != "type" {
			return nil
		}
		kind := text(value)
		if kind == "custom" || bytes.Equal(value, []byte("null")) {
			return nil
		}
		for _, prefix := range r.tools {
			if strings.HasPrefix(kind, prefix) {
				return nil
			}
		}
		return fmt.Errorf("the tool type %s is not forwarded: the provider would run it, outside of what this group may reach (serverTools of the group allows some)", clean(kind))
	})
}

// content checks content: a text, a list of blocks, or one block, as the result of
// a tool of the provider has it.
func (r bodyRules) content(value []byte) error {
	switch value[0] {
	case '[':
		return elements(value, r.block)
	case '{':
		return r.block(value)
	}
	return nil
}

// block checks one block.
func (r bodyRules) block(block []byte) error {
	if block[0] != '{' {
		return nil
	}
	var kind, name string
	err := members(block, func(key string, value []byte) error {
		switch key {
		case "type":
			if kind = text(value); !blockTypes[kind] && !r.blocks[kind] {
				return fmt.Errorf("a content block of type %s is not forwarded", clean(kind))
			}
		case "name":
			name = text(value)
		case "source":
			return r.checkSource(value)
		case "content": // of a tool's result
			return r.content(value)
		}
		return nil
	})
	if err == nil && kind == "server_tool_use" && !r.uses[name] {
		err = fmt.Errorf("a use of the provider's tool %s is not forwarded", clean(name))
	}
	return err
}

// checkSource refuses what the provider would have to fetch. A search result
// has a plain text here, which only names where it came from.
func (r bodyRules) checkSource(source []byte) error {
	if source[0] != '{' {
		return nil
	}
	known := false
	err := members(source, func(key string, value []byte) error {
		switch key {
		case "type":
			kind := text(value)
			known = sources[kind]
			if !known {
				return fmt.Errorf("an image or document of source type %s is not forwarded: the provider would fetch it; send its content", clean(kind))
			}
		case "content":
			return r.content(value)
		}
		return nil
	})
	if err == nil && !known {
		err = errors.New("an image or document without a source type is not forwarded")
	}
	return err
}

// text gives a JSON text, "" if the value is none.
func text(value []byte) string {
	var s string
	if len(value) == 0 || value[0] != '"' || json.Unmarshal(value, &s) != nil {
		return ""
	}
	return s
}

// maxMembers bounds the keys of one object that is judged: more than any real
// one has, and few enough that looking for doubles stays cheap.
const maxMembers = 256

// members calls f with each key and value of an object, which is part of a valid
// JSON text. What is no object, or names a key twice, is an error.
func members(object []byte, f func(key string, value []byte) error) error {
	i := space(object, 0)
	if object[i] != '{' {
		return errors.New("the request has something else where an object belongs")
	}
	seen := make(map[string]bool)
	for i = space(object, i+1); object[i] != '}'; {
		end := skip(object, i)
		key := text(object[i:end])
		if seen[key] || len(seen) == maxMembers {
			return fmt.Errorf("the request names %s twice in one object, or has too many keys", clean(key))
		}
		seen[key] = true
		start := space(object, space(object, end)+1) // past the colon
		end = skip(object, start)
		if err := f(key, object[start:end]); err != nil {
			return err
		}
		if i = space(object, end); object[i] == ',' {
			i = space(object, i+1)
		}
	}
	return nil
}

// elements calls f with each element of an array, which is part of a valid JSON
// text. What is no array is an error.
func elements(array []byte, f func(value []byte) error) error {
	if bytes.Equal(array, []byte("null")) {
		return nil
	}
	if array[0] != '[' {
		return errors.New("the request has something else where a list belongs")
	}
	for i := space(array, 1); array[i] != ']'; {
		end := skip(array, i)
		if err := f(array[i:end]); err != nil {
			return err
		}
		if i = space(array, end); array[i] == ',' {
			i = space(array, i+1)
		}
	}
	return nil
}

// space gives the index of the first byte from i on that is no white space.
func space(b []byte, i int) int {
	for b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r' {
		i++
	}
	return i
}

// skip gives the index after the value that begins at i, in valid JSON.
func skip(b []byte, i int) int {
	switch b[i] {
	case '"':
		return skipText(b, i)
	case '{', '[':
		depth := 0
		for ; ; i++ {
			switch b[i] {
			case '"':
				i = skipText(b, i) - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
	}
	for i < len(b) && !strings.ContainsRune(",]} \n\t\r", rune(b[i])) {
		i++
	}
	return i
}

func skipText(b []byte, i int) int {
	for i++; b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i + 1
}
