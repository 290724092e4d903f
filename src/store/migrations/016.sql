-- What `podkeeper.toml` of the commit said of the settings, as JSON: of what is being deployed, and of each release.
ALTER TABLE deployments ADD COLUMN repository TEXT;
ALTER TABLE releases ADD COLUMN repository TEXT;
