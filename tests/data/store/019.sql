-- A store of schema 19, with rows as an agent of that schema writes them.
PRAGMA user_version = 19;
PRAGMA foreign_keys = OFF;
BEGIN TRANSACTION;
CREATE TABLE audit (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,  -- without a gap
    time    INTEGER NOT NULL,
    actor   TEXT    NOT NULL,
    address TEXT,
    action  TEXT    NOT NULL,
    target  TEXT    NOT NULL,
    result  TEXT    NOT NULL,
    count   INTEGER NOT NULL,
    detail  TEXT,
    cut_to  INTEGER,                            -- a checkpoint: rows up to this one were cut, and `detail` is its hash
    hash    BLOB    NOT NULL                    -- SHA-256 of the hash before and of this row
, refused INTEGER NOT NULL DEFAULT 0, number INTEGER, other INTEGER, since INTEGER) STRICT;
CREATE TABLE deployments (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    service      INTEGER NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    cause        TEXT    NOT NULL,
    actor        TEXT    NOT NULL,
    state        TEXT    NOT NULL,
    commit_id    TEXT,
    from_release INTEGER,                       -- the release whose image is used again; none: build
    release      INTEGER,
    problem      TEXT,
    detail       TEXT,
    hint         TEXT,
    tail         TEXT,                          -- the last lines of the build or of the unit
    queued       INTEGER NOT NULL,
    fetching     INTEGER,
    building     INTEGER,
    starting     INTEGER,
    checking     INTEGER,
    finished     INTEGER
, brings_env INTEGER NOT NULL DEFAULT 0, desired_before TEXT, repository TEXT, stopped_release INTEGER) STRICT;
INSERT INTO "deployments" VALUES(1,1,'push','git-password','live','1111111111111111111111111111111111111111',NULL,1,NULL,NULL,NULL,NULL,1760000000001000,1760000000001001,1760000000001002,1760000000001003,1760000000001004,1760000000001005,0,'created',NULL,NULL);
INSERT INTO "deployments" VALUES(2,1,'push','git-password','live','1111111111111111111111111111111111111111',NULL,2,NULL,NULL,NULL,NULL,1760000000002000,1760000000002001,1760000000002002,1760000000002003,1760000000002004,1760000000002005,0,'running',NULL,NULL);
INSERT INTO "deployments" VALUES(3,1,'push','git-password','failed','1111111111111111111111111111111111111111',NULL,NULL,'build-failed','the build ended with status 1',NULL,'no',1760000000003000,1760000000003001,1760000000003002,NULL,NULL,1760000000003005,0,NULL,NULL,NULL);
CREATE TABLE enrolment_links (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    hash    BLOB    NOT NULL UNIQUE,            -- SHA-256 of the link's secret
    expires INTEGER NOT NULL
) STRICT;
CREATE TABLE env (
    service INTEGER NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    key     TEXT    NOT NULL,
    secret  TEXT    NOT NULL,                   -- the Podman secret that holds the value
    PRIMARY KEY (service, key)
) STRICT, WITHOUT ROWID;
INSERT INTO "env" VALUES(1,'KEY','podkeeper-blog-KEY-abcdefghijklmnop');
INSERT INTO "env" VALUES(1,'NOTHING','');
CREATE TABLE git_password (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    phc     TEXT    NOT NULL,                   -- Argon2id, as a PHC string
    changed INTEGER NOT NULL
) STRICT;
INSERT INTO "git_password" VALUES(1,'$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g',1760000000000000);
CREATE TABLE git_password_places (
    network TEXT    PRIMARY KEY,
    seen    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE hook_deliveries (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    service    INTEGER NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    delivery   TEXT,                            -- the sender's number of it
    sender     TEXT    NOT NULL,
    event      TEXT    NOT NULL,
    received   INTEGER NOT NULL,
    outcome    TEXT    NOT NULL,
    reason     TEXT,
    deployment INTEGER
) STRICT;
INSERT INTO "hook_deliveries" VALUES(1,1,'d-1','github','push',1760000000000000,'deployed',NULL,2);
CREATE TABLE hook_refusals (
    service INTEGER PRIMARY KEY REFERENCES services (id) ON DELETE CASCADE,
    sender  TEXT    NOT NULL,                   -- of the last one
    count   INTEGER NOT NULL,
    first   INTEGER NOT NULL,
    last    INTEGER NOT NULL
) STRICT;
INSERT INTO "hook_refusals" VALUES(1,'github',3,1760000000000000,1760000000000000);
CREATE TABLE kept_ids (
    name    TEXT    PRIMARY KEY,
    id_slot INTEGER NOT NULL UNIQUE
) STRICT, WITHOUT ROWID;
INSERT INTO "kept_ids" VALUES('gone',2);
CREATE TABLE kept_ports (port INTEGER PRIMARY KEY) STRICT;
CREATE TABLE passkeys (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    credential      BLOB    NOT NULL UNIQUE,    -- the credential's id, as the authenticator chose it
    rp_id           TEXT    NOT NULL,           -- the host that it was made for
    user_handle     BLOB    NOT NULL,
    name            TEXT    NOT NULL,
    version         INTEGER NOT NULL,           -- the form of `key`
    key             TEXT    NOT NULL,           -- JSON: the public key and what else the verifier needs
    transports      TEXT    NOT NULL,           -- JSON: a list
    counter         INTEGER NOT NULL,
    backup_eligible INTEGER NOT NULL,
    backup_state    INTEGER NOT NULL,
    created         INTEGER NOT NULL,
    last_used       INTEGER
) STRICT;
CREATE TABLE releases (
    service        INTEGER NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    number         INTEGER NOT NULL,
    deployment     INTEGER NOT NULL,
    commit_id      TEXT,
    port           INTEGER NOT NULL UNIQUE,
    container_port INTEGER NOT NULL,
    healthcheck    INTEGER NOT NULL,
    env            TEXT    NOT NULL,            -- JSON: key → the Podman secret's name
    volumes        TEXT    NOT NULL,            -- JSON: volume → path in the container
    settings       TEXT    NOT NULL,            -- JSON: the settings that it was released with
    created        INTEGER NOT NULL, health_interval INTEGER, check_timeout INTEGER, repository TEXT, init INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (service, number)
) STRICT, WITHOUT ROWID;
INSERT INTO "releases" VALUES(1,1,1,'1111111111111111111111111111111111111111',31001,8080,0,'{"KEY":"podkeeper-blog-KEY-abcdefghijklmnop","NOTHING":""}','{"data":"/data"}','{"container_port":null,"health_path":null,"health_timeout":30,"tcp":false,"memory_mib":64,"cpu_percent":null,"domains":["blog.example.org"],"volumes":{"data":"/data"},"keep":3}',1760000000001003,NULL,NULL,NULL,1);
INSERT INTO "releases" VALUES(1,2,2,'1111111111111111111111111111111111111111',31002,8080,0,'{"KEY":"podkeeper-blog-KEY-abcdefghijklmnop","NOTHING":""}','{"data":"/data"}','{"container_port":null,"health_path":null,"health_timeout":30,"tcp":false,"memory_mib":64,"cpu_percent":null,"domains":["blog.example.org"],"volumes":{"data":"/data"},"keep":3}',1760000000002003,NULL,NULL,'{"container_port":8080,"watch":[],"build_args":{"A":"x"}}',1);
CREATE TABLE services (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    name            TEXT    NOT NULL UNIQUE,
    created         INTEGER NOT NULL,
    template        TEXT,
    uri             TEXT,
    uri_secret      TEXT,                       -- the Podman secret that holds the URI's password
    branch          TEXT    NOT NULL,
    seen_commit     TEXT,                       -- the branch's newest commit that a deployment was asked for, or the starter's
    hook_key        TEXT    NOT NULL,
    desired         TEXT    NOT NULL CHECK (desired IN ('created', 'running', 'stopped', 'deleted')),
    id_slot         INTEGER NOT NULL UNIQUE,    -- which 65,536 ids of the user namespace are its own
    next_release    INTEGER NOT NULL DEFAULT 1,
    current_release INTEGER,
    settings        TEXT    NOT NULL, volumes_go INTEGER NOT NULL DEFAULT 0, branch_chosen INTEGER NOT NULL DEFAULT 1, follows_head INTEGER NOT NULL DEFAULT 0,           -- JSON
    CHECK ((template IS NULL) <> (uri IS NULL))
) STRICT;
INSERT INTO "services" VALUES(1,'blog',1760000000000000,'empty',NULL,NULL,'main','1111111111111111111111111111111111111111','kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk','running',0,3,2,'{"container_port":null,"health_path":null,"health_timeout":30,"tcp":false,"memory_mib":64,"cpu_percent":null,"domains":["blog.example.org"],"volumes":{"data":"/data"},"keep":3}',0,1,0);
INSERT INTO "services" VALUES(2,'shop',1760000000000000,NULL,'https://example.org/shop',NULL,'main',NULL,'hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh','stopped',1,1,NULL,'{}',0,1,0);
CREATE TABLE "sessions" (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    hash      BLOB    NOT NULL UNIQUE,          -- SHA-256 of the cookie's value
    token     INTEGER REFERENCES tokens (id) ON DELETE CASCADE,
    passkey   INTEGER REFERENCES passkeys (id) ON DELETE CASCADE,
    created   INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    expires   INTEGER NOT NULL,
    client    TEXT    NOT NULL,                 -- what the browser said of itself
    address   TEXT    NOT NULL,                 -- where it was last seen
    CHECK ((token IS NULL) <> (passkey IS NULL))
) STRICT;
CREATE TABLE tokens (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    name      TEXT    NOT NULL UNIQUE,
    hash      BLOB    NOT NULL UNIQUE,          -- SHA-256 of the token
    created   INTEGER NOT NULL,
    expires   INTEGER,
    last_used INTEGER
, scope TEXT NOT NULL DEFAULT 'admin' CHECK (scope IN ('read', 'deploy', 'admin')), service INTEGER REFERENCES services (id) ON DELETE CASCADE) STRICT;
INSERT INTO "tokens" VALUES(1,'laptop',X'000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F',1760000000000000,NULL,NULL,'deploy',1);
CREATE INDEX deployments_of_service ON deployments (service, id);
CREATE INDEX deployments_under_way ON deployments (service) WHERE finished IS NULL;
CREATE UNIQUE INDEX hook_deliveries_once ON hook_deliveries (service, delivery) WHERE delivery IS NOT NULL;
CREATE INDEX hook_deliveries_newest ON hook_deliveries (service, id);
CREATE UNIQUE INDEX audit_logs ON audit (refused, number);
CREATE INDEX audit_checkpoints ON audit (refused, cut_to) WHERE cut_to IS NOT NULL;
CREATE TRIGGER audit_never_changes BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
CREATE TRIGGER audit_is_cut_behind_a_checkpoint BEFORE DELETE ON audit
WHEN OLD.number > (SELECT coalesce(max(cut_to), 0) FROM audit WHERE refused = OLD.refused AND cut_to IS NOT NULL)
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
CREATE INDEX hook_deliveries_deployment ON hook_deliveries (deployment) WHERE deployment IS NOT NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('sessions',0);
INSERT INTO "sqlite_sequence" VALUES('services',2);
INSERT INTO "sqlite_sequence" VALUES('deployments',3);
INSERT INTO "sqlite_sequence" VALUES('tokens',1);
INSERT INTO "sqlite_sequence" VALUES('hook_deliveries',1);
COMMIT;
