package web

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strconv"

	"nanoclaw/internal/authority"
	"nanoclaw/internal/control"
)

// cookie holds the session. It is for this name alone and out of the reach of scripts;
// no other site's request carries it.
const cookie = "nanoclaw"

// maxForm bounds what a form may send, in bytes.
const maxForm = 256 << 10

// owner is whoever has a session.
func owner() authority.Actor {
	return authority.Actor{Surface: authority.Web, Role: authority.Owner, Sender: "web:owner"}
}

// page is one address: what it is in the table of who may do what, and what does it.
type page struct {
	pattern string
	act     authority.Act
	do      func(w http.ResponseWriter, r *http.Request) error
}

// handler serves the pages to who has a session, and the way in to everybody.
func (s *Server) handler(port int) http.Handler {
	mux := http.NewServeMux()
	for _, p := range s.all() {
		mux.Handle(p.pattern, s.guard(p))
	}
	mux.HandleFunc("GET /login", s.loginPage)
	mux.HandleFunc("POST /login", s.login)
	mux.HandleFunc("GET /static/{file}", s.static)
	names := []string{Name, "localhost", "127.0.0.1"}
	for i, n := range names {
		names[i] = net.JoinHostPort(n, strconv.Itoa(port))
	}
	same := http.NewCrossOriginProtection()
	same.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, http.StatusForbidden, "another site sent this request, so it was not obeyed")
	}))
	return headers(ours(names, same.Handler(mux)))
}

// ours refuses a request that calls us by another name: a site whose name was made to
// lead here speaks to us with its own.
func ours(names []string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(names, r.Host) {
			http.Error(w, "this is not called "+strconv.Quote(r.Host), http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// headers say what a browser may do with our pages: nothing from elsewhere, in no
// frame, kept nowhere.
func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types ours")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// guard lets a page be had by who has a session, if the table says so.
func (s *Server) guard(p page) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.signedIn(r, r.Header.Get("Sec-Fetch-Dest") == "document" || r.Method == http.MethodPost) {
			if r.Method == http.MethodGet && r.Header.Get("Accept") != "text/event-stream" {
				http.Redirect(w, r, "/login", http.StatusSeeOther)
				return
			}
			s.fail(w, r, http.StatusUnauthorized, "you are not signed in")
			return
		}
		if v := authority.Decide(p.act, owner()); !v.Allowed() {
			s.fail(w, r, http.StatusForbidden, v.Reason)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if err := p.do(w, r); err != nil {
			s.failWith(w, r, err)
		}
	})
}

func (s *Server) signedIn(r *http.Request, used bool) bool {
	c, err := r.Cookie(cookie)
	return err == nil && s.doors.knows(c.Value, used)
}

// failWith shows an error of the host's in its own words.
func (s *Server) failWith(w http.ResponseWriter, r *http.Request, err error) {
	var e *control.Error
	switch {
	case errors.Is(err, context.Canceled):
		return // nobody is there
	case !errors.As(err, &e):
		s.log.Error("a page of the dashboard failed", "page", r.URL.Path, "err", err)
		s.fail(w, r, http.StatusInternalServerError, err.Error())
		return
	}
	status := http.StatusInternalServerError
	switch e.Code {
	case control.CodeNotFound:
		status = http.StatusNotFound
	case control.CodeUsage:
		status = http.StatusBadRequest
	case control.CodeRefused:
		status = http.StatusForbidden
	}
	s.fail(w, r, status, inWords(err))
}

// inWords is an error with what to do about it.
func inWords(err error) string {
	var e *control.Error
	if !errors.As(err, &e) {
		return err.Error()
	}
	if e.Hint == "" {
		return e.Message
	}
	return e.Message + "\n" + e.Hint
}

func (s *Server) fail(w http.ResponseWriter, r *http.Request, status int, text string) {
	s.pages.write(w, r, status, "error", frame{Title: http.StatusText(status), Body: text})
}

// loginPage offers to sign in. The code is behind the # of its link, which no browser
// sends; the page's script puts it into the form, and without one it is pasted. So
// nothing that only looks at a link can use it up.
func (s *Server) loginPage(w http.ResponseWriter, r *http.Request) {
	s.pages.write(w, r, http.StatusOK, "login", frame{Title: "Sign in", Outside: true})
}

func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	session := s.doors.enter(r.PostFormValue("code"))
	if session == "" {
		s.log.Warn("somebody tried to sign in to the dashboard with a code that is not good")
		s.pages.write(w, r, http.StatusForbidden, "login", frame{Title: "Sign in", Outside: true, Body: "This code is not good any more: each signs in once, for five minutes."})
		return
	}
	http.SetCookie(w, &http.Cookie{
		Name: cookie, Value: session, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: int(sessionTime.Seconds()),
	})
	s.log.Info("a browser signed in to the dashboard")
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (s *Server) logout(w http.ResponseWriter, r *http.Request) error {
	c, err := r.Cookie(cookie)
	if err != nil {
		return err
	}
	s.doors.forget(c.Value, r.PostFormValue("all") != "")
	http.SetCookie(w, &http.Cookie{Name: cookie, Path: "/", MaxAge: -1})
	http.Redirect(w, r, "/login", http.StatusSeeOther)
	return nil
}
