-- Whether a service that is being removed goes with its volumes: whoever ends a removal that was cut off reads it here.
ALTER TABLE services ADD COLUMN volumes_go INTEGER NOT NULL DEFAULT 0;
