PRAGMA application_id = 1852009591;
PRAGMA user_version = 11;
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
INSERT INTO goose_db_version VALUES (1, 0, 1, '2026-11-23 04:32:24');
INSERT INTO goose_db_version VALUES (2, 1, 1, '2026-11-23 04:32:24');
INSERT INTO goose_db_version VALUES (3, 2, 1, '2026-11-23 04:32:24');
INSERT INTO goose_db_version VALUES (4, 3, 1, '2026-11-23 04:32:24');
INSERT INTO goose_db_version VALUES (5, 4, 1, '2026-11-23 04:32:24');
INSERT INTO goose_db_version VALUES (6, 5, 1, '2026-11-23 04:32:24');
INSERT INTO goose_db_version VALUES (7, 6, 1, '2026-11-23 04:32:24');
INSERT INTO goose_db_version VALUES (8, 11, 1, '2026-11-23 04:32:24');
INSERT INTO meta VALUES ('uid.range', '7000+10');
INSERT INTO runs VALUES (1, 'r1', 'main', 'succeeded', 'host', 'claude', 's1', 1777636800000000000, 1777636800000000000, 1777636800000000000, '', 0.0, 0, 0, 0, '', 0, 'us', 1, 1777636800000000000);
INSERT INTO outbox VALUES (1, 'k1', 'c', 'alice', 'reply', 'text k1', 'main', '', 0, 0, 'pending', 0, 0, 1777636800000000000, '', '', 1777636800000000000, NULL, '', 0, '');
INSERT INTO groups VALUES ('main', 'abc', 1, 1, 0, '');
INSERT INTO uids VALUES (7000, 'main', 7000, 10);
INSERT INTO audit VALUES (1, 1777636800000000000, 'inbound', 'main', '', '', NULL, NULL, X'2E103FD76D5476866343DAD7363327AE63C6BA9DCF96077A9C8F4B42B5CF76CC');
INSERT INTO audit VALUES (2, 1777636800000000000, 'run.started', 'main', 'r1', '', '{}', X'72083BC5120CE9C39D288D07B0659E5E', X'10AEEDCA2D2919AF5522F6619799E0B17404DD5CF78789899A4D691C0A88F8F2');
INSERT INTO audit VALUES (3, 1777636800000000000, 'run.ended', 'main', 'r1', '', '{"entries":1,"digest":"9004fdf2ca5059cc890cfd67e3a1d0b67ae53d891f9f30430171130fc2e3b299","state":"succeeded"}', X'372F4E45ECADCA35CD52F135787A4106', X'BE9E1B4ACBC1B5958B2FD88FFBED1CED2232A32BA641E786180A12A9EAFC0B4C');
INSERT INTO audit VALUES (4, 1777636800000000000, 'inbound', 'main', '', '', '{"from":{"channel":"console","chat":"main"},"id":"context","row":2,"sender":{"id":"owner","owner":true},"text":"text of context","verdict":"context","reason":"test"}', X'277028EDCB2688FB1822D8441BEA2F44', X'4E28D520E96BCDFB74E880798E6F6B203D6F86A3C8D1CC50AC853A5BC905CF7B');
INSERT INTO audit VALUES (5, 1777636800000000000, 'outbox', 'main', '', '', '{"id":1,"to":{"channel":"c","chat":"alice"},"kind":"reply","bytes":7}', X'06754CF072757A9F62B41824FB3E12C5', X'A97A1F7556A9EF54D9CF3EA64C133C10C6DB9FA8B80EA0CDDA7ABF52AF29E112');
INSERT INTO audit VALUES (6, 1777636800000000000, 'inbound', 'main', '', '', '{"from":{"channel":"console","chat":"main"},"id":"waiting","row":3,"sender":{"id":"owner","owner":true},"text":"text of waiting","verdict":"run","reason":"test"}', X'EB0775B528C54DED74CFBA63BA27E56A', X'83B91E22F51119D131093F85E49A89463346813DF1755A80D191D44E0DECF7BC');
INSERT INTO audit VALUES (7, 1777636800000000000, 'owner.acted', '', '', '', '{"act":"erase","detail":"fixture","entries":[1]}', X'BCD3A1EA7A583A957933E54AA908E762', X'D70B5F99464C59172CC517BA183F0CBD99D0993936D4F0C3C59DA122F6A679BF');
INSERT INTO audit_leaf VALUES (0, 1);
INSERT INTO audit_leaf VALUES (1, 2);
INSERT INTO audit_leaf VALUES (2, 3);
INSERT INTO audit_leaf VALUES (3, 4);
INSERT INTO audit_leaf VALUES (4, 5);
INSERT INTO audit_hash VALUES (0, X'A07E204279EC4B488DE3A4F0EE713650EEE00F26BEE92FAD407CCDEB49993B9E');
INSERT INTO audit_hash VALUES (1, X'DB206A80B5B79F293FF0661035799222899F662FF25B877E705B36EA3DE5BDCE');
INSERT INTO audit_hash VALUES (2, X'F1D53F5FB6CC53B6DB86FCBFAC2C40A66E2EA66D559D571786036C3C182650CA');
INSERT INTO audit_hash VALUES (3, X'DD84E945E1F381B430D4277E9BB25DC399BA59FC41698310B1863A5408A5E138');
INSERT INTO audit_hash VALUES (4, X'6E65D1DCF49D87F789BDC6128D8EED3B084F84B75763747A945C6896208FC87E');
INSERT INTO audit_hash VALUES (5, X'8896AC37ED2DAF1E3532DBA173FDBBF50AC26EF2AD8A93530DE406EA089C1CAA');
INSERT INTO audit_hash VALUES (6, X'B29AA2D361F7AFAF21B4884815C4385FF99359181E20744121F3D2B8E973CFE4');
INSERT INTO audit_hash VALUES (7, X'5812F0B548AE4133F22EC5A807F7A7A5AE3E2E5A746E45ADCAA753F7572500B6');
INSERT INTO audit_head VALUES (1, 5, 5, X'6E616E6F636C61772F61756469742F383036363532613963340A350A66316C756D364657374C5063697A38777A7343414D336C5655704D706B6A634271374E494D4370694F71453D0A0AE28094206E616E6F636C61772F61756469742F38303636353261396334207734525356445772622F75787A4C6E4C4E757161333633317649544834525950674C2F474336755248674A77317973347464734374657958742F5767755268724F3539434A444F3247482F4972376C6347724334594976614E77453D0A');
INSERT INTO questions VALUES (1, 'k4m2-9x7a', 'h', 0, 1, 'open', '{"act":"chat","title":"words"}', 1, 2, '', '');
INSERT INTO rights VALUES (1, 'egress', 'main', 'example.com:443', '', 0, 'owner', 'console:main', 1);
INSERT INTO tasks VALUES (1, 't1', 'main', 'active', '', 1, 0, 0, 0, 0, 1, '{"prompt":"words"}');
INSERT INTO task_runs VALUES (1, 't1', 1, 0, '', 'succeeded', '', 0);
INSERT INTO inbox VALUES (1, 'console', 'main', 'for r1', 'main', 'done', 1, 'test', '{"from":{"channel":"console","chat":"main"},"id":"for r1","sender":{"id":"owner","owner":true},"text":"text of for r1","sent":"2026-05-01T12:00:00Z"}', 'r1', 0, 1777636800000000000, '', 0, 0, '', '');
INSERT INTO inbox VALUES (2, 'console', 'main', 'context', 'main', 'context', 0, 'test', '{"from":{"channel":"console","chat":"main"},"id":"context","sender":{"id":"owner","owner":true},"text":"text of context","sent":"2026-05-01T12:00:00Z"}', NULL, 0, 1777636800000000000, '', 0, 0, '', '');
INSERT INTO inbox VALUES (3, 'console', 'main', 'waiting', 'main', 'waiting', 1, 'test', '{"from":{"channel":"console","chat":"main"},"id":"waiting","sender":{"id":"owner","owner":true},"text":"text of waiting","sent":"2026-05-01T12:00:00Z"}', NULL, 0, 1777636800000000000, '', 0, 0, '', '');
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
