package web

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"nanoclaw/internal/authority"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/task"
)

// all lists the pages. Nothing else is served to the owner, and nothing of it before
// package authority allowed it.
func (s *Server) all() []page {
	return []page{
		{"GET /{$}", authority.StatusAll, s.nowPage},
		{"GET /groups", authority.GroupList, s.groupsPage},
		{"GET /groups/{group}", authority.Inspect, s.groupPage},
		{"GET /groups/{group}/chat", authority.Inspect, s.chatPage},
		{"GET /groups/{group}/stream", authority.Speak, s.stream},
		{"GET /approvals", authority.Questions, s.approvalsPage},
		{"GET /tasks", authority.TaskListOther, s.tasksPage},
		{"GET /runs", authority.Inspect, s.runsPage},
		{"GET /runs/{run}", authority.Inspect, s.runPage},
		{"GET /audit", authority.Inspect, s.auditPage},
		{"GET /channels", authority.StatusAll, s.channelsPage},
		{"GET /channels/{channel}", authority.Credentials, s.channelPage},
		{"GET /people", authority.Inspect, s.peoplePage},
		{"GET /nodes", authority.Inspect, s.nodesPage},
		{"GET /doctor", authority.Examine, s.doctorPage},
		{"GET /live", authority.StatusAll, s.live},

		{"POST /groups/{group}/say", authority.Speak, s.say},
		{"POST /groups/{group}/stop", authority.StopAll, s.stopGroup},
		{"POST /groups/{group}/pause", authority.PauseAll, s.pause},
		{"POST /groups/{group}/resume", authority.ResumeAll, s.resume},
		{"POST /runs/{run}/stop", authority.StopAll, s.stopRun},
		{"POST /approvals/{code}", authority.ApproveGrowing, s.approve},
		{"POST /tasks/{task}", authority.TaskChangeOther, s.taskAct},
		{"POST /tasks", authority.ScheduleHostMode, s.taskAdd},
		{"POST /people", authority.SenderAllow, s.peopleAct},
		{"POST /logout", authority.StatusAll, s.logout},
	}
}

// show writes a page in its frame.
func (s *Server) show(w http.ResponseWriter, r *http.Request, name string, f frame) error {
	open, err := s.host.Approvals(r.Context())
	if err != nil {
		return err
	}
	f.Open, f.Now = len(open), s.now()
	s.pages.write(w, r, http.StatusOK, name, f)
	return nil
}

// showSlowly is show for what takes long: it needs time of its own, or reads much.
func (s *Server) showSlowly(w http.ResponseWriter, r *http.Request, name string, f frame, get func() (any, error)) error {
	open, err := s.host.Approvals(r.Context())
	if err != nil {
		return err
	}
	f.Open, f.Now = len(open), s.now()
	s.pages.writeSlowly(w, name, f, get)
	return nil
}

type nowBody struct {
	control.Status
	Questions []control.Approval
	Recent    []control.RunInfo
}

func (s *Server) nowPage(w http.ResponseWriter, r *http.Request) error {
	var b nowBody
	err := first(
		func() (err error) { b.Status, err = s.host.Status(r.Context()); return err },
		func() (err error) { b.Questions, err = s.host.Approvals(r.Context()); return err },
		func() (err error) {
			b.Recent, err = s.host.Runs(r.Context(), control.RunsQuery{Limit: 10})
			return err
		})
	if err != nil {
		return err
	}
	return s.show(w, r, "now", frame{Title: "Now", Here: "now", Live: true, Body: b})
}

// first does one after the other until one fails.
func first(do ...func() error) error {
	for _, f := range do {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) groupsPage(w http.ResponseWriter, r *http.Request) error {
	groups, err := s.host.Groups(r.Context())
	if err != nil {
		return err
	}
	return s.show(w, r, "groups", frame{Title: "Groups", Here: "groups", Live: true, Body: groups})
}

// groupBody is what a group may touch, as a picture.
type groupBody struct {
	control.GroupInfo
	Policy control.Policy
	Grant  *grant.Grant
	// Changes are folders that it may change, Reads what it may read and run, System
	// those of them that every group has.
	Changes, Reads, System []grant.Mount
	Mode                   *control.GroupMode
	Paused                 *control.PausedGroup
	People                 []control.Person
	Tasks                  []task.Task
	Cost                   control.Cost
	Recent                 []control.RunInfo
}

func (s *Server) groupPage(w http.ResponseWriter, r *http.Request) error {
	info, err := s.group(r)
	if err != nil {
		return err
	}
	b, ctx, g := groupBody{GroupInfo: info}, r.Context(), info.Name
	var st control.Status
	err = first(
		func() (err error) { b.Policy, err = s.host.Policy(ctx, control.PolicyQuery{Group: g}); return err },
		func() (err error) { st, err = s.host.Status(ctx); return err },
		func() (err error) { b.People, err = s.host.People(ctx); return err },
		func() (err error) { b.Tasks, err = s.host.Tasks(ctx, g); return err },
		func() (err error) { b.Cost, err = s.host.Cost(ctx, control.CostQuery{Group: g}); return err },
		func() (err error) {
			b.Recent, err = s.host.Runs(ctx, control.RunsQuery{Group: g, Limit: 10})
			return err
		},
		b.picture)
	if err != nil {
		return err
	}
	b.People = slices.DeleteFunc(b.People, func(p control.Person) bool { return p.Group != "" && p.Group != g })
	if i := slices.IndexFunc(st.Modes, func(m control.GroupMode) bool { return m.Group == g }); i >= 0 {
		b.Mode = &st.Modes[i]
	}
	if i := slices.IndexFunc(st.Paused, func(p control.PausedGroup) bool { return p.Group == g || p.Group == "" }); i >= 0 {
		b.Paused = &st.Paused[i]
	}
	return s.show(w, r, "group", frame{Title: string(g), Here: "groups", Live: true, Body: b})
}

// picture sorts the grant for the eye.
func (b *groupBody) picture() error {
	if len(b.Policy.Grant) == 0 {
		return nil // refused: the page says why
	}
	b.Grant = &grant.Grant{}
	if err := json.Unmarshal(b.Policy.Grant, b.Grant); err != nil {
		return err
	}
	for _, m := range b.Grant.Mounts {
		switch {
		case m.Held:
			// a part of a folder that has a line of its own
		case m.Write:
			b.Changes = append(b.Changes, m)
		case m.Optional || m.Image:
			b.System = append(b.System, m)
		default:
			b.Reads = append(b.Reads, m)
		}
	}
	return nil
}

// group finds the group of the address.
func (s *Server) group(r *http.Request) (control.GroupInfo, error) {
	groups, err := s.host.Groups(r.Context())
	if err != nil {
		return control.GroupInfo{}, err
	}
	name := chat.Group(r.PathValue("group"))
	i := slices.IndexFunc(groups, func(g control.GroupInfo) bool { return g.Name == name })
	if i < 0 {
		return control.GroupInfo{}, &control.Error{Code: control.CodeNotFound, Message: "there is no group " + strconv.Quote(string(name))}
	}
	return groups[i], nil
}

func (s *Server) approvalsPage(w http.ResponseWriter, r *http.Request) error {
	open, err := s.host.Approvals(r.Context())
	if err != nil {
		return err
	}
	return s.show(w, r, "approvals", frame{Title: "Approvals", Here: "approvals", Live: true, Body: open})
}

// tasksBody are the tasks, and their next times as a calendar.
type tasksBody struct {
	Tasks  []task.Task
	Days   []dueDay
	Groups []control.GroupInfo
}

func (s *Server) tasksPage(w http.ResponseWriter, r *http.Request) error {
	var b tasksBody
	err := first(
		func() (err error) { b.Tasks, err = s.host.Tasks(r.Context(), ""); return err },
		func() (err error) { b.Groups, err = s.host.Groups(r.Context()); return err })
	if err != nil {
		return err
	}
	b.Days = calendar(b.Tasks, s.now())
	return s.show(w, r, "tasks", frame{Title: "Tasks", Here: "tasks", Live: true, Body: b})
}

// shown is how many runs or entries a page has.
const shown = 50

// runsBody is a page of the runs, the newest first.
type runsBody struct {
	Group chat.Group
	Runs  []control.RunInfo
	First bool
	Older chat.RunID // before which the next page begins, "" for none
}

func (s *Server) runsPage(w http.ResponseWriter, r *http.Request) error {
	b := runsBody{Group: chat.Group(r.FormValue("group"))}
	q := control.RunsQuery{Group: b.Group, Before: chat.RunID(r.FormValue("before")), Limit: shown}
	var err error
	if b.Runs, err = s.host.Runs(r.Context(), q); err != nil {
		return err
	}
	if len(b.Runs) == shown {
		b.Older = b.Runs[shown-1].ID
	}
	b.First = q.Before == ""
	return s.show(w, r, "runs", frame{Title: "Runs", Here: "runs", Live: b.First, Body: b})
}

type auditBody struct {
	Query   control.AuditQuery
	Entries []control.AuditEntry
	Report  *control.AuditReport
	// Older is the entry before which the next page ends, 0 for none.
	Older int64
}

func (s *Server) auditPage(w http.ResponseWriter, r *http.Request) error {
	b := auditBody{Query: control.AuditQuery{
		Group: chat.Group(r.FormValue("group")), Kind: strings.TrimSpace(r.FormValue("kind")), Limit: shown,
	}}
	if v := r.FormValue("before"); v != "" {
		var err error
		if b.Query.Before, err = strconv.ParseInt(v, 10, 64); err != nil {
			return &control.Error{Code: control.CodeUsage, Message: strconv.Quote(v) + " is not the number of an entry"}
		}
	}
	return s.showSlowly(w, r, "audit", frame{Title: "Audit", Here: "audit"}, func() (_ any, err error) {
		if b.Entries, err = s.host.AuditList(r.Context(), b.Query); err != nil {
			return nil, err
		}
		slices.Reverse(b.Entries) // the newest first
		if len(b.Entries) == shown {
			b.Older = b.Entries[shown-1].ID
		}
		if r.FormValue("verify") != "" {
			report, err := s.host.AuditVerify(r.Context(), control.VerifyQuery{})
			if err != nil {
				return nil, err
			}
			b.Report = &report
		}
		return b, nil
	})
}

func (s *Server) channelsPage(w http.ResponseWriter, r *http.Request) error {
	st, err := s.host.Status(r.Context())
	if err != nil {
		return err
	}
	return s.show(w, r, "channels", frame{Title: "Channels", Here: "channels", Live: true, Body: st.Channels})
}

// channelPage shows a channel, and what somebody has to do for it to be logged in. What
// is to be scanned changes while they look, so the page is asked for again and again.
func (s *Server) channelPage(w http.ResponseWriter, r *http.Request) error {
	id := chat.ChannelID(r.PathValue("channel"))
	f := frame{Title: "Channel " + string(id), Here: "channels", Live: true}
	if r.FormValue("login") != "" {
		c, err := s.host.ChannelLogin(r.Context(), control.ChannelRequest{Channel: id})
		if err != nil {
			return err
		}
		if c.State != "connected" {
			f.Live, f.Renew = false, renewTime
		}
		f.Body = c
		return s.show(w, r, "channel", f)
	}
	st, err := s.host.Status(r.Context())
	if err != nil {
		return err
	}
	i := slices.IndexFunc(st.Channels, func(c control.ChannelInfo) bool { return c.Channel == id })
	if i < 0 {
		return &control.Error{Code: control.CodeNotFound, Message: "there is no channel " + strconv.Quote(string(id))}
	}
	f.Body = st.Channels[i]
	return s.show(w, r, "channel", f)
}

// renewTime is after how many seconds a page is asked for again that changes without
// the host's saying so.
const renewTime = 3

func (s *Server) peoplePage(w http.ResponseWriter, r *http.Request) error {
	people, err := s.host.People(r.Context())
	if err != nil {
		return err
	}
	return s.show(w, r, "people", frame{Title: "People", Here: "people", Live: true, Body: people})
}

func (s *Server) nodesPage(w http.ResponseWriter, r *http.Request) error {
	nodes, err := s.host.Nodes(r.Context())
	if err != nil {
		return err
	}
	return s.show(w, r, "nodes", frame{Title: "Nodes", Here: "nodes", Live: true, Body: nodes})
}

func (s *Server) doctorPage(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Minute)
	defer cancel()
	return s.showSlowly(w, r, "doctor", frame{Title: "Doctor", Here: "doctor"}, func() (any, error) {
		return s.host.Doctor(ctx, control.DoctorQuery{Probe: r.FormValue("probe") != ""})
	})
}
