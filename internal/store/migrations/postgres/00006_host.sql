-- A message may be for the host: an answer to one of its questions, or a command. It
-- has a state of its own until the host has done what it says, so that a crash
-- swallows none.

-- +goose Up
ALTER TABLE inbox DROP CONSTRAINT inbox_state_check;
ALTER TABLE inbox ADD CONSTRAINT inbox_state_check CHECK (state IN ('waiting','context','ignored','refused','host','claimed','done','dead'));
CREATE INDEX inbox_host ON inbox (id) WHERE state = 'host';
DROP TRIGGER inbox_moves ON inbox;
CREATE TRIGGER inbox_moves BEFORE UPDATE OF state ON inbox FOR EACH ROW
WHEN (OLD.state <> NEW.state AND OLD.state || ' ' || NEW.state NOT IN (
  'waiting claimed', 'waiting ignored', 'waiting refused', 'context claimed', 'context ignored', 'context refused',
  'claimed waiting', 'claimed context', 'claimed done', 'claimed dead', 'dead ignored', 'dead waiting', 'dead refused', 'host done'))
EXECUTE FUNCTION refuse('no such move of a message');
