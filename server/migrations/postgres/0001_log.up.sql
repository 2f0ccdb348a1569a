-- The tables of ../sqlite, in PostgreSQL's words. Times are Unix milliseconds everywhere.

-- One row: the epoch, and what identifies this store's past. No append writes it, or all of them would wait for one another.
CREATE TABLE cluster (
    id    BIGINT PRIMARY KEY CHECK (id = 1),
    epoch BIGINT NOT NULL,
    -- hubbub_past() when the epoch was last compared. A database where that gives something else is a restored or promoted one.
    mark  TEXT   NOT NULL
);
INSERT INTO cluster (id, epoch, mark) VALUES (1, 1, '');

-- Who may write: with the broker `local`, one instance. For people; an advisory lock is what counts.
CREATE TABLE leases (
    name       TEXT   PRIMARY KEY,
    holder     TEXT   NOT NULL,
    taken_at   BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

-- Every batch moves some heads, and each move leaves a dead row behind: room on the page for the next version, and a vacuum that
-- comes for a twentieth of the table instead of a fifth.
CREATE TABLE channels (
    id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name         TEXT   NOT NULL,
    head_epoch   BIGINT NOT NULL,
    head_seq     BIGINT NOT NULL,
    head_ordinal BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
CREATE UNIQUE INDEX channels_name ON channels (name);

-- No number of its own: identity values are taken in another order than transactions commit, so nobody could read on from one.
-- The one index is the one that every read uses.
CREATE TABLE entries (
    channel_id BIGINT NOT NULL,
    seq        BIGINT NOT NULL,
    epoch      BIGINT NOT NULL,
    ordinal    BIGINT NOT NULL,
    kind       TEXT   NOT NULL,
    message_id BYTEA  NOT NULL,
    publisher  TEXT   NOT NULL,
    key        TEXT,
    time       BIGINT NOT NULL,
    payload    BYTEA  NOT NULL,
    PRIMARY KEY (channel_id, seq)
);

-- The dedup window. A message id begins with its time, so new rows go to the end of the tree and old ones leave from its start.
CREATE TABLE publishes (
    message_id BYTEA  NOT NULL,
    channel_id BIGINT NOT NULL,
    publisher  TEXT   NOT NULL,
    seq        BIGINT NOT NULL,
    epoch      BIGINT NOT NULL,
    time       BIGINT NOT NULL,
    digest     BIGINT NOT NULL,
    PRIMARY KEY (message_id, channel_id, publisher)
);

-- The transactional event log: what one use case did and another may want to know. The number is the transaction's, times 2^20, plus
-- a count within it (hubbub_channels): a reader that stops before the oldest transaction still under way misses none.
CREATE TABLE events (
    id         BIGINT PRIMARY KEY,
    kind       TEXT   NOT NULL,
    subject    TEXT   NOT NULL,
    body       TEXT   NOT NULL,
    created_at BIGINT NOT NULL
);
