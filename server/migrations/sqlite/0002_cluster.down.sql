DROP TABLE instances;
DROP INDEX channels_changed;
ALTER TABLE channels DROP COLUMN changed;
