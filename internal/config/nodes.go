package config

// Nodes are several processes that share one PostgreSQL database.
type Nodes struct {
	// Name is this one's, such as "${HOSTNAME}": no other has the same. Letters,
	// digits, dots and dashes. Empty: this process has its database to itself.
	Name string `json:"name"`
	// Groups is a folder that all nodes share, at the same path, in which the groups'
	// folders are. Then another node goes on with a group when its own is gone. Empty:
	// each group stays on the node that served it first.
	Groups string `json:"groups"`
}
