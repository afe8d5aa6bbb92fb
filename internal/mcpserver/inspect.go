package mcpserver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Bounds of what a server tells about itself.
const (
	maxTools = 1000
	maxPages = 50
	maxStray = 1000 // messages that are no answer
)

// ProtocolVersion is the version of MCP that the host speaks for itself.
const ProtocolVersion = "2025-06-18"

// Definitions are the tools of a server.
type Definitions struct {
	// Server is what the server calls itself, with its version.
	Server string `json:"server,omitempty"`
	// Hash is that of all tools together.
	Hash string `json:"hash"`
	// Tools has the hash of each tool's definition, by its name.
	Tools map[string]string `json:"tools"`
	// Instructions is the hash of what the server tells agents of itself, "" for
	// nothing.
	Instructions string `json:"instructions,omitempty"`
	// Texts are the definitions themselves, so that a change can be shown: by tool,
	// and the instructions under "(instructions)". They are missing where they are
	// longer than anybody would read.
	Texts map[string]string `json:"texts,omitempty"`
}

// instructionsName is what instructions are called among the tools. No tool has
// it: see nameOf.
const instructionsName = "(instructions)"

// Bounds of the texts that are kept, in bytes.
const (
	maxText  = 32 << 10  // of one definition
	maxTexts = 512 << 10 // of one server
)

// Names are the tools' names in order.
func (d Definitions) Names() []string {
	var out []string
	for name := range d.Tools {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// define hashes tools as a server lists them, and its instructions. Only what is
// said counts, and not in which order or with how much white space: a definition
// is hashed as JSON with sorted keys, numbers as they were written.
func define(tools []json.RawMessage, instructions json.RawMessage) (Definitions, error) {
	d := Definitions{Tools: map[string]string{}, Texts: map[string]string{}}
	size := 0
	keep := func(name string, text []byte) {
		if size += len(text); len(text) <= maxText && size <= maxTexts {
			d.Texts[name] = string(text)
		}
	}
	seen := map[string]string{}
	for _, raw := range tools {
		text, err := canonical(raw)
		if err != nil {
			return d, err
		}
		name, err := nameOf(text)
		if err != nil {
			return d, err
		}
		if other, twice := seen[agentName(name)]; twice {
			return d, fmt.Errorf("it lists the tool %.60q twice, or another that agents could not tell from it: %.60q", name, other)
		}
		seen[agentName(name)] = name
		d.Tools[name] = hashOf(text)
		keep(name, text)
	}
	all := sha256.New()
	for _, name := range d.Names() {
		fmt.Fprintf(all, "%s %s\n", d.Tools[name], name)
	}
	if len(instructions) > 0 {
		d.Instructions = hashOf(instructions)
		fmt.Fprintf(all, "%s %s\n", d.Instructions, instructionsName)
		keep(instructionsName, instructions)
	}
	d.Hash = hex.EncodeToString(all.Sum(nil))
	return d, nil
}

// nameOf is the name of the tool that a definition is of.
func nameOf(definition []byte) (string, error) {
	var named map[string]json.RawMessage
	var name string
	if json.Unmarshal(definition, &named) != nil || json.Unmarshal(named["name"], &name) != nil || name == "" || name == instructionsName {
		return "", errors.New("it lists a tool without a name")
	}
	return name, nil
}

// agentName is a name as agents see it: Claude Code makes "_" of whatever is not a
// letter, a digit, "_" or "-".
func agentName(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, name)
}

// hashOf is the hash of a JSON value in its one form.
func hashOf(raw json.RawMessage) string {
	text, err := canonical(raw)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// canonical gives a JSON value in one form.
func canonical(raw json.RawMessage) ([]byte, error) {
	in := json.NewDecoder(bytes.NewReader(raw))
	in.UseNumber()
	var v any
	if err := in.Decode(&v); err != nil {
		return nil, fmt.Errorf("a definition cannot be read: %w", err)
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out) // sorts keys
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(out.Bytes()), nil
}

// Inspect begins a session with a server, asks for its tools, and ends it. The
// context bounds all of it.
func Inspect(ctx context.Context, t mcp.Transport) (Definitions, error) {
	conn, err := t.Connect(ctx)
	if err != nil {
		return Definitions{}, err
	}
	defer conn.Close()
	q := &questioner{conn: conn}
	var hello struct {
		ServerInfo   struct{ Name, Version string } `json:"serverInfo"`
		Instructions json.RawMessage                `json:"instructions"`
	}
	err = q.ask(ctx, "initialize", map[string]any{
		"protocolVersion": ProtocolVersion, "capabilities": map[string]any{},
		"clientInfo": map[string]string{"name": "nanoclaw", "version": "1"},
	}, &hello)
	if err == nil {
		err = conn.Write(ctx, &jsonrpc.Request{Method: "notifications/initialized"})
	}
	if err != nil {
		return Definitions{}, err
	}
	tools, err := q.tools(ctx)
	if err != nil {
		return Definitions{}, err
	}
	d, err := define(tools, hello.Instructions)
	d.Server = clip(strings.TrimSpace(hello.ServerInfo.Name+" "+hello.ServerInfo.Version), 100)
	return d, err
}

// questioner asks one question after another.
type questioner struct {
	conn mcp.Connection
	last int64
}

// tools asks for all pages of the list.
func (q *questioner) tools(ctx context.Context) ([]json.RawMessage, error) {
	var all []json.RawMessage
	params := map[string]any{}
	for range maxPages {
		var page struct {
			Tools      []json.RawMessage `json:"tools"`
			NextCursor string            `json:"nextCursor"`
		}
		if err := q.ask(ctx, "tools/list", params, &page); err != nil {
			return nil, err
		}
		if all = append(all, page.Tools...); len(all) > maxTools {
			return nil, fmt.Errorf("it lists more than %d tools", maxTools)
		}
		if page.NextCursor == "" {
			return all, nil
		}
		params["cursor"] = page.NextCursor
	}
	return nil, fmt.Errorf("its list of tools has more than %d pages", maxPages)
}

func (q *questioner) ask(ctx context.Context, method string, params, into any) error {
	raw, err := json.Marshal(params)
	if err != nil {
		return err
	}
	q.last++
	id, err := jsonrpc.MakeID(float64(q.last))
	if err != nil {
		return err
	}
	if err := q.conn.Write(ctx, &jsonrpc.Request{ID: id, Method: method, Params: raw}); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	for range maxStray {
		msg, err := q.conn.Read(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", method, err)
		}
		r, ok := msg.(*jsonrpc.Response)
		if !ok || r.ID != id {
			continue // its own requests and notifications are none of ours
		}
		if r.Error != nil {
			return fmt.Errorf("%s: it answered: %s", method, clip(r.Error.Error(), 300))
		}
		return json.Unmarshal(r.Result, into)
	}
	return fmt.Errorf("%s: it says much and answers nothing", method)
}

// clip shortens what a server said, and keeps it on one line.
func clip(s string, n int) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	if len(s) > n {
		s = strings.ToValidUTF8(s[:n], "") + "…"
	}
	return s
}
