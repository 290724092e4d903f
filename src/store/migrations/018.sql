-- Whether somebody has named the branch. Where nobody has, the first that is pushed to an empty repository becomes it.
ALTER TABLE services ADD COLUMN branch_chosen INTEGER NOT NULL DEFAULT 1;
-- Deliveries that showed no good key, which anybody can send: one row a service, with how often.
CREATE TABLE hook_refusals (
    service INTEGER PRIMARY KEY REFERENCES services (id) ON DELETE CASCADE,
    sender  TEXT    NOT NULL,                   -- of the last one
    count   INTEGER NOT NULL,
    first   INTEGER NOT NULL,
    last    INTEGER NOT NULL
) STRICT;
