PRAGMA application_id = 1852009591;
PRAGMA user_version = 7;
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
CREATE TABLE inbox (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  channel  TEXT NOT NULL,
  chat     TEXT NOT NULL,
  message  TEXT NOT NULL,
  grp      TEXT NOT NULL,
  state    TEXT NOT NULL CHECK (state IN ('waiting','context','ignored','refused','claimed','done','dead')),
  trigger  INTEGER NOT NULL CHECK (trigger IN (0, 1)),
  reason   TEXT NOT NULL,
  body     TEXT NOT NULL,
  run      TEXT,
  attempts INTEGER NOT NULL DEFAULT 0,
  at       INTEGER NOT NULL, cut TEXT NOT NULL DEFAULT '', again INTEGER NOT NULL DEFAULT 0, due INTEGER NOT NULL DEFAULT 0, hold TEXT NOT NULL DEFAULT '', consent TEXT NOT NULL DEFAULT '',
  UNIQUE (channel, chat, message)
) STRICT;
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
, agent_session TEXT NOT NULL DEFAULT '', follow_ups INTEGER NOT NULL DEFAULT 0, owner TEXT NOT NULL DEFAULT '', fence INTEGER NOT NULL DEFAULT 0, beat INTEGER NOT NULL DEFAULT 0) STRICT;
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
  agent_session TEXT NOT NULL DEFAULT '',
  ran_claude    INTEGER NOT NULL DEFAULT 0 CHECK (ran_claude IN (0, 1))
, fence INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;
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
) STRICT;
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
) STRICT, WITHOUT ROWID;
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
INSERT INTO goose_db_version VALUES (1, 0, 1, '2026-11-23 00:50:36');
INSERT INTO goose_db_version VALUES (2, 1, 1, '2026-11-23 00:50:36');
INSERT INTO goose_db_version VALUES (3, 2, 1, '2026-11-23 00:50:36');
INSERT INTO goose_db_version VALUES (4, 3, 1, '2026-11-23 00:50:36');
INSERT INTO goose_db_version VALUES (5, 4, 1, '2026-11-23 00:50:36');
INSERT INTO goose_db_version VALUES (6, 5, 1, '2026-11-23 00:50:36');
INSERT INTO goose_db_version VALUES (7, 6, 1, '2026-11-23 00:50:36');
INSERT INTO goose_db_version VALUES (8, 7, 1, '2026-11-23 00:50:36');
INSERT INTO meta VALUES ('uid.range', '7000+10');
INSERT INTO inbox VALUES (1, 'console', 'main', 'for r1', 'main', 'done', 1, 'test', '{"from":{"channel":"console","chat":"main"},"id":"for r1","sender":{"id":"owner","owner":true},"text":"text of for r1","sent":"2026-05-01T12:00:00Z"}', 'r1', 0, 1777636800000000000, '', 0, 0, '', '');
INSERT INTO inbox VALUES (2, 'console', 'main', 'context', 'main', 'context', 0, 'test', '{"from":{"channel":"console","chat":"main"},"id":"context","sender":{"id":"owner","owner":true},"text":"text of context","sent":"2026-05-01T12:00:00Z"}', NULL, 0, 1777636800000000000, '', 0, 0, '', '');
INSERT INTO inbox VALUES (3, 'console', 'main', 'waiting', 'main', 'waiting', 1, 'test', '{"from":{"channel":"console","chat":"main"},"id":"waiting","sender":{"id":"owner","owner":true},"text":"text of waiting","sent":"2026-05-01T12:00:00Z"}', NULL, 0, 1777636800000000000, '', 0, 0, '', '');
INSERT INTO runs VALUES (1, 'r1', 'main', 'succeeded', 'host', 'claude', 's1', 1777636800000000000, 1777636800000000000, 1777636800000000000, '', 0.0, 0, 0, 0, '', 0, 'us', 1, 1777636800000000000);
INSERT INTO outbox VALUES (1, 'k1', 'c', 'alice', 'reply', 'text k1', 'main', '', 0, 0, 'pending', 0, 0, 1777636800000000000, '', '', 1777636800000000000, NULL, '', 0, '');
INSERT INTO groups VALUES ('main', 'abc', 1, 1);
INSERT INTO uids VALUES (7000, 'main', 7000, 10);
INSERT INTO audit VALUES (1, 1777636800000000000, 'inbound', 'main', '', '', NULL, NULL, X'922EC1C92FCFF11CB78F8030C6835F3BD2253B8F27769F18981A6F21E9BE918B');
INSERT INTO audit VALUES (2, 1777636800000000000, 'run.started', 'main', 'r1', '', '{}', X'8BB3B3C6E0B2406603F32F3D8702A3E8', X'4B036F59907BC5C7C89CC6EDEFC21182A682448EA3CA6A0A178B247A267D0ACF');
INSERT INTO audit VALUES (3, 1777636800000000000, 'run.ended', 'main', 'r1', '', '{"entries":1,"digest":"fc617bba95b5beace451b595be2d8702e9905ae4afcfee75f3798d54bc5accc6","state":"succeeded"}', X'96CAE3C6648A914F3108BAFF58DDA3AF', X'AFFC58F025AF958C493BF1439F2D818A6D06D10C5D0457DE25FFEAE9175A7953');
INSERT INTO audit VALUES (4, 1777636800000000000, 'inbound', 'main', '', '', '{"from":{"channel":"console","chat":"main"},"id":"context","row":2,"sender":{"id":"owner","owner":true},"text":"text of context","verdict":"context","reason":"test"}', X'A88545BB2F58BB24F482CB9422CBC397', X'BADC64B8C19819ED38B70A36445F39C019EB6225564D76AFF16C720B482BF8F9');
INSERT INTO audit VALUES (5, 1777636800000000000, 'outbox', 'main', '', '', '{"id":1,"to":{"channel":"c","chat":"alice"},"kind":"reply","bytes":7}', X'D96947FB4D4ADAFAAB011230499B2F76', X'60DB0FEEC3B5752DF2E9AC780C2CB6C30E67F40F95117140CDDD331154056D4A');
INSERT INTO audit VALUES (6, 1777636800000000000, 'inbound', 'main', '', '', '{"from":{"channel":"console","chat":"main"},"id":"waiting","row":3,"sender":{"id":"owner","owner":true},"text":"text of waiting","verdict":"run","reason":"test"}', X'2CFE5421317D9C0F3D4EC9E2F3985F4C', X'41459AC76CD06E510F1607403B27C37106B5B6034A92C4EF0446FC10C7C4E55A');
INSERT INTO audit VALUES (7, 1777636800000000000, 'owner.acted', '', '', '', '{"act":"erase","detail":"fixture","entries":[1]}', X'B6D9AD7F1B800DF41A28726AE0359E62', X'B19B5897327D6A2EDEE94C1FE3EA66CB97BC6E7A566A6EC2E62D9ECEA586A21D');
INSERT INTO audit_leaf VALUES (0, 1);
INSERT INTO audit_leaf VALUES (1, 2);
INSERT INTO audit_leaf VALUES (2, 3);
INSERT INTO audit_leaf VALUES (3, 4);
INSERT INTO audit_leaf VALUES (4, 5);
INSERT INTO audit_hash VALUES (0, X'D2B5930F82B0F28C2DFB9FC302EF7E41B1E94D28D5CB0F31D3CA2A13ECF9F24A');
INSERT INTO audit_hash VALUES (1, X'8176999BBB74B16AF312C0985D36AFBA21AE7B05C1AB1C9C6E2E75701BB8FBA3');
INSERT INTO audit_hash VALUES (2, X'8F6163ADFAB995B181DC5B36BD04BE1B70DC816AEAE022F690CB055C982437E6');
INSERT INTO audit_hash VALUES (3, X'C80684F7027F0F79F0D74DD9D06CC43E8F72C989AFA0EB4C857261926BCDFDBB');
INSERT INTO audit_hash VALUES (4, X'9A31B5A60FE1510E5959A0078654A52F6F704F0C28AF9B076AC0EC0BEDABCA03');
INSERT INTO audit_hash VALUES (5, X'465102D8C74E6017EBB657A97DA907CE1AE1EF6D1D695774A7D8A51517926EBC');
INSERT INTO audit_hash VALUES (6, X'5B129C8F9DEE40987E25E9CBF579CE6EC0AD4F01A604C469F5DB6956CC559453');
INSERT INTO audit_hash VALUES (7, X'3AC567327C90AE4CF98C0963D1AA60C852C33E22D2FEA8B4505616593CBEA0BA');
INSERT INTO audit_head VALUES (1, 5, 5, X'6E616E6F636C61772F61756469742F353533643534656561660A350A6E637077722F4B303934624C4741506C2B4A3044626C3734396A76556B4C43306B365471725670793758593D0A0AE28094206E616E6F636C61772F61756469742F35353364353465656166204A715852767533395061624C2B416E6F714374534F576A4C70644C366E41684E4B4E65484F647231386F7568476C7162794D384A316D3047693648344C6E774F35686D38636744622F4C35687263365765355A6D5752352F7451513D0A');
INSERT INTO questions VALUES (1, 'k4m2-9x7a', 'h', 0, 1, 'open', '{"act":"chat","title":"words"}', 1, 2, '');
INSERT INTO rights VALUES (1, 'egress', 'main', 'example.com:443', '', 0, 'owner', 'console:main', 1);
INSERT INTO tasks VALUES (1, 't1', 'main', 'active', '', 1, 0, 0, 0, 0, 1, '{"prompt":"words"}');
INSERT INTO task_runs VALUES (1, 't1', 1, 0, '', 'succeeded', '', 0);
CREATE INDEX inbox_open ON inbox (state, grp, id)
  WHERE state = 'waiting' OR state = 'context' OR state = 'claimed' OR state = 'dead';
CREATE INDEX inbox_run ON inbox (run) WHERE run IS NOT NULL;
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
CREATE INDEX inbox_due ON inbox (due) WHERE state = 'waiting' AND due > 0;
CREATE INDEX tasks_next ON tasks (next) WHERE state = 'active' AND next > 0;
CREATE INDEX tasks_group ON tasks (grp);
CREATE UNIQUE INDEX task_runs_due ON task_runs (task, due);
