-- What a token may do. A token of one service goes with it, so that it never opens another one of that name.

ALTER TABLE tokens ADD COLUMN scope TEXT NOT NULL DEFAULT 'admin' CHECK (scope IN ('read', 'deploy', 'admin'));
ALTER TABLE tokens ADD COLUMN service INTEGER REFERENCES services (id) ON DELETE CASCADE;
