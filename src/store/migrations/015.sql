-- What was wanted of the service before the deployment's release got the traffic, which it gets back where that fails.
ALTER TABLE deployments ADD COLUMN desired_before TEXT;
