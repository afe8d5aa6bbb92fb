PRAGMA application_id = 1852009591;
PRAGMA user_version = 8;
CREATE TABLE goose_db_version (
		id INTEGER PRIMARY KEY AUTOINCREMENT,
		version_id INTEGER NOT NULL,
		is_applied INTEGER NOT NULL,
		tstamp TIMESTAMP DEFAULT (datetime('now'))
	);
CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE runs (
  row        INTEGER PRIMARY KEY AUTOINCREMENT,
  id         TEXT NOT NULL UNIQUE,
  grp        TEXT NOT NULL,
  state      TEXT NOT NULL CHECK (state IN ('queued','starting','running','succeeded','failed','refused','cancelled','interrupted')),
  mode       TEXT NOT NULL DEFAULT '',
  agent      TEXT NOT NULL DEFAULT '',
  session    TEXT NOT NULL DEFAULT '',
  queued     INTEGER NOT NULL,
  started    INTEGER,
  ended      INTEGER,
  error      TEXT NOT NULL DEFAULT '',
  cost       REAL NOT NULL DEFAULT 0,
  tokens_in  INTEGER NOT NULL DEFAULT 0,
  tokens_out INTEGER NOT NULL DEFAULT 0,
  tool_calls INTEGER NOT NULL DEFAULT 0
, agent_session TEXT NOT NULL DEFAULT '', follow_ups INTEGER NOT NULL DEFAULT 0, owner TEXT NOT NULL DEFAULT '', fence INTEGER NOT NULL DEFAULT 0, beat INTEGER NOT NULL DEFAULT 0, thread TEXT NOT NULL DEFAULT '') STRICT;
CREATE TABLE outbox (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  key      TEXT NOT NULL UNIQUE,
  channel  TEXT NOT NULL,
  chat     TEXT NOT NULL,
  kind     TEXT NOT NULL,
  text     TEXT NOT NULL,
  grp      TEXT NOT NULL,
  run      TEXT NOT NULL,
  failed   INTEGER NOT NULL CHECK (failed IN (0, 1)),
  last     INTEGER NOT NULL CHECK (last IN (0, 1)),
  state    TEXT NOT NULL CHECK (state IN ('pending','sending','sent','given_up')),
  held     INTEGER NOT NULL DEFAULT 0 CHECK (held IN (0, 1, 2)), -- 2: somebody came while it was sent
  attempts INTEGER NOT NULL DEFAULT 0,
  due      INTEGER NOT NULL,
  cause    TEXT NOT NULL DEFAULT '',
  network  TEXT NOT NULL DEFAULT '',
  at       INTEGER NOT NULL,
  ended    INTEGER
, owner TEXT NOT NULL DEFAULT '', beat INTEGER NOT NULL DEFAULT 0, extra TEXT NOT NULL DEFAULT '') STRICT;
CREATE TABLE groups (
  grp           TEXT PRIMARY KEY,
  ran_claude    INTEGER NOT NULL DEFAULT 0 CHECK (ran_claude IN (0, 1))
, fence INTEGER NOT NULL DEFAULT 0, pushed INTEGER NOT NULL DEFAULT 0, node TEXT NOT NULL DEFAULT '') STRICT, WITHOUT ROWID;
CREATE TABLE uids (
  uid   INTEGER PRIMARY KEY,
  grp   TEXT NOT NULL UNIQUE,
  first INTEGER NOT NULL,
  count INTEGER NOT NULL
) STRICT;
CREATE TABLE audit (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  at         INTEGER NOT NULL,
  kind       TEXT NOT NULL,
  grp        TEXT NOT NULL,
  run        TEXT NOT NULL,
  session    TEXT NOT NULL,
  payload    TEXT,
  salt       BLOB,
  commitment BLOB NOT NULL
) STRICT;
CREATE TABLE audit_leaf (
  leaf  INTEGER PRIMARY KEY,
  entry INTEGER NOT NULL UNIQUE
) STRICT;
CREATE TABLE audit_hash (
  pos  INTEGER PRIMARY KEY,
  hash BLOB NOT NULL
) STRICT;
CREATE TABLE audit_head (
  one        INTEGER PRIMARY KEY CHECK (one = 1),
  size       INTEGER NOT NULL,
  last       INTEGER NOT NULL,
  checkpoint BLOB NOT NULL
) STRICT;
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
, owner TEXT NOT NULL DEFAULT '') STRICT;
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
CREATE TABLE arrivals (
  id     INTEGER PRIMARY KEY,
  grp    TEXT NOT NULL,
  sender TEXT NOT NULL,
  owner  INTEGER NOT NULL CHECK (owner IN (0, 1)),
  at     INTEGER NOT NULL
) STRICT;
CREATE TABLE told (
  hold  TEXT PRIMARY KEY,
  until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
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
CREATE TABLE "reservations" (
  run    TEXT PRIMARY KEY,
  day    TEXT NOT NULL,
  grp    TEXT NOT NULL,
  task   TEXT NOT NULL,
  micros INTEGER NOT NULL,
  tokens INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE "reservation_senders" (
  run      TEXT NOT NULL,
  sender   TEXT NOT NULL,
  runs     INTEGER NOT NULL,
  messages INTEGER NOT NULL,
  PRIMARY KEY (run, sender)
) STRICT, WITHOUT ROWID;
CREATE TABLE "reservation_models" (
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
CREATE TABLE extensions (
  day     TEXT NOT NULL,
  account TEXT NOT NULL,
  micros  INTEGER NOT NULL,
  tokens  INTEGER NOT NULL,
  PRIMARY KEY (day, account)
) STRICT, WITHOUT ROWID;
CREATE TABLE leases (
  name  TEXT PRIMARY KEY,
  owner TEXT NOT NULL,
  fence INTEGER NOT NULL,
  until INTEGER NOT NULL
, since INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;
CREATE TABLE tasks (
  row      INTEGER PRIMARY KEY,
  id       TEXT NOT NULL UNIQUE,
  grp      TEXT NOT NULL,
  state    TEXT NOT NULL CHECK (state IN ('active', 'paused', 'asked', 'done', 'broken')),
  reason   TEXT NOT NULL DEFAULT '',
  next     INTEGER NOT NULL DEFAULT 0,
  last     INTEGER NOT NULL DEFAULT 0,
  runs     INTEGER NOT NULL DEFAULT 0,
  skipped  INTEGER NOT NULL DEFAULT 0,
  failures INTEGER NOT NULL DEFAULT 0,
  rev      INTEGER NOT NULL DEFAULT 1,
  body     TEXT NOT NULL
) STRICT;
CREATE TABLE task_runs (
  id    INTEGER PRIMARY KEY,
  task  TEXT NOT NULL,
  due   INTEGER NOT NULL,
  row   INTEGER NOT NULL DEFAULT 0,
  run   TEXT NOT NULL DEFAULT '',
  state TEXT NOT NULL,
  note  TEXT NOT NULL DEFAULT '',
  ended INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE troubles (
  key   TEXT PRIMARY KEY,
  class TEXT NOT NULL,
  text  TEXT NOT NULL,
  since INTEGER NOT NULL,
  tries INTEGER NOT NULL,
  until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE effects (
  id     INTEGER PRIMARY KEY AUTOINCREMENT,
  grp    TEXT NOT NULL,
  run    TEXT NOT NULL,
  first  INTEGER NOT NULL,
  last   INTEGER NOT NULL,
  tool   TEXT NOT NULL,
  hash   TEXT NOT NULL,
  brief  TEXT NOT NULL,
  state  TEXT NOT NULL CHECK (state IN ('begun','done','repeated')),
  answer TEXT NOT NULL DEFAULT '',
  at     INTEGER NOT NULL
) STRICT;
CREATE TABLE "inbox" (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  channel  TEXT NOT NULL,
  chat     TEXT NOT NULL,
  message  TEXT NOT NULL,
  grp      TEXT NOT NULL,
  state    TEXT NOT NULL CHECK (state IN ('waiting','context','ignored','refused','host','claimed','done','dead')),
  trigger  INTEGER NOT NULL CHECK (trigger IN (0, 1)),
  reason   TEXT NOT NULL,
  body     TEXT NOT NULL,
  run      TEXT,
  attempts INTEGER NOT NULL DEFAULT 0,
  at       INTEGER NOT NULL,
  cut      TEXT NOT NULL DEFAULT '',
  again    INTEGER NOT NULL DEFAULT 0,
  due      INTEGER NOT NULL DEFAULT 0,
  hold     TEXT NOT NULL DEFAULT '',
  consent  TEXT NOT NULL DEFAULT '',
  UNIQUE (channel, chat, message)
) STRICT;
CREATE TABLE nodes (
  name    TEXT PRIMARY KEY,
  owner   TEXT NOT NULL,
  version TEXT NOT NULL,
  started INTEGER NOT NULL,
  beat    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE conversations (
  grp           TEXT NOT NULL,
  thread        TEXT NOT NULL,
  agent_session TEXT NOT NULL DEFAULT '', -- the agent's own session to resume
  told          TEXT NOT NULL DEFAULT '', -- which session was told which grant last
  ended         TEXT NOT NULL DEFAULT '', -- why our last session ended, until the agent is told
  used          INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (grp, thread)
) STRICT, WITHOUT ROWID;
INSERT INTO goose_db_version VALUES (1, 0, 1, '2026-11-24 04:42:17');
INSERT INTO goose_db_version VALUES (2, 1, 1, '2026-11-24 04:42:17');
INSERT INTO goose_db_version VALUES (3, 2, 1, '2026-11-24 04:42:17');
INSERT INTO goose_db_version VALUES (4, 3, 1, '2026-11-24 04:42:17');
INSERT INTO goose_db_version VALUES (5, 4, 1, '2026-11-24 04:42:17');
INSERT INTO goose_db_version VALUES (6, 5, 1, '2026-11-24 04:42:17');
INSERT INTO goose_db_version VALUES (7, 6, 1, '2026-11-24 04:42:17');
INSERT INTO goose_db_version VALUES (8, 7, 1, '2026-11-24 04:42:17');
INSERT INTO goose_db_version VALUES (9, 8, 1, '2026-11-24 04:42:17');
INSERT INTO meta VALUES ('uid.range', '7000+10');
INSERT INTO runs VALUES (1, 'r1', 'main', 'succeeded', 'host', 'claude', 's1', 1777636800000000000, 1777636800000000000, 1777636800000000000, '', 0.0, 0, 0, 0, '', 0, 'us', 1, 1777636800000000000, '');
INSERT INTO outbox VALUES (1, 'k1', 'c', 'alice', 'reply', 'text k1', 'main', '', 0, 0, 'pending', 0, 0, 1777636800000000000, '', '', 1777636800000000000, NULL, '', 0, '');
INSERT INTO groups VALUES ('main', 1, 1, 0, '');
INSERT INTO uids VALUES (7000, 'main', 7000, 10);
INSERT INTO audit VALUES (1, 1777636800000000000, 'inbound', 'main', '', '', NULL, NULL, X'E90C089AE8A63C4D27B292E546D13E130BB44C9DB5EC28DC4DFFB88ECFF6B359');
INSERT INTO audit VALUES (2, 1777636800000000000, 'run.started', 'main', 'r1', '', '{}', X'E7B88B93C6B6B8A787CC46F058A95FA6', X'34722C797F9BB239412DE238F4C01FA4E50AB7FD3EF09C6F9F2EF3C338112872');
INSERT INTO audit VALUES (3, 1777636800000000000, 'run.ended', 'main', 'r1', '', '{"entries":1,"digest":"1d251de140320cd13d92c011a8ad2ed0a8e3082ad02f324e4e1e4f8b251d6f4e","state":"succeeded"}', X'79E79E1B5FD0366AE40BCC4F1616060A', X'12420F94443ED796006DF88C9AC88183F6B8219A9402E2CE60E856225C77C279');
INSERT INTO audit VALUES (4, 1777636800000000000, 'inbound', 'main', '', '', '{"from":{"channel":"console","chat":"main"},"id":"context","row":2,"sender":{"id":"owner","owner":true},"text":"text of context","verdict":"context","reason":"test"}', X'70C58D9F7A81839AD0312B7BE75FDC61', X'63AD0798EEA40B748FFF6BAED1B73C61406387180AA9EBD036824DA7A86A8C81');
INSERT INTO audit VALUES (5, 1777636800000000000, 'outbox', 'main', '', '', '{"id":1,"to":{"channel":"c","chat":"alice"},"kind":"reply","bytes":7}', X'1B50289D569E8FA554145A8DDCD82C0E', X'6519B5306E1C742D6928C79CD660DD594EC3B019ACA7BCFADE6AD005A54C3F7B');
INSERT INTO audit VALUES (6, 1777636800000000000, 'inbound', 'main', '', '', '{"from":{"channel":"console","chat":"main"},"id":"waiting","row":3,"sender":{"id":"owner","owner":true},"text":"text of waiting","verdict":"run","reason":"test"}', X'A0AC5C3E903BE2D59552646F790BF42D', X'0B33BED65861F65048BD63268A18F79FE628A22CB319EBCA3888F520DF1C223B');
INSERT INTO audit VALUES (7, 1777636800000000000, 'owner.acted', '', '', '', '{"act":"erase","detail":"fixture","entries":[1]}', X'7C9D13CAFE4ECB61FFEF0DA0B2679DE3', X'A8CDEDFDFAE910217ECBBC1CA3520194C6A0D93BED5F1FFF1A38DDE808AF19D8');
INSERT INTO audit_leaf VALUES (0, 1);
INSERT INTO audit_leaf VALUES (1, 2);
INSERT INTO audit_leaf VALUES (2, 3);
INSERT INTO audit_leaf VALUES (3, 4);
INSERT INTO audit_leaf VALUES (4, 5);
INSERT INTO audit_hash VALUES (0, X'9ECE1ED2E4897D788D0A8A82AF02D59C95C1399F90AC96602D65099A4258FD31');
INSERT INTO audit_hash VALUES (1, X'DDC508892732083B01D32154979361C3FE52DC99A90A484330E60A4ADE8448C1');
INSERT INTO audit_hash VALUES (2, X'E60A53150DA77BABF637ABED44BBF4DEB67F78EF19CA32D54E51121DEF574180');
INSERT INTO audit_hash VALUES (3, X'A9A1C097BB459AF3DE06D86872F68A164357B0CA23F6A22531A1F052EA0AC45A');
INSERT INTO audit_hash VALUES (4, X'D3DEC54AFF9ADFE63A60793EDE3F215D6D5547F132422A477A60C9925CBE4E41');
INSERT INTO audit_hash VALUES (5, X'6DCD285A7B33C1037CC4A911CB71C7F5BEF00CB12A9A1386B4F9875D79968815');
INSERT INTO audit_hash VALUES (6, X'1A7C3B5202A309409796C760FDED005F3F739BF90D700AA3174A68066D61316B');
INSERT INTO audit_hash VALUES (7, X'AD533F7690248C5819072125707DD0CF7BC3EE93C58AFE52DABFE3910429BC52');
INSERT INTO audit_head VALUES (1, 5, 5, X'6E616E6F636C61772F61756469742F373032376134613665630A350A32506E2B7834554B394F6D71654F36676C305478754B4F634B644165365556675A6778365958414C3649513D0A0AE28094206E616E6F636C61772F61756469742F3730323761346136656320426856787A7934694664667A6B6F5A336F58433342676D486A374679787856524166667767367647554355384F4B2B766E4A634C352B632B7157594D45504B6B426C37526E7962767A6A4335635A31434F484943413248537751383D0A');
INSERT INTO questions VALUES (1, 'k4m2-9x7a', 'h', 0, 1, 'open', '{"act":"chat","title":"words"}', 1, 2, '', '');
INSERT INTO rights VALUES (1, 'egress', 'main', 'example.com:443', '', 0, 'owner', 'console:main', 1);
INSERT INTO tasks VALUES (1, 't1', 'main', 'active', '', 1, 0, 0, 0, 0, 1, '{"prompt":"words"}');
INSERT INTO task_runs VALUES (1, 't1', 1, 0, '', 'succeeded', '', 0);
INSERT INTO inbox VALUES (1, 'console', 'main', 'for r1', 'main', 'done', 1, 'test', '{"from":{"channel":"console","chat":"main"},"id":"for r1","sender":{"id":"owner","owner":true},"text":"text of for r1","sent":"2026-05-01T12:00:00Z"}', 'r1', 0, 1777636800000000000, '', 0, 0, '', '');
INSERT INTO inbox VALUES (2, 'console', 'main', 'context', 'main', 'context', 0, 'test', '{"from":{"channel":"console","chat":"main"},"id":"context","sender":{"id":"owner","owner":true},"text":"text of context","sent":"2026-05-01T12:00:00Z"}', NULL, 0, 1777636800000000000, '', 0, 0, '', '');
INSERT INTO inbox VALUES (3, 'console', 'main', 'waiting', 'main', 'waiting', 1, 'test', '{"from":{"channel":"console","chat":"main"},"id":"waiting","sender":{"id":"owner","owner":true},"text":"text of waiting","sent":"2026-05-01T12:00:00Z"}', NULL, 0, 1777636800000000000, '', 0, 0, '', '');
INSERT INTO conversations VALUES ('main', '', 'abc', '', '', 1777636800000000000);
CREATE UNIQUE INDEX runs_live ON runs (grp)
  WHERE state = 'queued' OR state = 'starting' OR state = 'running';
CREATE INDEX runs_group ON runs (grp, row);
CREATE INDEX outbox_open ON outbox (channel, chat, id) WHERE state = 'pending' OR state = 'sending';
CREATE INDEX outbox_ready ON outbox (held) WHERE state = 'pending';
CREATE INDEX outbox_given_up ON outbox (state) WHERE state = 'given_up';
CREATE INDEX outbox_run ON outbox (run) WHERE run <> '';
CREATE INDEX audit_run ON audit (run) WHERE run <> '';
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'audit entries are never deleted'); END;
CREATE TRIGGER audit_only_erase BEFORE UPDATE ON audit
WHEN NEW.payload IS NOT NULL OR NEW.salt IS NOT NULL OR NEW.id IS NOT OLD.id OR NEW.at IS NOT OLD.at
  OR NEW.kind IS NOT OLD.kind OR NEW.grp IS NOT OLD.grp OR NEW.run IS NOT OLD.run
  OR NEW.session IS NOT OLD.session OR NEW.commitment IS NOT OLD.commitment
BEGIN SELECT RAISE(ABORT, 'audit entries are never changed, only erased'); END;
CREATE TRIGGER audit_in_order AFTER INSERT ON audit
WHEN NEW.id <= (SELECT last FROM audit_head)
BEGIN SELECT RAISE(ABORT, 'audit entries are only added at the end'); END;
CREATE UNIQUE INDEX questions_open ON questions (hash) WHERE state = 'open' AND live = 0;
CREATE TRIGGER runs_moves BEFORE UPDATE OF state ON runs
WHEN OLD.state <> NEW.state AND OLD.state || ' ' || NEW.state NOT IN (
  'queued starting', 'starting running', 'running succeeded', 'queued refused', 'starting refused',
  'queued failed', 'starting failed', 'running failed', 'queued cancelled', 'starting cancelled', 'running cancelled',
  'queued interrupted', 'starting interrupted', 'running interrupted')
BEGIN SELECT RAISE(ABORT, 'no such move of a run'); END;
CREATE TRIGGER runs_gone BEFORE DELETE ON runs
WHEN OLD.state IN ('starting', 'running')
BEGIN SELECT RAISE(ABORT, 'a run that goes on is not removed'); END;
CREATE TRIGGER outbox_moves BEFORE UPDATE OF state ON outbox
WHEN OLD.state <> NEW.state AND OLD.state || ' ' || NEW.state NOT IN (
  'pending sending', 'pending given_up', 'sending pending', 'sending sent', 'sending given_up')
BEGIN SELECT RAISE(ABORT, 'no such move of a message to send'); END;
CREATE TRIGGER outbox_gone BEFORE DELETE ON outbox
WHEN OLD.state NOT IN ('sent', 'given_up')
BEGIN SELECT RAISE(ABORT, 'a message that is to be sent is not removed'); END;
CREATE TRIGGER questions_moves BEFORE UPDATE OF state ON questions
WHEN OLD.state <> NEW.state AND OLD.state <> 'open'
BEGIN SELECT RAISE(ABORT, 'a question ends once'); END;
CREATE INDEX tasks_next ON tasks (next) WHERE state = 'active' AND next > 0;
CREATE INDEX tasks_group ON tasks (grp);
CREATE UNIQUE INDEX task_runs_due ON task_runs (task, due);
CREATE INDEX effects_group ON effects (grp);
CREATE INDEX inbox_open ON inbox (state, grp, id)
  WHERE state = 'waiting' OR state = 'context' OR state = 'claimed' OR state = 'dead';
CREATE INDEX inbox_run ON inbox (run) WHERE run IS NOT NULL;
CREATE INDEX inbox_due ON inbox (due) WHERE state = 'waiting' AND due > 0;
CREATE INDEX inbox_host ON inbox (id) WHERE state = 'host';
CREATE TRIGGER inbox_moves BEFORE UPDATE OF state ON inbox
WHEN OLD.state <> NEW.state AND OLD.state || ' ' || NEW.state NOT IN (
  'waiting claimed', 'waiting ignored', 'waiting refused', 'context claimed', 'context ignored', 'context refused',
  'claimed waiting', 'claimed context', 'claimed done', 'claimed dead', 'dead ignored', 'dead waiting', 'dead refused', 'host done')
BEGIN SELECT RAISE(ABORT, 'no such move of a message'); END;
CREATE TRIGGER inbox_gone BEFORE DELETE ON inbox
WHEN OLD.state NOT IN ('ignored', 'refused', 'done', 'dead')
BEGIN SELECT RAISE(ABORT, 'a message that is open is not removed'); END;
CREATE INDEX runs_host ON runs (grp, started, follow_ups) WHERE mode = 'host';
