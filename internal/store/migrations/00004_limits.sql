-- What waits for a time or for the owner, how often messages came, and what the
-- model cost: on which day, for whom, and what runs that go on have set aside.

-- +goose Up
PRAGMA user_version = 4;

-- A message with a due time is not taken up before it; hold says what it waits
-- for. consent is the hash of the question that the owner said yes to for it.
ALTER TABLE inbox ADD COLUMN due INTEGER NOT NULL DEFAULT 0;
ALTER TABLE inbox ADD COLUMN hold TEXT NOT NULL DEFAULT '';
ALTER TABLE inbox ADD COLUMN consent TEXT NOT NULL DEFAULT '';
-- Holds of the rows still to be done; nearly always it is empty.
CREATE INDEX inbox_due ON inbox (due) WHERE state = 'waiting' AND due > 0;

-- The messages of the last minute that were for the agent.
CREATE TABLE arrivals (
  id     INTEGER PRIMARY KEY,
  grp    TEXT NOT NULL,
  sender TEXT NOT NULL,
  owner  INTEGER NOT NULL CHECK (owner IN (0, 1)),
  at     INTEGER NOT NULL
) STRICT;

-- Until when nobody is told again of what is held for a reason.
CREATE TABLE told (
  hold  TEXT PRIMARY KEY,
  until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What was used, settled. micros are millionths of a dollar, unpriced tokens those
-- whose price nobody knows.
CREATE TABLE costs (
  day         TEXT NOT NULL,
  grp         TEXT NOT NULL,
  sender      TEXT NOT NULL,
  task        TEXT NOT NULL,
  model       TEXT NOT NULL,
  runs        INTEGER NOT NULL DEFAULT 0,
  input       INTEGER NOT NULL DEFAULT 0,
  cache_read  INTEGER NOT NULL DEFAULT 0,
  cache_write INTEGER NOT NULL DEFAULT 0,
  output      INTEGER NOT NULL DEFAULT 0,
  micros      INTEGER NOT NULL DEFAULT 0,
  unpriced    INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (day, grp, sender, task, model)
) STRICT, WITHOUT ROWID;

-- What a live run has set aside, among whom it is shared, and what it used so
-- far. The transaction that ends the run settles it.
CREATE TABLE leases (
  run    TEXT PRIMARY KEY,
  day    TEXT NOT NULL,
  grp    TEXT NOT NULL,
  task   TEXT NOT NULL,
  micros INTEGER NOT NULL,
  tokens INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE lease_senders (
  run      TEXT NOT NULL,
  sender   TEXT NOT NULL,
  runs     INTEGER NOT NULL,
  messages INTEGER NOT NULL,
  PRIMARY KEY (run, sender)
) STRICT, WITHOUT ROWID;
CREATE TABLE lease_models (
  run         TEXT NOT NULL,
  model       TEXT NOT NULL,
  input       INTEGER NOT NULL,
  cache_read  INTEGER NOT NULL,
  cache_write INTEGER NOT NULL,
  output      INTEGER NOT NULL,
  micros      INTEGER NOT NULL,
  unpriced    INTEGER NOT NULL,
  PRIMARY KEY (run, model)
) STRICT, WITHOUT ROWID;

-- By what the owner extended an account's budget, for one day alone.
CREATE TABLE extensions (
  day     TEXT NOT NULL,
  account TEXT NOT NULL,
  micros  INTEGER NOT NULL,
  tokens  INTEGER NOT NULL,
  PRIMARY KEY (day, account)
) STRICT, WITHOUT ROWID;
