-- The first schema. A migration is never edited once it has been released; the next one is a new file.
-- Times are microseconds since 1970 in UTC, as journald counts them.

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
    settings        TEXT    NOT NULL,           -- JSON
    CHECK ((template IS NULL) <> (uri IS NULL))
) STRICT;

CREATE TABLE env (
    service INTEGER NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    key     TEXT    NOT NULL,
    secret  TEXT    NOT NULL,                   -- the Podman secret that holds the value
    PRIMARY KEY (service, key)
) STRICT, WITHOUT ROWID;

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
) STRICT;

CREATE INDEX deployments_of_service ON deployments (service, id);
CREATE INDEX deployments_under_way ON deployments (service) WHERE finished IS NULL;

CREATE TABLE releases (
    service        INTEGER NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    number         INTEGER NOT NULL,
    deployment     INTEGER NOT NULL,
    commit_id      TEXT,
    image          TEXT    NOT NULL,
    port           INTEGER NOT NULL UNIQUE,
    container_port INTEGER NOT NULL,
    healthcheck    INTEGER NOT NULL,
    env            TEXT    NOT NULL,            -- JSON: key → the Podman secret's name
    volumes        TEXT    NOT NULL,            -- JSON: volume → path in the container
    settings       TEXT    NOT NULL,            -- JSON: the settings that it was released with
    created        INTEGER NOT NULL,
    PRIMARY KEY (service, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    name      TEXT    NOT NULL UNIQUE,
    hash      BLOB    NOT NULL UNIQUE,          -- SHA-256 of the token
    created   INTEGER NOT NULL,
    expires   INTEGER,
    last_used INTEGER
) STRICT;

CREATE TABLE sessions (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    hash      BLOB    NOT NULL UNIQUE,          -- SHA-256 of the cookie's value
    token     INTEGER NOT NULL REFERENCES tokens (id) ON DELETE CASCADE,
    created   INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    expires   INTEGER NOT NULL,
    client    TEXT    NOT NULL                  -- what the browser said of itself
) STRICT;
