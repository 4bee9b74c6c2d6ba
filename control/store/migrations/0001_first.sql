-- One dialect: what SQLite 3.35+ and PostgreSQL 13+ both understand. Ids and maps are TEXT, numbers, booleans (0, 1)
-- and instants (milliseconds since 1970) BIGINT.

CREATE TABLE organizations (
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL
);

CREATE TABLE api_keys (
    id TEXT PRIMARY KEY NOT NULL,
    organization_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    -- SHA-256 of the key, lower-case hexadecimal.
    digest TEXT NOT NULL UNIQUE,
    -- A JSON array of permissions; ["*"] is all, also those of later versions.
    permissions TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT,
    UNIQUE (organization_id, name)
);

-- Templates whose files a runner holds. Those without an organization are for all.
CREATE TABLE snapshots (
    id TEXT PRIMARY KEY NOT NULL,
    organization_id TEXT REFERENCES organizations (id) ON DELETE CASCADE,
    name TEXT NOT NULL UNIQUE,
    size_bytes BIGINT NOT NULL,
    entrypoint TEXT NOT NULL,
    user_name TEXT NOT NULL,
    cpu BIGINT NOT NULL,
    memory_gib BIGINT NOT NULL,
    disk_gib BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    last_used_at BIGINT
);

CREATE TABLE sandboxes (
    id TEXT PRIMARY KEY NOT NULL,
    organization_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    -- The snapshot's name; no reference, for a sandbox outlives its snapshot.
    snapshot TEXT NOT NULL,
    target TEXT NOT NULL,
    user_name TEXT NOT NULL,
    env TEXT NOT NULL,
    labels TEXT NOT NULL,
    is_public BIGINT NOT NULL,
    cpu BIGINT NOT NULL,
    memory_gib BIGINT NOT NULL,
    disk_gib BIGINT NOT NULL,
    state TEXT NOT NULL,
    desired_state TEXT NOT NULL,
    error_reason TEXT,
    recoverable BIGINT NOT NULL,
    -- Minutes.
    auto_stop_interval BIGINT NOT NULL,
    auto_archive_interval BIGINT NOT NULL,
    auto_delete_interval BIGINT NOT NULL,
    auto_destroy_at BIGINT,
    signing_key TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    state_changed_at BIGINT NOT NULL,
    last_activity_at BIGINT NOT NULL
);

-- A name is free again as soon as its sandbox is being destroyed.
CREATE UNIQUE INDEX sandboxes_name ON sandboxes (organization_id, name) WHERE desired_state <> 'destroyed';
CREATE INDEX sandboxes_created_at ON sandboxes (organization_id, created_at, id);

-- Repeats sandboxes.labels, one row a label, for filters.
CREATE TABLE sandbox_labels (
    sandbox_id TEXT NOT NULL REFERENCES sandboxes (id) ON DELETE CASCADE,
    label TEXT NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (sandbox_id, label)
);
CREATE INDEX sandbox_labels_content ON sandbox_labels (label, content);
