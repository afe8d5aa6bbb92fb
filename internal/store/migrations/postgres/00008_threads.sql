-- A thread of a chat is a conversation of its own.

-- +goose Up
-- What is remembered between the runs of a conversation: the group's own, whose thread
-- is '', and that of each thread, by its address in full.
CREATE TABLE conversations (
  grp           TEXT COLLATE "C" NOT NULL,
  thread        TEXT COLLATE "C" NOT NULL,
  agent_session TEXT COLLATE "C" NOT NULL DEFAULT '',
  told          TEXT COLLATE "C" NOT NULL DEFAULT '',
  ended         TEXT COLLATE "C" NOT NULL DEFAULT '',
  used          BIGINT NOT NULL DEFAULT 0,
  PRIMARY KEY (grp, thread)
);

INSERT INTO conversations (grp, thread, agent_session, told, ended)
SELECT grp, '', agent_session,
  coalesce((SELECT value FROM meta WHERE key = 'told:' || grp), ''),
  coalesce((SELECT value FROM meta WHERE key = 'ended:' || grp), '')
FROM groups WHERE agent_session <> '';

DELETE FROM meta WHERE substr(key, 1, 5) = 'told:' OR substr(key, 1, 6) = 'ended:';
ALTER TABLE groups DROP COLUMN agent_session;

-- The thread whose messages the run answers, '' for none.
ALTER TABLE runs ADD COLUMN thread TEXT COLLATE "C" NOT NULL DEFAULT '';

-- The host runs of an hour are counted at each decision, and out of the index alone: with
-- 15,000 of them that took 23 ms.
DROP INDEX runs_host;
CREATE INDEX runs_host ON runs (grp, started, follow_ups) WHERE mode = 'host';
