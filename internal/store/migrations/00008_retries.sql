-- What is wrong beyond one message, until it is mended; and what runs did through
-- the host's tools, so that a run that takes up the same messages does not do it
-- again.

-- +goose Up
PRAGMA user_version = 8;

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
