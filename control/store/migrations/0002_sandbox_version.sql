-- Counts the changes of a sandbox, so that whoever holds two copies knows the newer.
ALTER TABLE sandboxes ADD COLUMN version BIGINT NOT NULL DEFAULT 0;
