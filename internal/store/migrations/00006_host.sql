-- A message may be for the host: an answer to one of its questions, or a command. It
-- has a state of its own until the host has done what it says, so that a crash
-- swallows none. What a column may hold cannot be changed in SQLite, so the table
-- is made anew, with all that it has.

-- +goose Up
PRAGMA user_version = 6;

CREATE TABLE inbox_made (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  channel  TEXT NOT NULL,
  chat     TEXT NOT NULL,
  message  TEXT NOT NULL,
  grp      TEXT NOT NULL,
  state    TEXT NOT NULL CHECK (state IN ('waiting','context','ignored','refused','host','claimed','done','dead')),
  trigger  INTEGER NOT NULL CHECK (trigger IN (0, 1)),
  reason   TEXT NOT NULL,
  body     TEXT NOT NULL,
  run      TEXT,
  attempts INTEGER NOT NULL DEFAULT 0,
  at       INTEGER NOT NULL,
  cut      TEXT NOT NULL DEFAULT '',
  again    INTEGER NOT NULL DEFAULT 0,
  due      INTEGER NOT NULL DEFAULT 0,
  hold     TEXT NOT NULL DEFAULT '',
  consent  TEXT NOT NULL DEFAULT '',
  UNIQUE (channel, chat, message)
) STRICT;
INSERT INTO inbox_made SELECT id, channel, chat, message, grp, state, trigger, reason, body, run, attempts, at, cut, again, due, hold, consent FROM inbox ORDER BY id;
-- An id is never used again, also not that of a message which was removed.
INSERT INTO sqlite_sequence (name, seq) SELECT 'inbox_made', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'inbox_made');
UPDATE sqlite_sequence SET seq = coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'inbox'), 0) WHERE name = 'inbox_made';
DROP TABLE inbox;
ALTER TABLE inbox_made RENAME TO inbox;

CREATE INDEX inbox_open ON inbox (state, grp, id)
  WHERE state = 'waiting' OR state = 'context' OR state = 'claimed' OR state = 'dead';
CREATE INDEX inbox_run ON inbox (run) WHERE run IS NOT NULL;
CREATE INDEX inbox_due ON inbox (due) WHERE state = 'waiting' AND due > 0;
CREATE INDEX inbox_host ON inbox (id) WHERE state = 'host';

-- +goose StatementBegin
CREATE TRIGGER inbox_moves BEFORE UPDATE OF state ON inbox
WHEN OLD.state <> NEW.state AND OLD.state || ' ' || NEW.state NOT IN (
  'waiting claimed', 'waiting ignored', 'waiting refused', 'context claimed', 'context ignored', 'context refused',
  'claimed waiting', 'claimed context', 'claimed done', 'claimed dead', 'dead ignored', 'dead waiting', 'dead refused', 'host done')
BEGIN SELECT RAISE(ABORT, 'no such move of a message'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER inbox_gone BEFORE DELETE ON inbox
WHEN OLD.state NOT IN ('ignored', 'refused', 'done', 'dead')
BEGIN SELECT RAISE(ABORT, 'a message that is open is not removed'); END;
-- +goose StatementEnd
