DROP FUNCTION hubbub_publish, hubbub_publish_msgpack, hubbub_msgpack_is_payload, hubbub_msgpack, hubbub_msgpack_head;
DROP FUNCTION hubbub_message_id, hubbub_append, hubbub_channels, hubbub_epoch, hubbub_past;
DROP TABLE instances;
DROP INDEX channels_changed;
ALTER TABLE channels DROP COLUMN changed;
