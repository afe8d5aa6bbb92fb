PRAGMA application_id = 1852009591;
PRAGMA user_version = 2;
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
INSERT INTO goose_db_version VALUES (1, 0, 1, '2026-11-22 17:21:59');
INSERT INTO goose_db_version VALUES (2, 1, 1, '2026-11-22 17:21:59');
INSERT INTO goose_db_version VALUES (3, 2, 1, '2026-11-22 17:21:59');
INSERT INTO meta VALUES ('uid.range', '7000+10');
INSERT INTO inbox VALUES (1, 'console', 'main', 'for r1', 'main', 'done', 1, 'test', '{"from":{"channel":"console","chat":"main"},"id":"for r1","sender":{"id":"owner","owner":true},"text":"text of for r1","sent":"2026-05-01T12:00:00Z"}', 'r1', 0, 1777636800000000000, '', 0);
INSERT INTO inbox VALUES (2, 'console', 'main', 'context', 'main', 'context', 0, 'test', '{"from":{"channel":"console","chat":"main"},"id":"context","sender":{"id":"owner","owner":true},"text":"text of context","sent":"2026-05-01T12:00:00Z"}', NULL, 0, 1777636800000000000, '', 0);
INSERT INTO inbox VALUES (3, 'console', 'main', 'waiting', 'main', 'waiting', 1, 'test', '{"from":{"channel":"console","chat":"main"},"id":"waiting","sender":{"id":"owner","owner":true},"text":"text of waiting","sent":"2026-05-01T12:00:00Z"}', NULL, 0, 1777636800000000000, '', 0);
INSERT INTO runs VALUES (1, 'r1', 'main', 'succeeded', 'host', 'claude', 's1', 1777636800000000000, 1777636800000000000, 1777636800000000000, '', 0.0, 0, 0, 0, '', 0);
INSERT INTO outbox VALUES (1, 'k1', 'c', 'alice', 'reply', 'text k1', 'main', '', 0, 0, 'pending', 0, 0, 1777636800000000000, '', '', 1777636800000000000, NULL);
INSERT INTO groups VALUES ('main', 'abc', 1);
INSERT INTO uids VALUES (7000, 'main', 7000, 10);
INSERT INTO audit VALUES (1, 1777636800000000000, 'inbound', 'main', '', '', NULL, NULL, X'FA1106CDA7D8A5F56C90AF097557942C44910DB06881BA593D6E1F61237DA379');
INSERT INTO audit VALUES (2, 1777636800000000000, 'run.started', 'main', 'r1', '', '{}', X'209F95F23937C665B2A2C9E2DAE792E7', X'A2CBBAC6218B90B291ACAC8FBDFFBA805BBAF81AFD621F78332473CDF1295883');
INSERT INTO audit VALUES (3, 1777636800000000000, 'run.ended', 'main', 'r1', '', '{"entries":1,"digest":"b95b3ffb7b0f3d9c7b744e5d0898a6f7498cf87c531f3cbcec46748fefef49f5","state":"succeeded"}', X'EDA39AB717E46845304AD571C24D6656', X'BBB27452ABCE73FBB11627F3D3A02DC6AEF0F84761326B48C90AEA0FB13E64B4');
INSERT INTO audit VALUES (4, 1777636800000000000, 'inbound', 'main', '', '', '{"from":{"channel":"console","chat":"main"},"id":"context","row":2,"sender":{"id":"owner","owner":true},"text":"text of context","verdict":"context","reason":"test"}', X'2DA0F261668A3FAB1B1EA09232B339B8', X'D6885802E4112690AA18CB109FF5BC14B24E9122C9EFF50BC558C3FE9CE94397');
INSERT INTO audit VALUES (5, 1777636800000000000, 'outbox', 'main', '', '', '{"id":1,"to":{"channel":"c","chat":"alice"},"kind":"reply","bytes":7}', X'094EE10ECC646FA4F98DC26AD4E48C0D', X'78F5F1EC92A30E8A98204FB366429D48E084698D3052F445D3776516FFED4494');
INSERT INTO audit VALUES (6, 1777636800000000000, 'inbound', 'main', '', '', '{"from":{"channel":"console","chat":"main"},"id":"waiting","row":3,"sender":{"id":"owner","owner":true},"text":"text of waiting","verdict":"run","reason":"test"}', X'00E5DC590A719BBE22A109124EB6F2C0', X'639A11B8844ED7B62F66CC7B81B9D8367E4BDF558DE43374719D63A1789FE4FD');
INSERT INTO audit VALUES (7, 1777636800000000000, 'owner.acted', '', '', '', '{"act":"erase","detail":"fixture","entries":[1]}', X'62233396B83C77AE298513BB7CEB260C', X'4F3CD01F289B13BEFAF77ACE90BC7EE801A8A10D687864FC066E9DF5B61E2868');
INSERT INTO audit_leaf VALUES (0, 1);
INSERT INTO audit_leaf VALUES (1, 2);
INSERT INTO audit_leaf VALUES (2, 3);
INSERT INTO audit_leaf VALUES (3, 4);
INSERT INTO audit_leaf VALUES (4, 5);
INSERT INTO audit_hash VALUES (0, X'D65A19CE14350A1EF05F4E9B2A7CBDF7F4FAE37258155460010E2094149FA71D');
INSERT INTO audit_hash VALUES (1, X'6C8F56A1BD4F777E2ABC70A96EEACECC7252E1BFC7F6E5183DC06C9116F21EB6');
INSERT INTO audit_hash VALUES (2, X'526E8FB6DFAE63F51CC3358836998FF4134D70CD2156B90B15CA33DABE8A5CBB');
INSERT INTO audit_hash VALUES (3, X'9DD5F5DB61426329D98D6CC99F3CAC45B5052D67850A19C180FB5E13E4D1B8A0');
INSERT INTO audit_hash VALUES (4, X'B58A890E0C2F531DFD4292C4DE31407BD64463F055D48AC918AD514290E7092F');
INSERT INTO audit_hash VALUES (5, X'252BF76CD9AFF049BC08158A5EE29EB279A719D5734753FBEDE8B5D064233779');
INSERT INTO audit_hash VALUES (6, X'D0E34D6791423CDF6C96F922E3A4A84FAB6371B09D8A2E6A102CF703C112A5D2');
INSERT INTO audit_hash VALUES (7, X'96281ADA34D1D0488AC406B985FB590FF5961C5BB48B9E9E90A9E8BC5D8412E1');
INSERT INTO audit_head VALUES (1, 5, 5, X'6E616E6F636C61772F61756469742F313532383636633261300A350A6179695173474F6C3538366544676A344279696E704C6C4F315A735755574351624D4D626A706D524130593D0A0AE28094206E616E6F636C61772F61756469742F3135323836366332613020587166347036534A696F6B7953423069746562432B675A56313357464652762F7979463550635A4D492F5650495159642B32693132334F6F572F7A63733769496257616A59323479364C37334241754D52646452366F59385241673D0A');
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
