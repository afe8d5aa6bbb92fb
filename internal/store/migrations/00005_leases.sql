-- Who works on a run: the process that claimed it, the how manieth claim of its
-- group that was, and when that process was last heard of. What a run sets aside
-- of a budget was called a lease before; it is a reservation.

-- +goose Up
PRAGMA user_version = 5;

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
