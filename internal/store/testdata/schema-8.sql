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
INSERT INTO goose_db_version VALUES (1, 0, 1, '2026-11-24 02:46:20');
INSERT INTO goose_db_version VALUES (2, 1, 1, '2026-11-24 02:46:20');
INSERT INTO goose_db_version VALUES (3, 2, 1, '2026-11-24 02:46:20');
INSERT INTO goose_db_version VALUES (4, 3, 1, '2026-11-24 02:46:20');
INSERT INTO goose_db_version VALUES (5, 4, 1, '2026-11-24 02:46:20');
INSERT INTO goose_db_version VALUES (6, 5, 1, '2026-11-24 02:46:20');
INSERT INTO goose_db_version VALUES (7, 6, 1, '2026-11-24 02:46:20');
INSERT INTO goose_db_version VALUES (8, 7, 1, '2026-11-24 02:46:20');
INSERT INTO goose_db_version VALUES (9, 8, 1, '2026-11-24 02:46:20');
INSERT INTO meta VALUES ('uid.range', '7000+10');
INSERT INTO runs VALUES (1, 'r1', 'main', 'succeeded', 'host', 'claude', 's1', 1777636800000000000, 1777636800000000000, 1777636800000000000, '', 0.0, 0, 0, 0, '', 0, 'us', 1, 1777636800000000000, '');
INSERT INTO outbox VALUES (1, 'k1', 'c', 'alice', 'reply', 'text k1', 'main', '', 0, 0, 'pending', 0, 0, 1777636800000000000, '', '', 1777636800000000000, NULL, '', 0, '');
INSERT INTO groups VALUES ('main', 1, 1, 0, '');
INSERT INTO uids VALUES (7000, 'main', 7000, 10);
INSERT INTO audit VALUES (1, 1777636800000000000, 'inbound', 'main', '', '', NULL, NULL, X'00500FEE7C4F08139958566D5B9527D0F506A27CC7D4E200FA9EF7B3C33163E5');
INSERT INTO audit VALUES (2, 1777636800000000000, 'run.started', 'main', 'r1', '', '{}', X'2062BB772459C31D8322F497947754B6', X'A5239B1EC91AE5A6801D39BB42338E58DF701D607E5901FD7929E69A05492796');
INSERT INTO audit VALUES (3, 1777636800000000000, 'run.ended', 'main', 'r1', '', '{"entries":1,"digest":"f37d3d84702328923e512f56da8d6eeec2d2a88fba151b3e9d50ba4eb288d89f","state":"succeeded"}', X'0CD4A2887C11AD9BAA1CD1342796A5F6', X'43A34E72E818B07AB76B56285EB2E6686B6ECB3F53A5AC8B110361721A2B249A');
INSERT INTO audit VALUES (4, 1777636800000000000, 'inbound', 'main', '', '', '{"from":{"channel":"console","chat":"main"},"id":"context","row":2,"sender":{"id":"owner","owner":true},"text":"text of context","verdict":"context","reason":"test"}', X'11A82326A458818BBDB47F940663243E', X'92DD17D3F6A2118CAA62292158AA10587CF914AB47E558AF7E7C422D6D003A21');
INSERT INTO audit VALUES (5, 1777636800000000000, 'outbox', 'main', '', '', '{"id":1,"to":{"channel":"c","chat":"alice"},"kind":"reply","bytes":7}', X'AAFC34DC30A334A7B6C94B1783FCCB15', X'3769EC105034BC7350401A0446E896EB341BB7A1CC601C30AD202438BA9FEE0E');
INSERT INTO audit VALUES (6, 1777636800000000000, 'inbound', 'main', '', '', '{"from":{"channel":"console","chat":"main"},"id":"waiting","row":3,"sender":{"id":"owner","owner":true},"text":"text of waiting","verdict":"run","reason":"test"}', X'6DE62DFBB7A0FFF22987AF3E91078B4C', X'F114DB6E525EAC662210AD192FEB6C1059F47037DB410BCF62FEF4844A6218E1');
INSERT INTO audit VALUES (7, 1777636800000000000, 'owner.acted', '', '', '', '{"act":"erase","detail":"fixture","entries":[1]}', X'BE12AC640FD78B993D5616EF1D52D127', X'C065867233515C369BDE44CE11C68B2DD5CF3F6EC678E71B6F16C102E2A32519');
INSERT INTO audit_leaf VALUES (0, 1);
INSERT INTO audit_leaf VALUES (1, 2);
INSERT INTO audit_leaf VALUES (2, 3);
INSERT INTO audit_leaf VALUES (3, 4);
INSERT INTO audit_leaf VALUES (4, 5);
INSERT INTO audit_hash VALUES (0, X'7C4D6A66944584A7013E7E97CCA2EFAB21213B3759BB65AEB21A91F35029B556');
INSERT INTO audit_hash VALUES (1, X'72D708A4CD7C746DB5D026ECC16FA2B9DDD416368ED5ECF9D7A4BBCCCB742965');
INSERT INTO audit_hash VALUES (2, X'386BEEE11AA5938D98308CB4499E73154936DF11B3980E539F8567691A1BBC94');
INSERT INTO audit_hash VALUES (3, X'1C74D5F1E7DD04D2F3BB793A4ECAD1DB62953542A769E88B3DEBBDB35A526AE7');
INSERT INTO audit_hash VALUES (4, X'28F42D10E80EF561A6609AF3AB3A76B680108E30BF8C7C952A905327AE7BEA6E');
INSERT INTO audit_hash VALUES (5, X'0538B787950080D8AD9D299BAAD29D3567BC6BCA25033965C16ABD443D997840');
INSERT INTO audit_hash VALUES (6, X'8393EDFAFFB1C532E1695BEEDDABF85ABC383598B0449029A5E2DF891617B561');
INSERT INTO audit_hash VALUES (7, X'6AE24A52ACC5978266D5EF66A427ACFFD11673C0B5526C2597261C76D788BACB');
INSERT INTO audit_head VALUES (1, 5, 5, X'6E616E6F636C61772F61756469742F396135663932663737390A350A2F7267317749506935724358504C6678654C51393241475557546B453946764D57334E6179726F4E6678413D0A0AE28094206E616E6F636C61772F61756469742F3961356639326637373920302F7970544D727A67486A667964374E625A5A38786F3548316E476943776D776E63793650394F444D3259645631326357667637467032436C344C4F4E6E32475468784D364D4E615A7066676F7655574753567A2F76676A7767493D0A');
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
CREATE INDEX runs_host ON runs (grp, started) WHERE mode = 'host';
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
