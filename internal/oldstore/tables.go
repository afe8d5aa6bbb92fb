package oldstore

import (
	"context"
	"slices"
)

// Group is a registered chat, with the folder of its agent.
type Group struct {
	JID, Name, Folder, Trigger string
	// Config is containerConfig as JSON, "" for none.
	Config string
	// Always says that no trigger is needed.
	Always bool
	// Main says that it is the owner's: is_main of late versions, else the folder's name.
	Main bool
	// Mode is the fork's execution_mode, "" where it is silent.
	Mode string
	// Cut says that a value was too long, so that the row cannot be used.
	Cut bool
}

// Task is a scheduled task.
type Task struct {
	ID, Folder, JID, Prompt, Script string
	Kind, Value, Context, Status    string
	Created                         string
	Cut                             bool
}

// Message is one message of a registered chat.
type Message struct {
	ID, JID, Sender, Name, Text, Time string
	// FromMe says that it was sent by the account that the bot uses, Bot that the bot
	// itself wrote it, where the version says so.
	FromMe, Bot bool
	Cut         bool
}

// Groups lists the registered chats. more says that there are further ones than
// are read, here and below.
func (s *Store) Groups(ctx context.Context) (out []Group, more bool, err error) {
	marked := s.HasColumn("registered_groups", "is_main")
	more, err = s.rows(ctx, "registered_groups", MaxRows,
		[]string{"jid", "name", "folder", "trigger_pattern", "container_config", "requires_trigger", "is_main", "execution_mode"}, func(r record) error {
			g := Group{JID: r.text("jid"), Name: r.text("name"), Folder: r.text("folder"), Trigger: r.text("trigger_pattern"),
				Config: r.text("container_config"), Mode: r.text("execution_mode"), Cut: r.cut}
			needed, silent := r.flag("requires_trigger")
			g.Always = !needed && !silent
			if g.Main = g.Folder == "main"; marked {
				g.Main, _ = r.flag("is_main")
			}
			out = append(out, g)
			return nil
		})
	if marked && !slices.ContainsFunc(out, func(g Group) bool { return g.Main }) { // the mark is newer than the group
		for i := range out {
			out[i].Main = out[i].Folder == "main"
		}
	}
	return out, more, err
}

// Tasks lists the scheduled tasks.
func (s *Store) Tasks(ctx context.Context) (out []Task, more bool, err error) {
	more, err = s.rows(ctx, "scheduled_tasks", MaxRows,
		[]string{"id", "group_folder", "chat_jid", "prompt", "script", "schedule_type", "schedule_value", "context_mode", "status", "created_at"}, func(r record) error {
			out = append(out, Task{ID: r.text("id"), Folder: r.text("group_folder"), JID: r.text("chat_jid"), Prompt: r.text("prompt"), Script: r.text("script"),
				Kind: r.text("schedule_type"), Value: r.text("schedule_value"), Context: r.text("context_mode"), Status: r.text("status"), Created: r.text("created_at"), Cut: r.cut})
			return nil
		})
	return out, more, err
}

// pairs reads a table of two columns.
func (s *Store) pairs(ctx context.Context, table, key, value string) (map[string]string, error) {
	out := map[string]string{}
	_, err := s.rows(ctx, table, MaxRows, []string{key, value}, func(r record) error {
		if !r.cut {
			out[r.text(key)] = r.text(value)
		}
		return nil
	})
	return out, err
}

// Sessions gives the session of Claude Code by folder.
func (s *Store) Sessions(ctx context.Context) (map[string]string, error) {
	return s.pairs(ctx, "sessions", "group_folder", "session_id")
}

// State gives router_state: last_agent_timestamp, as JSON, says up to where the
// messages of each chat were answered.
func (s *Store) State(ctx context.Context) (map[string]string, error) {
	return s.pairs(ctx, "router_state", "key", "value")
}

// Messages gives each message, in the order in which they were stored.
func (s *Store) Messages(ctx context.Context, each func(Message) error) (more bool, err error) {
	return s.rows(ctx, "messages", MaxMessages, []string{"id", "chat_jid", "sender", "sender_name", "content", "timestamp", "is_from_me", "is_bot_message"}, func(r record) error {
		m := Message{ID: r.text("id"), JID: r.text("chat_jid"), Sender: r.text("sender"), Name: r.text("sender_name"), Text: r.text("content"), Time: r.text("timestamp"), Cut: r.cut}
		m.FromMe, _ = r.flag("is_from_me")
		m.Bot, _ = r.flag("is_bot_message")
		return each(m)
	})
}
