-- Ports of releases that went while a route could not be read, which may lead to one of them still.
CREATE TABLE kept_ports (port INTEGER PRIMARY KEY) STRICT;
