-- What a sandbox may reach, as JSON.
ALTER TABLE sandboxes ADD COLUMN network TEXT NOT NULL DEFAULT '{}';
