-- What changed since one last looked: the count of appended entries after which a head moved. It rises in the order of commits.
ALTER TABLE channels ADD COLUMN changed BIGINT NOT NULL DEFAULT 0;
CREATE INDEX channels_changed ON channels (changed);

-- The instances of this store, each with its lease.
CREATE TABLE instances (
    id         TEXT   PRIMARY KEY,
    -- Rises whenever the lease had been lost: what others knew of this instance is void then.
    generation BIGINT NOT NULL,
    -- What the instance says of itself, as JSON.
    about      TEXT   NOT NULL,
    started_at BIGINT NOT NULL,
    renewed_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
