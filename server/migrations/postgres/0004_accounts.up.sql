-- The tables of ../sqlite. Text sorts by its bytes, as it does there: pages go on from where one ended.
-- Users, who may do what, and what they keep. Times are Unix milliseconds, as everywhere; `version` rises with each change of a row
-- and makes its ETag.

-- Everybody who was ever seen: registered here, or vouched for by an outside issuer's token.
CREATE TABLE users (
    -- What tokens say in `sub`.
    id          TEXT COLLATE "C" PRIMARY KEY,
    -- What one logs in with, in lower case; NULL for those who were only vouched for.
    login       TEXT COLLATE "C",
    name        TEXT COLLATE "C" NOT NULL,
    -- On the whole instance: owner, admin, moderator, member, guest.
    role        TEXT COLLATE "C" NOT NULL,
    -- A PHC string; NULL: no password logs this user in.
    password    TEXT COLLATE "C",
    password_at BIGINT,
    -- The user's own JSON object.
    data        TEXT COLLATE "C" NOT NULL,
    blocked_at  BIGINT,
    -- Tokens that were issued before are refused.
    tokens_from BIGINT NOT NULL,
    version     BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    deleted_at  BIGINT
);
CREATE UNIQUE INDEX users_login ON users (login);
CREATE INDEX users_created ON users (created_at, id);
CREATE INDEX users_name ON users (name, id);
CREATE INDEX users_role ON users (role, created_at, id);
-- Those whom an instance has to know by heart.
CREATE INDEX users_ruled ON users (id) WHERE blocked_at IS NOT NULL OR tokens_from > 0 OR role <> 'member' OR deleted_at IS NOT NULL;
CREATE INDEX users_deleted ON users (deleted_at) WHERE deleted_at IS NOT NULL;

-- Logins. A refresh token is made of a row, its generation and a secret that is not in the database.
CREATE TABLE sessions (
    id         TEXT COLLATE "C" PRIMARY KEY,
    user_id    TEXT COLLATE "C" NOT NULL,
    -- What the client called itself (User-Agent), and from where it last came.
    device     TEXT COLLATE "C" NOT NULL,
    address    TEXT COLLATE "C" NOT NULL,
    salt       BYTEA   NOT NULL,
    -- Rises with each refresh: a token of an older one was used before.
    generation BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    used_at    BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT,
    -- logout, revoked, replayed, password, blocked.
    reason     TEXT
);
CREATE INDEX sessions_user ON sessions (user_id, created_at, id);
CREATE INDEX sessions_created ON sessions (created_at, id);
CREATE INDEX sessions_expire ON sessions (expires_at);
CREATE INDEX sessions_revoked ON sessions (revoked_at) WHERE revoked_at IS NOT NULL;

-- What access tokens are signed with. The private half is sealed with a key that is not in the database.
CREATE TABLE signing_keys (
    kid        TEXT COLLATE "C" PRIMARY KEY,
    -- The public half, as a JWK.
    jwk        TEXT COLLATE "C" NOT NULL,
    sealed     BYTEA   NOT NULL,
    created_at BIGINT NOT NULL,
    -- From when on it signs: every instance has seen it by then.
    signs_from BIGINT NOT NULL,
    -- From when on it verifies nothing any more; NULL: it is the newest.
    retires_at BIGINT
);

-- Failed logins of late, by account and by address: `subject` is a digest.
CREATE TABLE login_failures (
    subject  BYTEA   PRIMARY KEY,
    failures BIGINT NOT NULL,
    last_at  BIGINT NOT NULL
);
CREATE INDEX login_failures_last ON login_failures (last_at);

-- Channels of explicit namespaces. A log (`channels`) begins with the first entry; this is there before.
CREATE TABLE rooms (
    channel    TEXT COLLATE "C" PRIMARY KEY,
    -- group, direct, personal.
    kind       TEXT COLLATE "C" NOT NULL,
    -- public, private.
    visibility TEXT COLLATE "C" NOT NULL,
    title      TEXT COLLATE "C" NOT NULL,
    topic      TEXT COLLATE "C" NOT NULL,
    data       TEXT COLLATE "C" NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL,
    -- Who have joined.
    members    BIGINT NOT NULL,
    version    BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE INDEX rooms_created ON rooms (created_at, channel);
CREATE INDEX rooms_title ON rooms (title, channel);
CREATE INDEX rooms_public ON rooms (visibility, created_at, channel);
CREATE INDEX rooms_deleted ON rooms (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE members (
    channel    TEXT COLLATE "C" NOT NULL,
    user_id    TEXT COLLATE "C" NOT NULL,
    -- owner, admin, moderator, member, guest.
    role       TEXT COLLATE "C" NOT NULL,
    -- invited, joined.
    state      TEXT COLLATE "C" NOT NULL,
    invited_by TEXT,
    version    BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (channel, user_id)
);
CREATE INDEX members_user ON members (user_id, created_at, channel);
CREATE INDEX members_created ON members (channel, created_at, user_id);
CREATE INDEX members_role ON members (channel, role, created_at, user_id);

-- Who may not, in one channel of whatever namespace. Over the whole instance: users.blocked_at.
CREATE TABLE bans (
    channel    TEXT COLLATE "C" NOT NULL,
    user_id    TEXT COLLATE "C" NOT NULL,
    reason     TEXT COLLATE "C" NOT NULL,
    banned_by  TEXT COLLATE "C" NOT NULL,
    version    BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    -- NULL: until it is lifted.
    expires_at BIGINT,
    PRIMARY KEY (channel, user_id)
);
CREATE INDEX bans_created ON bans (channel, created_at, user_id);
CREATE INDEX bans_user ON bans (user_id);
CREATE INDEX bans_expire ON bans (expires_at) WHERE expires_at IS NOT NULL;

-- What instances have to hear of at once, in the order of commits: `number` is taken from `counters` in the same transaction. State is
-- in the tables above; a row here says where to look, and is deleted after a day.
CREATE TABLE rulings (
    number     BIGINT PRIMARY KEY,
    -- user, session, token, channel, member, ban, key, api_key: which of the columns below counts.
    kind       TEXT COLLATE "C" NOT NULL,
    user_id    TEXT,
    channel    TEXT,
    -- A session, a token's `jti`, an API key.
    subject    TEXT,
    -- A token's end, for kind token: until then it is refused.
    until      BIGINT,
    created_at BIGINT NOT NULL
);
CREATE INDEX rulings_created ON rulings (created_at);
CREATE INDEX rulings_tokens ON rulings (until) WHERE kind = 'token';

CREATE TABLE counters (
    name  TEXT COLLATE "C" PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('rulings', 0);

-- Keys of backends. Shown once; only a digest is kept.
CREATE TABLE api_keys (
    id         TEXT COLLATE "C" PRIMARY KEY,
    name       TEXT COLLATE "C" NOT NULL,
    digest     BYTEA   NOT NULL,
    -- JSON lists: what it may do, and the patterns of channels where.
    scopes     TEXT COLLATE "C" NOT NULL,
    channels   TEXT COLLATE "C" NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL,
    version    BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    -- By the hour, at most.
    used_at    BIGINT,
    expires_at BIGINT,
    revoked_at BIGINT
);
CREATE INDEX api_keys_created ON api_keys (created_at, id);

-- Who did what. Rows are added and never changed: triggers see to it.
CREATE TABLE audit (
    -- A UUID of version 7: ascending with time.
    id         TEXT COLLATE "C" PRIMARY KEY,
    -- A user's id, `api-key:…`, or `operator` for the command line.
    actor      TEXT COLLATE "C" NOT NULL,
    -- user.registered, member.removed, …
    action     TEXT COLLATE "C" NOT NULL,
    -- user, channel, session, … and which.
    target     TEXT COLLATE "C" NOT NULL,
    target_id  TEXT COLLATE "C" NOT NULL,
    channel    TEXT,
    detail     TEXT COLLATE "C" NOT NULL,
    address    TEXT COLLATE "C" NOT NULL,
    request_id TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX audit_actor ON audit (actor, id);
CREATE INDEX audit_action ON audit (action, id);
CREATE INDEX audit_channel ON audit (channel, id) WHERE channel IS NOT NULL;
CREATE INDEX audit_target ON audit (target_id, id);
CREATE FUNCTION hubbub_audit_stays() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only';
END
$$;
CREATE TRIGGER audit_keeps BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION hubbub_audit_stays();
CREATE TRIGGER audit_stays BEFORE TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION hubbub_audit_stays();

-- Answers to POSTs with an Idempotency-Key.
CREATE TABLE idempotency (
    -- Of who asks, the key, the method and the path.
    digest     BYTEA   PRIMARY KEY,
    -- Of the request's body.
    request    BYTEA   NOT NULL,
    -- NULL while the first request is under way.
    status     BIGINT,
    headers    TEXT,
    body       BYTEA,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX idempotency_expire ON idempotency (expires_at);

-- Stored bytes, once for each content. `object` is where they are: a name that is never given twice, so that deleting the object of a
-- row that is gone cannot meet an upload of the same content, which has an object of its own.
CREATE TABLE blobs (
    sha256     TEXT COLLATE "C" PRIMARY KEY,
    object     TEXT COLLATE "C" NOT NULL,
    size       BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX blobs_object ON blobs (object);

CREATE TABLE uploads (
    id          TEXT COLLATE "C" PRIMARY KEY,
    owner       TEXT COLLATE "C" NOT NULL,
    -- Who may read the channel may read the upload; NULL: its owner only, until it is attached.
    channel     TEXT COLLATE "C",
    name        TEXT COLLATE "C" NOT NULL,
    media_type  TEXT COLLATE "C" NOT NULL,
    size        BIGINT NOT NULL,
    sha256      TEXT COLLATE "C" NOT NULL,
    version     BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    -- Since when no message refers to it; NULL while one does.
    loose_since BIGINT,
    deleted_at  BIGINT
);
CREATE INDEX uploads_owner ON uploads (owner, created_at, id);
CREATE INDEX uploads_created ON uploads (created_at, id);
CREATE INDEX uploads_channel ON uploads (channel, created_at, id) WHERE channel IS NOT NULL;
CREATE INDEX uploads_quota ON uploads (owner, size);
CREATE INDEX uploads_sha256 ON uploads (sha256);
CREATE INDEX uploads_loose ON uploads (loose_since) WHERE loose_since IS NOT NULL;
CREATE INDEX uploads_deleted ON uploads (deleted_at) WHERE deleted_at IS NOT NULL;

-- Which messages refer to which uploads. An upload that is in none is an orphan after a while.
CREATE TABLE attachments (
    channel   TEXT COLLATE "C" NOT NULL,
    seq       BIGINT NOT NULL,
    place     BIGINT NOT NULL,
    upload_id TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (channel, seq, place)
);
CREATE INDEX attachments_upload ON attachments (upload_id);
