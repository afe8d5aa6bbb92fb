package agent

// Done implements Conversation.
func (c *claude) Done() <-chan struct{} { return c.over }
