-- One row: what identifies this store's past, and how far it has come.
CREATE TABLE cluster (
    id       BIGINT PRIMARY KEY CHECK (id = 1),
    epoch    BIGINT NOT NULL,
    -- The incarnation: written anew at every start, here and beside the file. A file with another one is a restored copy.
    mark     TEXT   NOT NULL,
    -- Entries ever appended: a file that has fewer than were seen has gone back in time.
    appended BIGINT NOT NULL
);
INSERT INTO cluster (id, epoch, mark, appended) VALUES (1, 1, '', 0);

-- Who may write: with the broker `local`, one instance. Times are Unix milliseconds, as everywhere.
CREATE TABLE leases (
    name       TEXT   PRIMARY KEY,
    holder     TEXT   NOT NULL,
    taken_at   BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE TABLE channels (
    id           INTEGER PRIMARY KEY,
    name         TEXT   NOT NULL,
    head_epoch   BIGINT NOT NULL,
    head_seq     BIGINT NOT NULL,
    head_ordinal BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL
);
CREATE UNIQUE INDEX channels_name ON channels (name);

CREATE TABLE entries (
    id         INTEGER PRIMARY KEY,
    channel_id BIGINT NOT NULL,
    seq        BIGINT NOT NULL,
    epoch      BIGINT NOT NULL,
    ordinal    BIGINT NOT NULL,
    kind       TEXT   NOT NULL,
    message_id BLOB   NOT NULL,
    publisher  TEXT   NOT NULL,
    key        TEXT,
    time       BIGINT NOT NULL,
    payload    BLOB   NOT NULL
);
CREATE UNIQUE INDEX entries_channel_seq ON entries (channel_id, seq);

-- The dedup window. A message id begins with its time, so new rows go to the end of the tree and old ones leave from its start.
CREATE TABLE publishes (
    message_id BLOB   NOT NULL,
    channel_id BIGINT NOT NULL,
    publisher  TEXT   NOT NULL,
    seq        BIGINT NOT NULL,
    epoch      BIGINT NOT NULL,
    time       BIGINT NOT NULL,
    digest     BIGINT NOT NULL,
    PRIMARY KEY (message_id, channel_id, publisher)
) WITHOUT ROWID;

-- The transactional event log: what one use case did and another may want to know.
CREATE TABLE events (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    kind       TEXT   NOT NULL,
    subject    TEXT   NOT NULL,
    body       TEXT   NOT NULL,
    created_at BIGINT NOT NULL
);
