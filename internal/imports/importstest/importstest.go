// Package importstest makes installations of NanoClaw 1 for tests: its store with the
// schema of the first version, of the last 1.2 and of the fork with a host mode, as
// these programs themselves made them, and the files around it.
package importstest

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver
)

// The schemas. A later version is the first one with columns added, as it was in every
// installation that was kept up to date.
const (
	V1 = `
CREATE TABLE chats (jid TEXT PRIMARY KEY, name TEXT, last_message_time TEXT);
CREATE TABLE messages (
  id TEXT, chat_jid TEXT, sender TEXT, content TEXT, timestamp TEXT, is_from_me INTEGER,
  PRIMARY KEY (id, chat_jid), FOREIGN KEY (chat_jid) REFERENCES chats(jid));
CREATE INDEX idx_timestamp ON messages(timestamp);
CREATE TABLE scheduled_tasks (
  id TEXT PRIMARY KEY, group_folder TEXT NOT NULL, chat_jid TEXT NOT NULL, prompt TEXT NOT NULL,
  schedule_type TEXT NOT NULL, schedule_value TEXT NOT NULL, next_run TEXT, last_run TEXT, last_result TEXT,
  status TEXT DEFAULT 'active', created_at TEXT NOT NULL);
CREATE INDEX idx_next_run ON scheduled_tasks(next_run);
CREATE INDEX idx_status ON scheduled_tasks(status);
CREATE TABLE task_run_logs (
  id INTEGER PRIMARY KEY AUTOINCREMENT, task_id TEXT NOT NULL, run_at TEXT NOT NULL, duration_ms INTEGER NOT NULL,
  status TEXT NOT NULL, result TEXT, error TEXT, FOREIGN KEY (task_id) REFERENCES scheduled_tasks(id));
CREATE INDEX idx_task_run_logs ON task_run_logs(task_id, run_at);
ALTER TABLE messages ADD COLUMN sender_name TEXT;
ALTER TABLE scheduled_tasks ADD COLUMN context_mode TEXT DEFAULT 'isolated';
CREATE TABLE router_state (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE sessions (group_folder TEXT PRIMARY KEY, session_id TEXT NOT NULL);
CREATE TABLE registered_groups (
  jid TEXT PRIMARY KEY, name TEXT NOT NULL, folder TEXT NOT NULL UNIQUE, trigger_pattern TEXT NOT NULL,
  added_at TEXT NOT NULL, container_config TEXT);
ALTER TABLE registered_groups ADD COLUMN requires_trigger INTEGER DEFAULT 1;`

	V12 = V1 + `
ALTER TABLE scheduled_tasks ADD COLUMN script TEXT;
ALTER TABLE messages ADD COLUMN is_bot_message INTEGER DEFAULT 0;
ALTER TABLE registered_groups ADD COLUMN is_main INTEGER DEFAULT 0;
ALTER TABLE chats ADD COLUMN channel TEXT;
ALTER TABLE chats ADD COLUMN is_group INTEGER DEFAULT 0;
ALTER TABLE messages ADD COLUMN reply_to_message_id TEXT;
ALTER TABLE messages ADD COLUMN reply_to_message_content TEXT;
ALTER TABLE messages ADD COLUMN reply_to_sender_name TEXT;`

	Fork = V1 + `
ALTER TABLE registered_groups ADD COLUMN channel_type TEXT DEFAULT 'whatsapp';
ALTER TABLE registered_groups ADD COLUMN execution_mode TEXT;`
)

// Session is the conversation of the group family, Secret the key in .env.
const (
	Session = "0b5cf2f6-6f0e-4d6c-9d3c-0f1f2a3b4c5d"
	Secret  = "sk-ant-api03-old-secret-0123456789"
)

// Rows are the owner's chat, a family's and what was said there.
const Rows = `
INSERT INTO registered_groups (jid, name, folder, trigger_pattern, added_at, container_config, requires_trigger) VALUES
  ('491701111111@s.whatsapp.net', 'Me', 'main', '@Andy', '2026-02-01T10:00:00.000Z', NULL, 0),
  ('120363@g.us', 'Family', 'family', '@Andy', '2026-02-02T10:00:00.000Z', NULL, 1);
INSERT INTO chats (jid, name, last_message_time) VALUES ('491701111111@s.whatsapp.net', 'Me', ''), ('120363@g.us', 'Family', ''), ('__group_sync__', '__group_sync__', '');
INSERT INTO sessions VALUES ('family', '` + Session + `');
INSERT INTO messages (id, chat_jid, sender, sender_name, content, timestamp, is_from_me) VALUES
  ('A1', '120363@g.us', '491702222222@s.whatsapp.net', 'Bob', '@Andy what is on today?', strftime('%Y-%m-%dT%H:%M:%S.000Z', 'now', '-2 days'), 0),
  ('A2', '120363@g.us', '491701111111@s.whatsapp.net', 'Me', 'Andy: nothing', strftime('%Y-%m-%dT%H:%M:%S.000Z', 'now', '-2 days'), 1),
  ('A3', '120363@g.us', '491702222222@s.whatsapp.net', 'Bob', 'we meet at six', strftime('%Y-%m-%dT%H:%M:%S.000Z', 'now', '-1 hours'), 0),
  ('A4', '120363@g.us', '491709999999@s.whatsapp.net', 'Eve', 'the key is ` + Secret + `', strftime('%Y-%m-%dT%H:%M:%S.000Z', 'now', '-1 hours'), 0),
  ('A0', '120363@g.us', '491702222222@s.whatsapp.net', 'Bob', 'long ago', '2020-01-01T00:00:00.000Z', 0);
INSERT INTO router_state VALUES ('last_agent_timestamp', json_object('120363@g.us', strftime('%Y-%m-%dT%H:%M:%S.000Z', 'now', '-1 days')));
INSERT INTO scheduled_tasks (id, group_folder, chat_jid, prompt, schedule_type, schedule_value, status, created_at, context_mode) VALUES
  ('task-1-aaaaaa', 'family', '120363@g.us', 'What is on today?', 'cron', '0 9 * * 1-5', 'active', '2026-02-03T10:00:00.000Z', 'group'),
  ('task-2-bbbbbb', 'family', '120363@g.us', 'Look again', 'interval', '5400000', 'paused', '2026-02-03T10:00:00.000Z', 'isolated'),
  ('task-3-cccccc', 'family', '120363@g.us', 'Cake', 'once', '2026-02-04T10:00:00', 'completed', '2026-02-03T10:00:00.000Z', 'isolated');`

// Files are those around the store.
var Files = map[string]string{
	"groups/main/CLAUDE.md":                  "# Main\nI am Andy.\n",
	"groups/global/CLAUDE.md":                "# For all\nBe kind.\n",
	"groups/family/CLAUDE.md":                "# Family\nBob likes cake.\n",
	"groups/family/conversations/2026-02.md": "**User**: hello\n",
	"groups/family/logs/container-1.log":     "prompt\n",
	"groups/family/look.sh":                  "#!/bin/sh\n",
	"data/sessions/family/.claude/projects/-workspace-group/" + Session + ".jsonl": `{"type":"user","message":{"content":"hello"}}` + "\n",
	".env": "# keys\nexport ANTHROPIC_API_KEY=\"" + Secret + "\"\nASSISTANT_NAME=Andy\nTZ=Europe/Berlin\n",
}

// Write makes an installation in dir of a schema, rows and files.
func Write(dir, schema, rows string, files map[string]string) error {
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			return err
		}
	}
	return Exec(dir, schema+rows)
}

// Exec runs SQL on the store in dir.
func Exec(dir, statements string) error {
	if err := os.MkdirAll(filepath.Join(dir, "store"), 0o755); err != nil {
		return err
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "store/messages.db"))
	if err != nil {
		return err
	}
	_, err = db.Exec(statements)
	return errors.Join(err, db.Close())
}

// ExecUnfinished runs SQL on the store in dir, and look while what it wrote is in the
// log alone.
func ExecUnfinished(dir, statements string, look func() error) error {
	db, err := sql.Open("sqlite", filepath.Join(dir, "store/messages.db"))
	if err != nil {
		return err
	}
	_, err = db.Exec(statements)
	if err == nil {
		err = look()
	}
	return errors.Join(err, db.Close())
}
