-- The audit log is two: what was done, and what was refused. Each has its own numbers, hashes and bound, so that no flood
-- of refusals pushes out what was done. The rows of before belong to the first.
DROP TRIGGER audit_never_changes;
DROP TRIGGER audit_is_cut_behind_a_checkpoint;
DROP INDEX audit_checkpoints;

ALTER TABLE audit ADD COLUMN refused INTEGER NOT NULL DEFAULT 0;
ALTER TABLE audit ADD COLUMN number INTEGER;    -- in its log, from 1 without a gap; `cut_to` is such a one
ALTER TABLE audit ADD COLUMN other INTEGER;     -- the other log's newest number when this was written; none: a row of before
ALTER TABLE audit ADD COLUMN since INTEGER;     -- of a row that counts several: when the first was
UPDATE audit SET number = id;

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
