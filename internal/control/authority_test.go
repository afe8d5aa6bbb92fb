package control

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"nanoclaw/internal/authority"
)

// TestNothingIsServedWithoutAuthority takes the owner's role from whoever is on
// the socket. The host is nil: an act that reached it would panic.
func TestNothingIsServedWithoutAuthority(t *testing.T) {
	s := NewServer(nothingHost{}, slog.New(slog.DiscardHandler))
	acts := s.acts()
	if len(acts) < 20 {
		t.Fatalf("the socket has %d acts", len(acts))
	}
	for _, who := range []authority.Actor{
		{}, {Surface: authority.CLI}, {Surface: authority.CLI, Role: authority.Admin, Group: "family"},
	} {
		s.who = who
		for _, r := range acts {
			if r.act.Words() == "" {
				t.Errorf("%s has no rule", r.path)
			}
			w := httptest.NewRecorder()
			q := httptest.NewRequest("POST", "/v1/"+r.path, strings.NewReader("not even JSON"))
			s.routes().ServeHTTP(w, q)
			if w.Code != http.StatusForbidden {
				t.Errorf("%s for %+v: %d %s", r.path, who, w.Code, w.Body)
			}
		}
	}
}

// The owner may everything that the socket has.
func TestTheOwnerMayDoAllOfIt(t *testing.T) {
	s := NewServer(nothingHost{}, slog.New(slog.DiscardHandler))
	for _, r := range s.acts() {
		if v := authority.Decide(r.act, s.who); !v.Allowed() {
			t.Errorf("%s: %s", r.path, v.Reason)
		}
	}
}

// nothingHost is a host whose every act panics.
type nothingHost struct{ Host }
