package web

import (
	"net/http"
	"net/url"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
)

// back leads to a page of ours after an act, so that renewing the page does not ask for
// the act again.
func back(w http.ResponseWriter, r *http.Request, to string) error {
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

func groupPath(r *http.Request) string { return "/groups/" + url.PathEscape(r.PathValue("group")) }

func (s *Server) say(w http.ResponseWriter, r *http.Request) error {
	text := r.PostFormValue("text")
	if text == "" {
		return &control.Error{Code: control.CodeUsage, Message: "the message is empty"}
	}
	if _, err := s.host.Say(r.Context(), control.SayRequest{Group: chat.Group(r.PathValue("group")), Text: text}); err != nil {
		return err
	}
	if r.Header.Get("Accept") == "application/json" { // the page's script shows it itself
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return back(w, r, groupPath(r)+"/chat")
}

func (s *Server) stopGroup(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.host.Stop(r.Context(), control.StopRequest{Group: chat.Group(r.PathValue("group"))}); err != nil {
		return err
	}
	if r.PostFormValue("at") == "chat" {
		return back(w, r, groupPath(r)+"/chat")
	}
	return back(w, r, groupPath(r))
}

func (s *Server) pause(w http.ResponseWriter, r *http.Request) error {
	if err := s.host.Pause(r.Context(), control.PauseRequest{Group: chat.Group(r.PathValue("group")), Reason: "on the dashboard"}); err != nil {
		return err
	}
	return back(w, r, groupPath(r))
}

func (s *Server) resume(w http.ResponseWriter, r *http.Request) error {
	if err := s.host.Resume(r.Context(), control.PauseRequest{Group: chat.Group(r.PathValue("group"))}); err != nil {
		return err
	}
	return back(w, r, groupPath(r))
}

func (s *Server) stopRun(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.host.Stop(r.Context(), control.StopRequest{Run: chat.RunID(r.PathValue("run"))}); err != nil {
		return err
	}
	return back(w, r, "/")
}

// approve answers a question. The form has the hash of what was shown: if the code
// means something else by now, nothing is answered.
func (s *Server) approve(w http.ResponseWriter, r *http.Request) error {
	code := r.PathValue("code")
	open, err := s.host.Approvals(r.Context())
	if err != nil {
		return err
	}
	for _, q := range open {
		if q.Code != code {
			continue
		}
		if q.Hash != r.PostFormValue("hash") {
			return &control.Error{Code: control.CodeUsage, Message: "the question is not the one that was shown", Hint: "look at it again"}
		}
		yes := r.PostFormValue("answer") == "approve"
		if !yes && r.PostFormValue("answer") != "deny" {
			return &control.Error{Code: control.CodeUsage, Message: "the answer is neither yes nor no"}
		}
		if _, err := s.host.Approve(r.Context(), control.ApproveRequest{Code: code, Yes: yes, Choice: r.PostFormValue("choice")}); err != nil {
			return err
		}
		return back(w, r, "/approvals")
	}
	return &control.Error{Code: control.CodeNotFound, Message: "this question was answered, or its time is over"}
}

func (s *Server) taskAct(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.host.TaskAct(r.Context(), control.TaskAct{ID: chat.TaskID(r.PathValue("task")), Act: r.PostFormValue("act")}); err != nil {
		return err
	}
	return back(w, r, "/tasks")
}

func (s *Server) taskAdd(w http.ResponseWriter, r *http.Request) error {
	field := func(name string) *string {
		if v := r.PostFormValue(name); v != "" {
			return &v
		}
		return nil
	}
	host := r.PostFormValue("host") != ""
	_, err := s.host.TaskAdd(r.Context(), control.TaskSpec{
		Group: chat.Group(r.PostFormValue("group")), Prompt: field("prompt"), Kind: field("kind"), Value: field("value"), Zone: field("zone"), HostMode: &host,
	})
	if err != nil {
		return err
	}
	return back(w, r, "/tasks")
}

func (s *Server) peopleAct(w http.ResponseWriter, r *http.Request) error {
	_, err := s.host.PeopleAct(r.Context(), control.PeopleAct{
		Act: r.PostFormValue("act"), Group: chat.Group(r.PostFormValue("group")), Sender: r.PostFormValue("sender"),
	})
	if err != nil {
		return err
	}
	return back(w, r, "/people")
}
