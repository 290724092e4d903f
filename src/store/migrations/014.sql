-- How many seconds one run of a release's health check may take. Since then `health_interval` is there for each health check.
ALTER TABLE releases ADD COLUMN check_timeout INTEGER;
