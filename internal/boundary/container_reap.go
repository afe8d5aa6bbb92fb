//go:build linux || darwin

package boundary

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Reap removes containers of this installation that belong to no session of ours:
// those whose daemon was killed, and whose engine did not see the end of their
// input. It gives their names. Containers of others, of another installation
// too, are not looked at. Only one of us may use an installation at a time.
func (c *Container) Reap(ctx context.Context) (removed []string, err error) {
	names, err := c.cli.containers(ctx, c.opts.Container.Install)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if c.has(name) {
			continue
		}
		if err := c.cli.remove(ctx, name); err != nil {
			return removed, err
		}
		removed = append(removed, name)
	}
	return removed, c.tidy()
}

// has says whether a session of ours has a container.
func (c *Container) has(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.live[name]
}

// tidy removes the files of sessions that an earlier process had.
func (c *Container) tidy() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.live) > 0 {
		return nil // some of them are ours; there is time
	}
	left, err := filepath.Glob(filepath.Join(c.dir, "session-*"))
	for _, dir := range left {
		if e := os.RemoveAll(dir); err == nil {
			err = e
		}
	}
	return err
}

// containers gives the names of an installation's containers, whatever they do.
func (t *tool) containers(ctx context.Context, install string) ([]string, error) {
	label := installLabel + "=" + install
	if t.engine == AppleEngine {
		return t.appleContainers(ctx, install)
	}
	out, err := t.run(ctx, "ps", "--all", "--filter", "label="+label, "--format", "{{.Names}}")
	if err != nil {
		return nil, err
	}
	// A filter that an engine does not know must not make others ours.
	mine := strings.Fields(string(out))
	return slices.DeleteFunc(mine, func(name string) bool { return !strings.HasPrefix(name, "nanoclaw-"+install+"-") }), nil
}

// appleContainers reads Apple's list, which has no filters.
func (t *tool) appleContainers(ctx context.Context, install string) ([]string, error) {
	out, err := t.run(ctx, "list", "--all", "--format", "json")
	if err != nil {
		return nil, err
	}
	var list []struct {
		Configuration struct {
			ID     string            `json:"id"`
			Labels map[string]string `json:"labels"`
		} `json:"configuration"`
	}
	if err := json.Unmarshal(out, &list); err != nil {
		return nil, fmt.Errorf("container list: %w", err)
	}
	var mine []string
	for _, c := range list {
		if c.Configuration.Labels[installLabel] == install {
			mine = append(mine, c.Configuration.ID)
		}
	}
	return mine, nil
}
