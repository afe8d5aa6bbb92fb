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

-- No row changes its state but by a move of docs/state-machine.md, and none that is
-- open is removed, whatever the code does. A change that keeps the state is no move.
-- +goose StatementBegin
CREATE TRIGGER inbox_moves BEFORE UPDATE OF state ON inbox
WHEN OLD.state <> NEW.state AND OLD.state || ' ' || NEW.state NOT IN (
  'waiting claimed', 'waiting ignored', 'waiting refused', 'context claimed', 'context ignored', 'context refused',
  'claimed waiting', 'claimed context', 'claimed done', 'claimed dead', 'dead ignored')
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
