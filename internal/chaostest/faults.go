package chaostest

import "context"

// AllFaults names what a host is met with beside kills.
func AllFaults() []string { return nil }

func (c *campaign) everyFault(ctx context.Context) error { return nil }
