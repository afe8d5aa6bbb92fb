-- Several processes may share one store, if it is in PostgreSQL. The tables are the
-- same here, where there is never more than one.

-- +goose Up
PRAGMA user_version = 7;

-- The processes that share the store, by the names that their owner gave them. A name
-- is borne by one process at a time; owner is what it claims things as.
CREATE TABLE nodes (
  name    TEXT PRIMARY KEY,
  owner   TEXT NOT NULL,
  version TEXT NOT NULL,
  started INTEGER NOT NULL,
  beat    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The node that has the group's folders, '' for none yet.
ALTER TABLE groups ADD COLUMN node TEXT NOT NULL DEFAULT '';

-- The process that asked, and that takes the answer.
ALTER TABLE questions ADD COLUMN owner TEXT NOT NULL DEFAULT '';

-- Since when a lease is held by its holder.
ALTER TABLE leases ADD COLUMN since INTEGER NOT NULL DEFAULT 0;
