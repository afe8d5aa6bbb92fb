-- Scheduled tasks, and what became of their due times. A due time that is run is a
-- message of the inbox; task_runs.row names it.

-- +goose Up
PRAGMA user_version = 6;

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
