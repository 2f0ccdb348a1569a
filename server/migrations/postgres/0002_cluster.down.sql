DROP FUNCTION hubbub_append(TEXT[], TEXT[], BYTEA[], TEXT[], BYTEA[], BIGINT[], BIGINT, TEXT, BIGINT, BIGINT);
DROP FUNCTION hubbub_channels(TEXT[], BIGINT);
DROP FUNCTION hubbub_epoch(TEXT, BIGINT, BIGINT);
DROP FUNCTION hubbub_past();
DROP TABLE instances;
DROP INDEX channels_changed;
ALTER TABLE channels DROP COLUMN changed;
