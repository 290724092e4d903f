-- Whether nobody said which branch is deployed: then the first fetch takes the one that the repository's HEAD names.
ALTER TABLE services ADD COLUMN follows_head INTEGER NOT NULL DEFAULT 0;
