package hosttools

import (
	"context"
	_ "embed"
	"encoding/json"
	"strings"

	"nanoclaw/internal/authority"
)

//go:embed send_file.md
var sendFileText string

//go:embed send_image.md
var sendImageText string

// OutFile is a file that an agent wants sent. Path is the agent's own word for it.
type OutFile struct {
	Path, Caption string
	Image         bool
}

// Bounds of the arguments.
const (
	maxPath    = 1 << 10
	maxCaption = 2 << 10
)

func sendFile() tool { return fileTool("send_file", sendFileText, false) }

func sendImage() tool { return fileTool("send_image", sendImageText, true) }

func fileTool(name, description string, image bool) tool {
	return tool{
		name: name, description: description, act: authority.Send,
		schema: object(map[string]string{
			"path":    "The file, in your working directory: a relative path, or one that begins with it.",
			"caption": "What is said with it. May be left out.",
		}, "path"),
		judge: func(_ context.Context, s *Server, raw json.RawMessage) (act, error) { return judgeFile(s, raw, image) },
	}
}

// sentFile is what the audit keeps.
type sentFile struct {
	Path    string `json:"path"`
	Caption string `json:"caption,omitempty"`
}

func judgeFile(s *Server, raw json.RawMessage, image bool) (act, error) {
	var args struct {
		Path    string `json:"path"`
		Caption string `json:"caption"`
	}
	if err := parse(raw, &args); err != nil {
		return act{}, err
	}
	a := act{note: sentFile{clip(args.Path, 300), clip(args.Caption, 300)}}
	switch {
	case args.Path == "" || len(args.Path) > maxPath || strings.ContainsRune(args.Path, 0):
		return a, refuse("path is missing, or longer than %d bytes", maxPath)
	case len(args.Caption) > maxCaption:
		return a, refuse("the caption is longer than %d bytes: say it with send_message", maxCaption)
	}
	a.do = func(ctx context.Context) (string, error) {
		return s.host.SendFile(ctx, s.id, OutFile{Path: args.Path, Caption: args.Caption, Image: image})
	}
	return a, nil
}
