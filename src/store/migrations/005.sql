-- Passkeys, the links that let a browser make one, and sessions that a passkey signed in.

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

CREATE TABLE enrolment_links (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    hash    BLOB    NOT NULL UNIQUE,            -- SHA-256 of the link's secret
    expires INTEGER NOT NULL
) STRICT;

CREATE TABLE new_sessions (
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

INSERT INTO new_sessions (id, hash, token, created, last_seen, expires, client, address)
SELECT id, hash, token, created, last_seen, expires, client, '' FROM sessions;

DROP TABLE sessions;
ALTER TABLE new_sessions RENAME TO sessions;
