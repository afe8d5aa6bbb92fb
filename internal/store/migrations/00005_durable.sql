-- Who works on what, tasks that run later, files of messages, and what is wrong until
-- it is mended. The text before each part says what it is for.

-- +goose Up
PRAGMA user_version = 5;

-- Who works on a run: the process that claimed it, the how manieth claim of its
-- group that was, and when that process was last heard of. What a run sets aside
-- of a budget was called a lease before; it is a reservation.

ALTER TABLE leases RENAME TO reservations;
ALTER TABLE lease_senders RENAME TO reservation_senders;
ALTER TABLE lease_models RENAME TO reservation_models;

-- The run is held by owner under the number fence. A group's number grows with
-- each claim and never falls, so the older of two holders can be told.
ALTER TABLE groups ADD COLUMN fence INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN fence INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN beat INTEGER NOT NULL DEFAULT 0;

-- The same for a message that is being sent.
ALTER TABLE outbox ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE outbox ADD COLUMN beat INTEGER NOT NULL DEFAULT 0;

-- What only one process may do at a time, such as to sequence the audit log. A row
-- stays when nobody holds it, with owner '', so that its number never falls.
CREATE TABLE leases (
  name  TEXT PRIMARY KEY,
  owner TEXT NOT NULL,
  fence INTEGER NOT NULL,
  until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- No row changes its state but by a move of docs/state-machine.md, and none that is
-- open is removed, whatever the code does. A change that keeps the state is no move.
-- +goose StatementBegin
CREATE TRIGGER inbox_moves BEFORE UPDATE OF state ON inbox
WHEN OLD.state <> NEW.state AND OLD.state || ' ' || NEW.state NOT IN (
  'waiting claimed', 'waiting ignored', 'waiting refused', 'context claimed', 'context ignored', 'context refused',
  'claimed waiting', 'claimed context', 'claimed done', 'claimed dead', 'dead ignored', 'dead waiting', 'dead refused')
BEGIN SELECT RAISE(ABORT, 'no such move of a message'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER inbox_gone BEFORE DELETE ON inbox
WHEN OLD.state NOT IN ('ignored', 'refused', 'done', 'dead')
BEGIN SELECT RAISE(ABORT, 'a message that is open is not removed'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER runs_moves BEFORE UPDATE OF state ON runs
WHEN OLD.state <> NEW.state AND OLD.state || ' ' || NEW.state NOT IN (
  'queued starting', 'starting running', 'running succeeded', 'queued refused', 'starting refused',
  'queued failed', 'starting failed', 'running failed', 'queued cancelled', 'starting cancelled', 'running cancelled',
  'queued interrupted', 'starting interrupted', 'running interrupted')
BEGIN SELECT RAISE(ABORT, 'no such move of a run'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER runs_gone BEFORE DELETE ON runs
WHEN OLD.state IN ('starting', 'running')
BEGIN SELECT RAISE(ABORT, 'a run that goes on is not removed'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER outbox_moves BEFORE UPDATE OF state ON outbox
WHEN OLD.state <> NEW.state AND OLD.state || ' ' || NEW.state NOT IN (
  'pending sending', 'pending given_up', 'sending pending', 'sending sent', 'sending given_up')
BEGIN SELECT RAISE(ABORT, 'no such move of a message to send'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER outbox_gone BEFORE DELETE ON outbox
WHEN OLD.state NOT IN ('sent', 'given_up')
BEGIN SELECT RAISE(ABORT, 'a message that is to be sent is not removed'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER questions_moves BEFORE UPDATE OF state ON questions
WHEN OLD.state <> NEW.state AND OLD.state <> 'open'
BEGIN SELECT RAISE(ABORT, 'a question ends once'); END;
-- +goose StatementEnd

-- Scheduled tasks, and what became of their due times. A due time that is run is a
-- message of the inbox; task_runs.row names it.

CREATE TABLE tasks (
  row      INTEGER PRIMARY KEY,
  id       TEXT NOT NULL UNIQUE,
  grp      TEXT NOT NULL,
  state    TEXT NOT NULL CHECK (state IN ('active', 'paused', 'asked', 'done', 'broken')),
  reason   TEXT NOT NULL DEFAULT '',
  next     INTEGER NOT NULL DEFAULT 0,
  last     INTEGER NOT NULL DEFAULT 0,
  runs     INTEGER NOT NULL DEFAULT 0,
  skipped  INTEGER NOT NULL DEFAULT 0,
  failures INTEGER NOT NULL DEFAULT 0,
  rev      INTEGER NOT NULL DEFAULT 1,
  body     TEXT NOT NULL
) STRICT;
CREATE INDEX tasks_next ON tasks (next) WHERE state = 'active' AND next > 0;
CREATE INDEX tasks_group ON tasks (grp);

-- state is open until the due time's message comes to its end.
CREATE TABLE task_runs (
  id    INTEGER PRIMARY KEY,
  task  TEXT NOT NULL,
  due   INTEGER NOT NULL,
  row   INTEGER NOT NULL DEFAULT 0,
  run   TEXT NOT NULL DEFAULT '',
  state TEXT NOT NULL,
  note  TEXT NOT NULL DEFAULT '',
  ended INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX task_runs_due ON task_runs (task, due);

-- What few outgoing messages have beside their text, as JSON: a file, or the code of
-- a question.

ALTER TABLE outbox ADD COLUMN extra TEXT NOT NULL DEFAULT '';

-- What is wrong beyond one message, until it is mended; and what runs did through
-- the host's tools, so that a run that takes up the same messages does not do it
-- again.

-- key is "model/PROVIDER" or "group/GROUP"; messages that wait for it have it as
-- their hold. until is when it is tried again, tries how often that failed.
CREATE TABLE troubles (
  key   TEXT PRIMARY KEY,
  class TEXT NOT NULL,
  text  TEXT NOT NULL,
  since INTEGER NOT NULL,
  tries INTEGER NOT NULL,
  until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row for each call that has an effect. first and last are the messages of its
-- run that call the agent. A repeated one was done by an earlier run: it stands for
-- the earlier row. Rows go when none of those messages is to be worked on any more.
CREATE TABLE effects (
  id     INTEGER PRIMARY KEY AUTOINCREMENT,
  grp    TEXT NOT NULL,
  run    TEXT NOT NULL,
  first  INTEGER NOT NULL,
  last   INTEGER NOT NULL,
  tool   TEXT NOT NULL,
  hash   TEXT NOT NULL,
  brief  TEXT NOT NULL,
  state  TEXT NOT NULL CHECK (state IN ('begun','done','repeated')),
  answer TEXT NOT NULL DEFAULT '',
  at     INTEGER NOT NULL
) STRICT;
CREATE INDEX effects_group ON effects (grp);

-- How much context of a group was pushed out since its last run, so that its agent
-- is told.
ALTER TABLE groups ADD COLUMN pushed INTEGER NOT NULL DEFAULT 0;
