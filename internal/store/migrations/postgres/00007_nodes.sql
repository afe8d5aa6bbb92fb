-- Several processes may share one store.

-- +goose Up
-- +goose StatementBegin
-- The processes that share the store, by the names that their owner gave them. A name
-- is borne by one process at a time; owner is what it claims things as.
CREATE TABLE nodes (
  name    TEXT COLLATE "C" PRIMARY KEY,
  owner   TEXT COLLATE "C" NOT NULL,
  version TEXT COLLATE "C" NOT NULL,
  started BIGINT NOT NULL,
  beat    BIGINT NOT NULL
);

-- The node that has the group's folders, '' for none yet.
ALTER TABLE groups ADD COLUMN node TEXT COLLATE "C" NOT NULL DEFAULT '';

-- The process that asked, and that takes the answer.
ALTER TABLE questions ADD COLUMN owner TEXT COLLATE "C" NOT NULL DEFAULT '';

-- Since when a lease is held by its holder.
ALTER TABLE leases ADD COLUMN since BIGINT NOT NULL DEFAULT 0;

-- Each node hears at once of what others stored (store, nodes_listen.go). A message says
-- what to look at, and nothing of what it is; who misses one finds the same by looking.
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('nanoclaw.' || md5(TG_TABLE_SCHEMA), TG_ARGV[0]);
  RETURN NULL;
END $$;
CREATE FUNCTION tell_group() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('nanoclaw.' || md5(TG_TABLE_SCHEMA), 'group ' || NEW.grp);
  RETURN NULL;
END $$;
CREATE TRIGGER inbox_told AFTER INSERT OR UPDATE OF state, due ON inbox FOR EACH ROW
WHEN (NEW.state = 'waiting') EXECUTE FUNCTION tell_group();
CREATE TRIGGER runs_told AFTER UPDATE OF state ON runs FOR EACH ROW
WHEN (OLD.state IN ('queued', 'starting', 'running') AND NEW.state NOT IN ('queued', 'starting', 'running')) EXECUTE FUNCTION tell_group();
CREATE TRIGGER outbox_told AFTER INSERT OR UPDATE OF state, held, due ON outbox FOR EACH ROW
WHEN (NEW.state = 'pending' AND NEW.held = 0) EXECUTE FUNCTION tell('outbox');
CREATE TRIGGER sent_told AFTER UPDATE OF state ON outbox FOR EACH ROW
WHEN (NEW.state IN ('sent', 'given_up')) EXECUTE FUNCTION tell('outbox');
CREATE TRIGGER tasks_told AFTER INSERT OR UPDATE OF state, next, rev ON tasks FOR EACH ROW EXECUTE FUNCTION tell('tasks');
CREATE TRIGGER audit_told AFTER INSERT ON audit FOR EACH STATEMENT EXECUTE FUNCTION tell('audit');
CREATE TRIGGER rights_told AFTER INSERT OR UPDATE OR DELETE ON rights FOR EACH STATEMENT EXECUTE FUNCTION tell('rights');
CREATE TRIGGER meta_told AFTER INSERT OR UPDATE ON meta FOR EACH ROW EXECUTE FUNCTION tell('meta');
CREATE TRIGGER meta_gone_told AFTER DELETE ON meta FOR EACH STATEMENT EXECUTE FUNCTION tell('meta');
-- +goose StatementEnd
