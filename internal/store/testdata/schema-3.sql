PRAGMA application_id = 1852009591;
PRAGMA user_version = 3;
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
  at       INTEGER NOT NULL, cut TEXT NOT NULL DEFAULT '', again INTEGER NOT NULL DEFAULT 0,
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
, agent_session TEXT NOT NULL DEFAULT '', follow_ups INTEGER NOT NULL DEFAULT 0) STRICT;
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
) STRICT;
CREATE TABLE groups (
  grp           TEXT PRIMARY KEY,
  agent_session TEXT NOT NULL DEFAULT '',
  ran_claude    INTEGER NOT NULL DEFAULT 0 CHECK (ran_claude IN (0, 1))
) STRICT, WITHOUT ROWID;
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
INSERT INTO goose_db_version VALUES (1, 0, 1, '2026-11-22 20:09:09');
INSERT INTO goose_db_version VALUES (2, 1, 1, '2026-11-22 20:09:09');
INSERT INTO goose_db_version VALUES (3, 2, 1, '2026-11-22 20:09:09');
INSERT INTO goose_db_version VALUES (4, 3, 1, '2026-11-22 20:09:09');
INSERT INTO meta VALUES ('uid.range', '7000+10');
INSERT INTO inbox VALUES (1, 'console', 'main', 'for r1', 'main', 'done', 1, 'test', '{"from":{"channel":"console","chat":"main"},"id":"for r1","sender":{"id":"owner","owner":true},"text":"text of for r1","sent":"2026-05-01T12:00:00Z"}', 'r1', 0, 1777636800000000000, '', 0);
INSERT INTO inbox VALUES (2, 'console', 'main', 'context', 'main', 'context', 0, 'test', '{"from":{"channel":"console","chat":"main"},"id":"context","sender":{"id":"owner","owner":true},"text":"text of context","sent":"2026-05-01T12:00:00Z"}', NULL, 0, 1777636800000000000, '', 0);
INSERT INTO inbox VALUES (3, 'console', 'main', 'waiting', 'main', 'waiting', 1, 'test', '{"from":{"channel":"console","chat":"main"},"id":"waiting","sender":{"id":"owner","owner":true},"text":"text of waiting","sent":"2026-05-01T12:00:00Z"}', NULL, 0, 1777636800000000000, '', 0);
INSERT INTO runs VALUES (1, 'r1', 'main', 'succeeded', 'host', 'claude', 's1', 1777636800000000000, 1777636800000000000, 1777636800000000000, '', 0.0, 0, 0, 0, '', 0);
INSERT INTO outbox VALUES (1, 'k1', 'c', 'alice', 'reply', 'text k1', 'main', '', 0, 0, 'pending', 0, 0, 1777636800000000000, '', '', 1777636800000000000, NULL);
INSERT INTO groups VALUES ('main', 'abc', 1);
INSERT INTO uids VALUES (7000, 'main', 7000, 10);
INSERT INTO audit VALUES (1, 1777636800000000000, 'inbound', 'main', '', '', NULL, NULL, X'620E6152785AB40BA27B4A81983E38301A631DBB5327E0AA2D7890E73CD9DF25');
INSERT INTO audit VALUES (2, 1777636800000000000, 'run.started', 'main', 'r1', '', '{}', X'0E321E85B8AAA5A724CE4542050044C6', X'2D785CF3D0791735C2702E9731B26A08EF02ED74F62AA01113FBE86A5FE99ACF');
INSERT INTO audit VALUES (3, 1777636800000000000, 'run.ended', 'main', 'r1', '', '{"entries":1,"digest":"163b579201c0257fa1d4fc998f7df13106f75c53bad25acb450067f26c380f16","state":"succeeded"}', X'7CF7EFBF9CFD6D418B5C85C54357C76F', X'245557EF1344184C3D6C41A4ED8246E7F8F2E1FA3A9892A18DF32C8416C7A72A');
INSERT INTO audit VALUES (4, 1777636800000000000, 'inbound', 'main', '', '', '{"from":{"channel":"console","chat":"main"},"id":"context","row":2,"sender":{"id":"owner","owner":true},"text":"text of context","verdict":"context","reason":"test"}', X'D0AE9D0CFA0E0E2B503D43BF32476F92', X'6750756E133D6EBCE3CF68663B9ED63987D8D17C10C2DF471CAF4F89B4498823');
INSERT INTO audit VALUES (5, 1777636800000000000, 'outbox', 'main', '', '', '{"id":1,"to":{"channel":"c","chat":"alice"},"kind":"reply","bytes":7}', X'9BCC1BF4F534418A383101AAF6D39418', X'ED29B39A6D2381E4939A909AEE0F4023BA1546764FB7E2B5ACBFB23ED8F130EE');
INSERT INTO audit VALUES (6, 1777636800000000000, 'inbound', 'main', '', '', '{"from":{"channel":"console","chat":"main"},"id":"waiting","row":3,"sender":{"id":"owner","owner":true},"text":"text of waiting","verdict":"run","reason":"test"}', X'7B2903D1A40CEC241E24A0809C7C5A04', X'3FDBA3E54C831E7C5D70C45CBFDCEF0ED61AAF16716EB305C305DA5A3BC8F86F');
INSERT INTO audit VALUES (7, 1777636800000000000, 'owner.acted', '', '', '', '{"act":"erase","detail":"fixture","entries":[1]}', X'B8DB5DD1D14EF903E2EAB15B78CF0245', X'EA999BF7DD7879EE79CD4AD7B4F96AF9F35355DE68C8B375970719B0900AFCBF');
INSERT INTO audit_leaf VALUES (0, 1);
INSERT INTO audit_leaf VALUES (1, 2);
INSERT INTO audit_leaf VALUES (2, 3);
INSERT INTO audit_leaf VALUES (3, 4);
INSERT INTO audit_leaf VALUES (4, 5);
INSERT INTO audit_hash VALUES (0, X'96954A669556BDDB0CF88E26BE8082D16A6230C535B39543F7F9FB9466044D02');
INSERT INTO audit_hash VALUES (1, X'D23F13C75E540C0FD63484614803730115EC08BBA2DE680092007F8E2A890E2E');
INSERT INTO audit_hash VALUES (2, X'A5A5155467CB60341A87086242529DD912B950B3A2A9388E6D81E420D1C112DE');
INSERT INTO audit_hash VALUES (3, X'182EB6C0A8751E4AB4FB85400521A98A3D5EE359952239A0EC4A0A603D56FAB6');
INSERT INTO audit_hash VALUES (4, X'CBD35E52C120566A393880C7E8F5368C076D5B5AFF2846138E07EDA7AC66A2A5');
INSERT INTO audit_hash VALUES (5, X'4A0F3E106236FE14BDF9D384310590135FAD0B27D92C2AB2FD058D8DD822E231');
INSERT INTO audit_hash VALUES (6, X'FC4A4EF992DCF70A270ACEC29F9E7F51A5E2481B71544348EF1F6CDCA90810B9');
INSERT INTO audit_hash VALUES (7, X'DD285FC46A5C5B8E531B1F16EAC0777B431FDBC7E5C1E297555B54F6E88099AD');
INSERT INTO audit_head VALUES (1, 5, 5, X'6E616E6F636C61772F61756469742F343234306230346666340A350A6B336D5A4A554C744430475453457A525A41507365584A686857487166677A6152416B366F3961504F54453D0A0AE28094206E616E6F636C61772F61756469742F34323430623034666634203474446A306834332B454B6D7573513939776977474C584774736D7A77634648392B715750777335436B69316466552B41395962346E4E70326C5151705932393761484C625A59415A577170524C4B342B6B6E57393575323041773D0A');
INSERT INTO questions VALUES (1, 'k4m2-9x7a', 'h', 0, 1, 'open', '{"act":"chat","title":"words"}', 1, 2, '');
INSERT INTO rights VALUES (1, 'egress', 'main', 'example.com:443', '', 0, 'owner', 'console:main', 1);
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
