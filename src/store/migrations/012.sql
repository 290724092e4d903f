-- How many seconds lie between two runs of a release's health check, where its image asks for fewer.
ALTER TABLE releases ADD COLUMN health_interval INTEGER;
