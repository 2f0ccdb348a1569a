-- What all instances have to know and nobody else: made by the first that needs it.
CREATE TABLE secrets (
    name    TEXT   PRIMARY KEY,
    secret  BYTEA  NOT NULL,
    made_at BIGINT NOT NULL
);

-- Tickets that have not been used. Only a digest of each is kept.
CREATE TABLE tickets (
    digest     BYTEA  PRIMARY KEY,
    passport   BYTEA  NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX tickets_expire ON tickets (expires_at);
