package grant

import (
	"fmt"
	"slices"

	"nanoclaw/internal/config"
	"nanoclaw/internal/watch"
)

// asks says whether the owner is asked about tools, and which line says so.
func asks(name, common, own string) (ask bool, reason string) {
	mode, where := common, "permissionMode"
	if own != "" {
		mode, where = own, "groups."+name+".permissionMode"
	}
	// Whatever is not the one word that lets tools pass asks.
	return mode != "bypass", where
}

// toolRules are the rules of all groups and those of this one.
func toolRules(name string, common, own config.Permissions) ([]ToolRule, error) {
	var out []ToolRule
	for _, from := range []struct {
		where string
		p     config.Permissions
	}{{"permissions", common}, {"groups." + name + ".permissions", own}} {
		for _, l := range []struct {
			level watch.Level
			rules []string
		}{{watch.Deny, from.p.Deny}, {watch.Ask, from.p.Ask}, {watch.Allow, from.p.Allow}} {
			where := from.where + "." + string(l.level)
			out = slices.Grow(out, len(l.rules))
			for _, text := range l.rules {
				if _, err := watch.Parse(l.level, text); err != nil {
					return nil, &Refusal{"permissions.rule", fmt.Sprintf("%s: %v", where, err), "nanoclaw config check tells all mistakes"}
				}
				out = append(out, ToolRule{Level: string(l.level), Rule: text, Reason: where})
			}
		}
	}
	return out, nil
}
