package control

import (
	"context"
	"encoding/json"
)

// Configurer tells of the configuration, and takes up the part of it that touches
// no right.
type Configurer interface {
	// ConfigPlan says what the configuration as it is now means beside the one that
	// was accepted last. Like the acts of Observer it works on a host that does not
	// run.
	ConfigPlan(ctx context.Context) (ConfigPlan, error)
	// ConfigReload takes up a changed configuration if the change touches no right,
	// and says what that meant. CodeRefused if only a restart may accept it.
	ConfigReload(ctx context.Context) (ConfigPlan, error)
}

// ConfigPlan is what a changed configuration means.
type ConfigPlan struct {
	// None says that nothing changed, Security that only a restart accepts it.
	None     bool `json:"none"`
	Security bool `json:"security"`
	// Text tells it to a person, Plan is the value: plan.Plan.
	Text string          `json:"text"`
	Plan json.RawMessage `json:"plan"`
}

// ConfigPlan says what the configuration as it is now means.
func (c *Client) ConfigPlan(ctx context.Context) (ConfigPlan, error) {
	return call[ConfigPlan](ctx, c, "config/plan", nothing{})
}

// ConfigReload has the daemon take up what touches no right.
func (c *Client) ConfigReload(ctx context.Context) (ConfigPlan, error) {
	return call[ConfigPlan](ctx, c, "config/reload", nothing{})
}
