-- What forges have delivered to the services' hooks.

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

CREATE UNIQUE INDEX hook_deliveries_once ON hook_deliveries (service, delivery) WHERE delivery IS NOT NULL;
CREATE INDEX hook_deliveries_newest ON hook_deliveries (service, id);
