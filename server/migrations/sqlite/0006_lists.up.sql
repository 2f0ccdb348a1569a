-- What lists can be sorted and filtered by, where no index led to it: a page reads what it shows, not what it leaves out.
CREATE INDEX rooms_public_title ON rooms (visibility, title, channel);
CREATE INDEX rooms_public_name ON rooms (visibility, channel);
CREATE INDEX rooms_maker ON rooms (created_by, created_at, channel);
CREATE INDEX members_state ON members (channel, state, created_at, user_id);
CREATE INDEX api_keys_maker ON api_keys (created_by, created_at, id);
CREATE INDEX api_keys_expire ON api_keys (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX api_keys_revoked ON api_keys (revoked_at) WHERE revoked_at IS NOT NULL;
