-- Whether Podman's init is a release's first process.
ALTER TABLE releases ADD COLUMN init INTEGER NOT NULL DEFAULT 0;
-- The release that was stopped so that the deployment's own never runs beside it. It is started again where that one fails.
ALTER TABLE deployments ADD COLUMN stopped_release INTEGER;
