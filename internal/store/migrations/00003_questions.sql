-- What the owner is asked, and what they allowed for longer than once. Both lie
-- here, outside every grant, and not in the configuration, which only the owner
-- writes.

-- +goose Up
PRAGMA user_version = 3;

-- A row is a question that is open, or one that ended and what follows from its
-- end is not done yet; after that the audit log alone has it. A live one has
-- somebody of this process waiting for it. effect is the whole effect, whose words
-- go with the row; answer is who answered, and what.
CREATE TABLE questions (
  id     INTEGER PRIMARY KEY AUTOINCREMENT,
  code   TEXT NOT NULL UNIQUE,
  hash   TEXT NOT NULL,
  live   INTEGER NOT NULL CHECK (live IN (0, 1)),
  told   INTEGER NOT NULL CHECK (told IN (0, 1)),
  state  TEXT NOT NULL CHECK (state IN ('open','approved','denied','expired','withdrawn','refused')),
  effect TEXT NOT NULL,
  since  INTEGER NOT NULL,
  until  INTEGER NOT NULL,
  answer TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE UNIQUE INDEX questions_open ON questions (hash) WHERE state = 'open' AND live = 0;

-- One row for each lasting answer. until is 0 for one without an end.
CREATE TABLE rights (
  id      INTEGER PRIMARY KEY AUTOINCREMENT,
  kind    TEXT NOT NULL,
  grp     TEXT NOT NULL,
  subject TEXT NOT NULL,
  hash    TEXT NOT NULL,
  until   INTEGER NOT NULL,
  by      TEXT NOT NULL,
  origin  TEXT NOT NULL,
  at      INTEGER NOT NULL,
  UNIQUE (kind, grp, subject)
) STRICT;
