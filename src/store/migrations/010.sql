-- Whether the service gets the environment of the deployment's release when that is live, as it does where it goes back to
-- one, unless somebody has set another meanwhile.
ALTER TABLE deployments ADD COLUMN brings_env INTEGER NOT NULL DEFAULT 0;
