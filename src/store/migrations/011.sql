-- By this a deployment is found to be remembered with its delivery, and is kept as long.
CREATE INDEX hook_deliveries_deployment ON hook_deliveries (deployment) WHERE deployment IS NOT NULL;
