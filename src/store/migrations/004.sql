-- The git password, and what was changed and refused.

CREATE TABLE git_password (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    phc     TEXT    NOT NULL,                   -- Argon2id, as a PHC string
    changed INTEGER NOT NULL
) STRICT;

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
) STRICT;

CREATE INDEX audit_checkpoints ON audit (cut_to) WHERE cut_to IS NOT NULL;

CREATE TRIGGER audit_never_changes BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

CREATE TRIGGER audit_is_cut_behind_a_checkpoint BEFORE DELETE ON audit
WHEN OLD.id > (SELECT coalesce(max(cut_to), 0) FROM audit WHERE cut_to IS NOT NULL)
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
