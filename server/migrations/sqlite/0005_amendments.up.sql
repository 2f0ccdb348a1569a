-- Edits and deletions are entries of their own: `ref` is the seq of the message that they change.
ALTER TABLE entries ADD COLUMN ref BIGINT;
-- What became of a message, without a look at the table: whether it was deleted, how often it was edited, and which edit counts.
CREATE INDEX entries_amendments ON entries (channel_id, ref, kind, seq) WHERE ref IS NOT NULL;
