-- The ids of removed services whose volumes are still there, and belong to those ids: a service that is made under the
-- same name again gets them, and no other.

CREATE TABLE kept_ids (
    name    TEXT    PRIMARY KEY,
    id_slot INTEGER NOT NULL UNIQUE
) STRICT, WITHOUT ROWID;

-- It follows from the service's name and the release's number.
ALTER TABLE releases DROP COLUMN image;
