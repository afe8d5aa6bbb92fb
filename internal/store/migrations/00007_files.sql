-- What few outgoing messages have beside their text, as JSON: a file, or the code of
-- a question.

-- +goose Up
PRAGMA user_version = 7;

ALTER TABLE outbox ADD COLUMN extra TEXT NOT NULL DEFAULT '';
