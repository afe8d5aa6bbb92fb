-- What a crash must not lose of a conversation: which run of the agent's had a
-- message that waits again, and in which session of the agent's that run was.

-- +goose Up
PRAGMA user_version = 2;

-- cut is the run that took the message up last and did not finish. again counts
-- how often it was put back without the agent having seen it: then it goes in
-- under a new name.
ALTER TABLE inbox ADD COLUMN cut TEXT NOT NULL DEFAULT '';
ALTER TABLE inbox ADD COLUMN again INTEGER NOT NULL DEFAULT 0;

-- agent_session is known before the agent is asked anything. follow_ups are the
-- messages that joined the run while it went on.
ALTER TABLE runs ADD COLUMN agent_session TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN follow_ups INTEGER NOT NULL DEFAULT 0;
