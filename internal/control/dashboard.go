package control

import (
	"context"
	"time"
)

// DashboardLink is a link with which one browser may sign in, once.
type DashboardLink struct {
	URL string `json:"url"`
	// Plain is the same by number, for browsers that do not know names below
	// localhost.
	Plain string    `json:"plain"`
	Until time.Time `json:"until"`
}

// DashboardRequest asks for one. Port chooses where the dashboard is, 0 any.
type DashboardRequest struct {
	Port int `json:"port,omitempty"`
}

// Dashboard opens the dashboard, if it is not open, and gives a link to it.
func (c *Client) Dashboard(ctx context.Context, r DashboardRequest) (DashboardLink, error) {
	return call[DashboardLink](ctx, c, "dashboard", r)
}

// OnDashboard sets what gives links to the dashboard, before Serve. Without it there
// is none, as in a command that is its own host.
func (s *Server) OnDashboard(link func(port int) (DashboardLink, error)) { s.dashboard = link }

func (s *Server) link(_ context.Context, r DashboardRequest) (DashboardLink, error) {
	if s.dashboard == nil {
		return DashboardLink{}, &Error{Code: CodeFailed, Message: "this host shows no dashboard", Hint: "nanoclaw run"}
	}
	return s.dashboard(r.Port)
}
