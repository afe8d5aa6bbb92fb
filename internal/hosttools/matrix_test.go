package hosttools

import (
	"strings"
	"testing"

	"nanoclaw/internal/authority"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/task"
)

// TestToolsFollowTheTable makes each call that an agent may make or not, and
// compares what the tool does with what authority says of the act. So no tool is
// more generous than the table, or stricter.
func TestToolsFollowTheTable(t *testing.T) {
	calls := []struct {
		act        authority.Act
		tool, args string
	}{
		{authority.Send, "send_message", `{"text":"hi"}`},
		{authority.SendOther, "send_message", `{"text":"hi","group":"work"}`},
		{authority.SendOther, "send_message", `{"text":"hi","chat":"chat:work"}`},
		{authority.SendUnregistered, "send_message", `{"text":"hi","chat":"chat:elsewhere"}`},
		{authority.GroupList, "list_groups", `{}`},
		{authority.GroupRegister, "register_group", `{"jid":"chat:new","name":"New","folder":"new","trigger":"@Andy"}`},
		{authority.Schedule, "schedule_task", `{"prompt":"p","schedule_type":"cron","schedule_value":"0 9 * * *"}`},
		{authority.ScheduleOther, "schedule_task", `{"prompt":"p","schedule_type":"cron","schedule_value":"0 9 * * *","target_group_jid":"work"}`},
		{authority.ScheduleOther, "schedule_task", `{"prompt":"p","schedule_type":"cron","schedule_value":"0 9 * * *","target_group_jid":"chat:work"}`},
		{authority.TaskList, "list_tasks", `{}`},
		{authority.TaskChangeOther, "update_task", `{"task_id":"tw","prompt":"p"}`},
		{authority.TaskChangeOther, "pause_task", `{"task_id":"tw"}`},
		{authority.TaskChangeOther, "resume_task", `{"task_id":"tw"}`},
		{authority.TaskChangeOther, "cancel_task", `{"task_id":"tw"}`},
		{authority.Send, "send_file", `{"path":"a.txt","caption":"see"}`},
		{authority.Send, "send_image", `{"path":"a.png"}`},
		{authority.Send, "add_reaction", `{"emoji":"👍"}`},
	}
	called := map[string]bool{}
	for _, c := range calls {
		called[c.tool] = true
		for _, group := range []chat.Group{chat.Main, "family"} {
			h := &fakeHost{tasks: []task.Task{aTask("tw", "work")}}
			text, isError := callTool(t, newServer(t, group, everyTool, h), c.tool, c.args)
			got := authority.Allow
			switch {
			case isError:
				got = authority.Deny
			case strings.Contains(text, "the owner is asked"):
				got = authority.Hold
			}
			if want := authority.Decide(c.act, authority.Agent(group)).Outcome; got != want {
				t.Errorf("%s of %s with %s: %s (%q), and the table says %s", c.tool, group, c.args, got, text, want)
			}
			if got != authority.Allow && h.sends() > 0 {
				t.Errorf("%s of %s with %s sent: %v", c.tool, group, c.args, h.all())
			}
		}
	}
	for _, name := range Names() {
		if !called[name] {
			t.Errorf("the tool %s is not compared with the table", name)
		}
	}
}
