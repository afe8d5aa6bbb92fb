package hosttools

import (
	"context"
	_ "embed"
	"encoding/json"

	"nanoclaw/internal/authority"
)

//go:embed list_groups.md
var listGroupsText string

func listGroups() tool {
	return tool{
		name: "list_groups", description: listGroupsText, act: authority.GroupList,
		schema: object(nil), judge: judgeList,
	}
}

func judgeList(_ context.Context, s *Server, raw json.RawMessage) (act, error) {
	if err := parse(raw, &struct{}{}); err != nil {
		return act{}, err
	}
	return act{do: func(ctx context.Context) (string, error) {
		groups, err := s.host.Groups(ctx)
		if err != nil {
			return "", err
		}
		if groups == nil {
			groups = []GroupInfo{}
		}
		b, err := json.Marshal(groups)
		return string(b), err
	}}, nil
}
