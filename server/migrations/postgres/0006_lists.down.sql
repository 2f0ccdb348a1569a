DROP INDEX api_keys_revoked;
DROP INDEX api_keys_expire;
DROP INDEX api_keys_maker;
DROP INDEX members_state;
DROP INDEX rooms_maker;
DROP INDEX rooms_public_name;
DROP INDEX rooms_public_title;
