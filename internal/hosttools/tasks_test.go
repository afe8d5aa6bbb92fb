package hosttools

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nanoclaw/internal/chat"
	"nanoclaw/internal/schedule"
	"nanoclaw/internal/task"
)

func aTask(id chat.TaskID, g chat.Group) task.Task {
	return task.Task{
		ID: id, Group: g, Prompt: "the prompt of " + string(id), Context: chat.GroupContext, Missed: schedule.MissedOnce, Overlap: schedule.OverlapSkip,
		Spec: schedule.Spec{Kind: schedule.Cron, Value: "0 9 * * *", Zone: "Europe/Berlin"}, State: task.Active, Next: time.Now().Add(time.Hour),
	}
}

func TestTaskTools(t *testing.T) {
	paused, over, asked := aTask("tp", "family"), aTask("to", "family"), aTask("ta", "family")
	paused.Rest(task.Paused, "paused")
	over.Spec = schedule.Spec{Kind: schedule.Once, Value: "2020-01-01T00:00:00Z", Zone: "UTC"}
	over.Rest(task.Done, "")
	asked.Rest(task.Asked, "")
	for _, tt := range []struct {
		name, tool, args string
		tasks            []task.Task
		host             bool
		want             string   // of the answer
		did              []string // of the host
	}{
		{"cron", "schedule_task", `{"prompt":"p","schedule_type":"cron","schedule_value":"0 9 * * 1-5"}`, nil, false, "done",
			[]string{"schedule family->family cron 0 9 * * 1-5 Europe/Berlin"}},
		{"an interval in milliseconds", "schedule_task", `{"prompt":"p","schedule_type":"interval","schedule_value":"300000","timezone":"UTC"}`, nil, false, "done",
			[]string{"schedule family->family interval 5m0s UTC"}},
		{"once", "schedule_task", `{"prompt":"p","schedule_type":"once","schedule_value":"2999-02-01T15:30:00"}`, nil, false, "done",
			[]string{"schedule family->family once 2999-02-01T15:30:00+01:00 Europe/Berlin"}},
		{"once, over", "schedule_task", `{"prompt":"p","schedule_type":"once","schedule_value":"2001-02-01T15:30:00"}`, nil, false, "never comes any more", nil},
		{"too often", "schedule_task", `{"prompt":"p","schedule_type":"interval","schedule_value":"1000"}`, nil, false, "limits.taskInterval", nil},
		{"no prompt", "schedule_task", `{"prompt":" ","schedule_type":"cron","schedule_value":"0 9 * * *"}`, nil, false, "prompt is missing", nil},
		{"no cron", "schedule_task", `{"prompt":"p","schedule_type":"cron","schedule_value":"daily"}`, nil, false, "five fields", nil},
		{"an odd context", "schedule_task", `{"prompt":"p","schedule_type":"cron","schedule_value":"0 9 * * *","context_mode":"mine"}`, nil, false, "use group or isolated", nil},
		{"a flag of the owner's", "schedule_task", `{"prompt":"p","schedule_type":"cron","schedule_value":"0 9 * * *","host_mode":"true"}`, nil, false, "unknown field", nil},
		{"a group that is not there", "schedule_task", `{"prompt":"p","schedule_type":"cron","schedule_value":"0 9 * * *","target_group_jid":"nowhere"}`, nil, false, "only the agent of main", nil},
		{"too many", "schedule_task", `{"prompt":"p","schedule_type":"cron","schedule_value":"0 9 * * *"}`, []task.Task{aTask("t1", "family"), aTask("t2", "family"), aTask("t3", "family"), over}, false, "limits.tasks", nil},
		{"as many as may be", "schedule_task", `{"prompt":"p","schedule_type":"cron","schedule_value":"0 9 * * *"}`, []task.Task{aTask("t1", "family"), aTask("t2", "work"), aTask("t3", "work"), over}, false, "done",
			[]string{"schedule family->family cron 0 9 * * * Europe/Berlin"}},
		{"in host mode", "schedule_task", `{"prompt":"p","schedule_type":"cron","schedule_value":"0 9 * * *"}`, nil, true, "no agent may schedule a task in host mode", nil},
		{"list", "list_tasks", `{}`, []task.Task{aTask("t1", "family"), aTask("t2", "work")}, false, `"id":"t1"`, nil},
		{"change", "update_task", `{"task_id":"t1","prompt":"another"}`, []task.Task{aTask("t1", "family")}, false, "done", []string{"update family->t1 active 0 9 * * * another"}},
		{"change a paused one", "update_task", `{"task_id":"tp","schedule_value":"0 8 * * *"}`, []task.Task{paused}, false, "done", []string{"update family->tp paused 0 8 * * * the prompt of tp"}},
		{"change one that may run in host mode", "update_task", `{"task_id":"t1","prompt":"x"}`, []task.Task{aTask("t1", "family")}, true, "no agent may", nil},
		{"pause", "pause_task", `{"task_id":"t1"}`, []task.Task{aTask("t1", "family")}, false, "done", []string{"pause family->t1"}},
		{"resume", "resume_task", `{"task_id":"tp"}`, []task.Task{paused}, false, "done", []string{"resume family->tp"}},
		{"resume what is over", "resume_task", `{"task_id":"to"}`, []task.Task{over}, false, "never comes any more", nil},
		{"resume what waits for the owner", "resume_task", `{"task_id":"ta"}`, []task.Task{asked}, false, "the owner's yes", nil},
		{"cancel", "cancel_task", `{"task_id":"t1"}`, []task.Task{aTask("t1", "family")}, false, "done", []string{"cancel family->t1"}},
		{"cancel another group's", "cancel_task", `{"task_id":"t1"}`, []task.Task{aTask("t1", "work")}, false, "there is no task", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := &fakeHost{tasks: tt.tasks, host: tt.host}
			text, _ := callTool(t, newServer(t, "family", everyTool, h), tt.tool, tt.args)
			if !strings.Contains(text, tt.want) || strings.Contains(text, "t2") {
				t.Errorf("the answer is %q, want %q", text, tt.want)
			}
			var did []string
			for _, d := range h.all() {
				if !strings.HasPrefix(d, "record") {
					did = append(did, d)
				}
			}
			if d := cmp.Diff(tt.did, did); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestHostModeOfMain: the owner is asked about a task of main in host mode, and about
// a change of one.
func TestHostModeOfMain(t *testing.T) {
	h := &fakeHost{tasks: []task.Task{aTask("t1", "main")}, host: true}
	for tool, args := range map[string]string{
		"schedule_task": `{"prompt":"p","schedule_type":"cron","schedule_value":"0 9 * * *"}`,
		"update_task":   `{"task_id":"t1","prompt":"another"}`,
	} {
		if text, isError := callTool(t, newServer(t, chat.Main, everyTool, h), tool, args); isError || text != "the owner is asked" {
			t.Errorf("%s: %q", tool, text)
		}
	}
}

func TestRegisterGroup(t *testing.T) {
	for _, tt := range []struct{ name, args, want string }{
		{"a name that is none", `{"jid":"chat:x","folder":"../x"}`, "group name"},
		{"a name that is there", `{"jid":"chat:x","folder":"work"}`, "there is a group work already"},
		{"a chat that a shell would obey", `{"jid":"chat:$(id)","folder":"new"}`, "no chat"},
		{"a chat that is an option", `{"jid":"--mode=host:x","folder":"new"}`, "no chat"},
		{"one that can be", `{"jid":"chat:1-2@g.us","folder":"new","trigger":"x; id"}`, "the owner is asked"},
	} {
		h := &fakeHost{}
		if text, _ := callTool(t, newServer(t, chat.Main, everyTool, h), "register_group", tt.args); !strings.Contains(text, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, text, tt.want)
		}
		for _, did := range h.all() {
			if strings.HasPrefix(did, "register") && did != "register main->{Name:new Chat:chat:1-2@g.us Trigger:mention}" {
				t.Errorf("%s: %s", tt.name, did)
			}
		}
	}
}
