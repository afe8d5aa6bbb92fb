PRAGMA application_id = 1852009591;
PRAGMA user_version = 4;
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
CREATE TABLE leases (
  run    TEXT PRIMARY KEY,
  day    TEXT NOT NULL,
  grp    TEXT NOT NULL,
  task   TEXT NOT NULL,
  micros INTEGER NOT NULL,
  tokens INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE lease_senders (
  run      TEXT NOT NULL,
  sender   TEXT NOT NULL,
  runs     INTEGER NOT NULL,
  messages INTEGER NOT NULL,
  PRIMARY KEY (run, sender)
) STRICT, WITHOUT ROWID;
CREATE TABLE lease_models (
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
INSERT INTO goose_db_version VALUES (1, 0, 1, '2026-11-22 20:24:57');
INSERT INTO goose_db_version VALUES (2, 1, 1, '2026-11-22 20:24:57');
INSERT INTO goose_db_version VALUES (3, 2, 1, '2026-11-22 20:24:57');
INSERT INTO goose_db_version VALUES (4, 3, 1, '2026-11-22 20:24:57');
INSERT INTO goose_db_version VALUES (5, 4, 1, '2026-11-22 20:24:57');
INSERT INTO meta VALUES ('uid.range', '7000+10');
INSERT INTO inbox VALUES (1, 'console', 'main', 'for r1', 'main', 'done', 1, 'test', '{"from":{"channel":"console","chat":"main"},"id":"for r1","sender":{"id":"owner","owner":true},"text":"text of for r1","sent":"2026-05-01T12:00:00Z"}', 'r1', 0, 1777636800000000000, '', 0, 0, '', '');
INSERT INTO inbox VALUES (2, 'console', 'main', 'context', 'main', 'context', 0, 'test', '{"from":{"channel":"console","chat":"main"},"id":"context","sender":{"id":"owner","owner":true},"text":"text of context","sent":"2026-05-01T12:00:00Z"}', NULL, 0, 1777636800000000000, '', 0, 0, '', '');
INSERT INTO inbox VALUES (3, 'console', 'main', 'waiting', 'main', 'waiting', 1, 'test', '{"from":{"channel":"console","chat":"main"},"id":"waiting","sender":{"id":"owner","owner":true},"text":"text of waiting","sent":"2026-05-01T12:00:00Z"}', NULL, 0, 1777636800000000000, '', 0, 0, '', '');
INSERT INTO runs VALUES (1, 'r1', 'main', 'succeeded', 'host', 'claude', 's1', 1777636800000000000, 1777636800000000000, 1777636800000000000, '', 0.0, 0, 0, 0, '', 0);
INSERT INTO outbox VALUES (1, 'k1', 'c', 'alice', 'reply', 'text k1', 'main', '', 0, 0, 'pending', 0, 0, 1777636800000000000, '', '', 1777636800000000000, NULL);
INSERT INTO groups VALUES ('main', 'abc', 1);
INSERT INTO uids VALUES (7000, 'main', 7000, 10);
INSERT INTO audit VALUES (1, 1777636800000000000, 'inbound', 'main', '', '', NULL, NULL, X'BD83F269CE447292753E1143639E6B7753B1847135CC39F6A2D3BC72066EA287');
INSERT INTO audit VALUES (2, 1777636800000000000, 'run.started', 'main', 'r1', '', '{}', X'6C18B16579BD0B320CA26CB9F3F7932C', X'2EF83704CE697B3CF074056C204C9A099AD58B5BA5AFE62FCE96C3FD3F3E74DF');
INSERT INTO audit VALUES (3, 1777636800000000000, 'run.ended', 'main', 'r1', '', '{"entries":1,"digest":"642316c4c8cfb44135c269cf094336114e1febcb553bb5f5d4c59d9c6e1cdfd5","state":"succeeded"}', X'7FF533AFF745F130257D771A20AD543B', X'C749800229F5B117A832769FBD2F5ECE65064901B53FFA607533864AB1DE15F4');
INSERT INTO audit VALUES (4, 1777636800000000000, 'inbound', 'main', '', '', '{"from":{"channel":"console","chat":"main"},"id":"context","row":2,"sender":{"id":"owner","owner":true},"text":"text of context","verdict":"context","reason":"test"}', X'84AA78DF7E127EDD4A52EC74B4834B83', X'F0B447FDEE3619F0CA3C669579774739BFF87B9620741A390C43CC212D065725');
INSERT INTO audit VALUES (5, 1777636800000000000, 'outbox', 'main', '', '', '{"id":1,"to":{"channel":"c","chat":"alice"},"kind":"reply","bytes":7}', X'CF8FBB9514736062657073F4E5673F43', X'3718C649E6DB15D358ED647F73A0728997043953F344146D916A9A8546B50223');
INSERT INTO audit VALUES (6, 1777636800000000000, 'inbound', 'main', '', '', '{"from":{"channel":"console","chat":"main"},"id":"waiting","row":3,"sender":{"id":"owner","owner":true},"text":"text of waiting","verdict":"run","reason":"test"}', X'A556ADB8A5997495B701F9AF9800B87B', X'ACA3027C3D3E48A88304C7B0431476C3DA1A44822D5C77D73B962451D92256B2');
INSERT INTO audit VALUES (7, 1777636800000000000, 'owner.acted', '', '', '', '{"act":"erase","detail":"fixture","entries":[1]}', X'25BAA3AA8586F9734348273F98CA62D2', X'47D6CDD104939C26B05F6E33DD1D2489F0CEC859456BD942E186A7FB0A822DDF');
INSERT INTO audit_leaf VALUES (0, 1);
INSERT INTO audit_leaf VALUES (1, 2);
INSERT INTO audit_leaf VALUES (2, 3);
INSERT INTO audit_leaf VALUES (3, 4);
INSERT INTO audit_leaf VALUES (4, 5);
INSERT INTO audit_hash VALUES (0, X'EF9D2C9E2F9E8577E31FFAC921CE1AAC3AA7AF46F637D72D1C9745091A3C9414');
INSERT INTO audit_hash VALUES (1, X'4DFF1D16509CBF4EAD334705723D3A2CA79F176192BCDA0478DE214C96143A3A');
INSERT INTO audit_hash VALUES (2, X'A82E6D088F116D67244FC8451EBC102E5AC638A4D193D35BDA3DF83D848CB506');
INSERT INTO audit_hash VALUES (3, X'0CB010CA0639EA746F78CF574C4439FFFF0840D1D1AABEB4397934F766D15D46');
INSERT INTO audit_hash VALUES (4, X'CA209D3B76DF54B6293BE8F5F0489A993E4B2F383453219E73B38C13DD67262D');
INSERT INTO audit_hash VALUES (5, X'F37DDE0AC24DB53DB8E9F77962AB09A5B368F5ED2BAB3114D955B8B6CAD2C1E7');
INSERT INTO audit_hash VALUES (6, X'E8F3728909FFF0F06367EA589784F7AAC4BB362359C9B6A98ADF95533CD56060');
INSERT INTO audit_hash VALUES (7, X'8AF72DDF596A4DF91700D0A4431F6CE335377B4074E5E14039E23EBB5BDC4156');
INSERT INTO audit_head VALUES (1, 5, 5, X'6E616E6F636C61772F61756469742F346133666132613566360A350A79684277767137716E73517131633134696A694A55334C69746C4B454446384B39424D56505343313541383D0A0AE28094206E616E6F636C61772F61756469742F346133666132613566362056437251325377556D394B477141725737456162507A365A7679514530763233554632387A4B34356E454E6C3750704745573958692B525663574B30714D2B2F38505A715747686F4379794D656C382F59474C4B4C3868725277553D0A');
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
CREATE INDEX inbox_due ON inbox (due) WHERE state = 'waiting' AND due > 0;
