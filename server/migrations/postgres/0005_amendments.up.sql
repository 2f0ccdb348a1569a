-- Edits and deletions are entries of their own: `ref` is the seq of the message that they change.
ALTER TABLE entries ADD COLUMN ref BIGINT;
-- What became of a message, without a look at the table: whether it was deleted, how often it was edited, and which edit counts.
CREATE INDEX entries_amendments ON entries (channel_id, ref, kind, seq) WHERE ref IS NOT NULL;

-- hubbub_append for a batch in which there are edits and deletions: the same promises, the same locks in the same order. Batches of messages
-- go on taking the shorter way, and so does the release before this one.
--
-- The rows are judged in their order. An edit or a deletion (`entry_kinds`; its `refs` is a message's seq) is stored if that message is there,
-- is not deleted, by this batch neither, and is the publisher's own where `own` says that it has to be; if not, the row is refused and
-- the others are not concerned. Only messages that were there before the batch count. A deletion takes the payloads of the message and of
-- its edits. All of them lie behind the head's lock: whoever changes messages of a channel is alone.
--
-- Answers by place: 0 stored, 1 duplicate, 2 an id that was used for something else, 3 no such message, 4 another's message, 5 deleted.
CREATE FUNCTION hubbub_amend(
    channels TEXT[], publishers TEXT[], message_ids BYTEA[], entry_kinds TEXT[], refs BIGINT[], own BOOLEAN[], keys TEXT[], payloads BYTEA[],
    digests BIGINT[], now BIGINT, seen_mark TEXT, seen_lsn BIGINT, seen_epoch BIGINT, seen_heads BIGINT[],
    OUT kinds SMALLINT[], OUT epochs BIGINT[], OUT seqs BIGINT[], OUT ordinals BIGINT[], OUT times BIGINT[],
    OUT epoch BIGINT, OUT mark TEXT, OUT lsn BIGINT, OUT raised BOOLEAN
)
LANGUAGE plpgsql VOLATILE
-- As in hubbub_append.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
    this BIGINT;
BEGIN
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', TRUE);
    END IF;
    SELECT e.epoch, e.mark, e.lsn, e.raised INTO STRICT epoch, mark, lsn, raised
    FROM hubbub_epoch(seen_mark, seen_lsn, seen_epoch) AS e;
    IF NOT raised AND EXISTS (
        SELECT FROM unnest(channels, seen_heads) AS s (name, head) JOIN channels AS c ON c.name = s.name WHERE c.head_seq < s.head
    ) THEN
        UPDATE cluster AS c SET epoch = c.epoch + 1 WHERE c.id = 1 AND c.epoch = hubbub_amend.epoch;
        SELECT c.epoch INTO STRICT epoch FROM cluster AS c WHERE c.id = 1;
        raised := TRUE;
    END IF;
    PERFORM hubbub_channels(channels, now);
    this := pg_current_xact_id()::text::bigint;
    WITH input AS (
        SELECT * FROM unnest(channels, publishers, message_ids, entry_kinds, refs, own, keys, payloads, digests) WITH ORDINALITY
            AS i (channel, publisher, message_id, entry_kind, ref, is_own, key, payload, digest, place)
    ), known AS (
        SELECT i.*, c.id AS channel_id, c.head_seq, c.head_ordinal, greatest(c.head_epoch, hubbub_amend.epoch) AS epoch,
               p.seq AS old_seq, p.epoch AS old_epoch, p.time AS old_time, p.digest AS old_digest,
               first_value(i.place) OVER same AS first_place, first_value(i.digest) OVER same AS first_digest,
               CASE WHEN i.entry_kind = 'message' THEN 0
                    WHEN t.kind IS DISTINCT FROM 'message' THEN 3
                    WHEN i.is_own AND t.publisher <> i.publisher THEN 4
                    WHEN EXISTS (SELECT FROM entries AS d WHERE d.channel_id = c.id AND d.ref = i.ref AND d.kind = 'delete') THEN 5
                    ELSE 0 END AS unfit
        FROM input AS i
        JOIN channels AS c ON c.name = i.channel
        LEFT JOIN publishes AS p ON p.message_id = i.message_id AND p.channel_id = c.id AND p.publisher = i.publisher
        LEFT JOIN entries AS t ON t.channel_id = c.id AND t.seq = i.ref
        WINDOW same AS (PARTITION BY c.id, i.message_id, i.publisher ORDER BY i.place)
    ), first AS (
        SELECT k.*, k.old_seq IS NULL AND k.place = k.first_place AS is_first FROM known AS k
    ), deleted AS (
        -- The first deletion of a message that fits is stored. Whatever comes after it does not fit any more.
        SELECT f.*, min(f.place) FILTER (WHERE f.is_first AND f.unfit = 0 AND f.entry_kind = 'delete')
                        OVER (PARTITION BY f.channel_id, f.ref) AS deleted_at
        FROM first AS f
    ), judged AS (
        SELECT d.*, CASE WHEN d.unfit = 0 AND d.place > d.deleted_at THEN 5 ELSE d.unfit END AS verdict FROM deleted AS d
    ), numbered AS (
        SELECT j.*, j.is_first AND j.verdict = 0 AS fresh, first_value(j.verdict) OVER same AS first_verdict,
               count(*) FILTER (WHERE j.is_first AND j.verdict = 0) OVER upto AS nth,
               count(*) FILTER (WHERE j.is_first AND j.verdict = 0 AND j.entry_kind = 'message') OVER upto AS nth_message
        FROM judged AS j
        WINDOW same AS (PARTITION BY j.channel_id, j.message_id, j.publisher ORDER BY j.place),
               upto AS (PARTITION BY j.channel_id ORDER BY j.place)
    ), stored AS (
        INSERT INTO entries (channel_id, seq, epoch, ordinal, kind, ref, message_id, publisher, key, time, payload)
        SELECT n.channel_id, n.head_seq + n.nth, n.epoch, n.head_ordinal + n.nth_message, n.entry_kind, n.ref, n.message_id, n.publisher, n.key,
               hubbub_amend.now, n.payload
        FROM numbered AS n WHERE n.fresh ORDER BY n.channel_id, n.nth
    ), remembered AS (
        INSERT INTO publishes (message_id, channel_id, publisher, seq, epoch, time, digest)
        SELECT n.message_id, n.channel_id, n.publisher, n.head_seq + n.nth, n.epoch, hubbub_amend.now, n.digest
        FROM numbered AS n WHERE n.fresh
    ), moved AS (
        UPDATE channels AS c
        SET head_seq = c.head_seq + m.many, head_ordinal = c.head_ordinal + m.messages, head_epoch = m.epoch,
            updated_at = hubbub_amend.now, changed = greatest(c.changed, this)
        FROM (
            SELECT n.channel_id, max(n.epoch) AS epoch, count(*) AS many, count(*) FILTER (WHERE n.entry_kind = 'message') AS messages
            FROM numbered AS n WHERE n.fresh GROUP BY n.channel_id
        ) AS m
        WHERE c.id = m.channel_id
    ), answers AS (
        SELECT n.place,
               CASE WHEN n.fresh THEN 0
                    WHEN n.digest <> coalesce(n.old_digest, n.first_digest) THEN 2
                    WHEN n.old_seq IS NOT NULL OR n.first_verdict = 0 THEN 1
                    ELSE n.first_verdict END AS kind,
               coalesce(n.old_epoch, n.epoch) AS epoch,
               coalesce(n.old_seq, first_value(n.head_seq + n.nth) OVER same) AS seq,
               n.head_ordinal + n.nth_message AS ordinal,
               coalesce(n.old_time, hubbub_amend.now) AS time
        FROM numbered AS n
        WINDOW same AS (PARTITION BY n.channel_id, n.message_id, n.publisher ORDER BY n.place)
    )
    SELECT array_agg(a.kind ORDER BY a.place), array_agg(a.epoch ORDER BY a.place), array_agg(a.seq ORDER BY a.place),
           array_agg(a.ordinal ORDER BY a.place), array_agg(a.time ORDER BY a.place)
    INTO kinds, epochs, seqs, ordinals, times FROM answers AS a;
    -- A statement of its own: it sees the edits that this batch has stored. MessagePack's nil.
    IF 'delete' = ANY (entry_kinds) THEN
        UPDATE entries AS e SET payload = '\xc0'
        FROM unnest(channels, entry_kinds, refs, kinds) AS d (channel, entry_kind, ref, kind) JOIN channels AS c ON c.name = d.channel
        WHERE d.entry_kind = 'delete' AND d.kind = 0 AND e.channel_id = c.id AND e.seq = d.ref;
        UPDATE entries AS e SET payload = '\xc0'
        FROM unnest(channels, entry_kinds, refs, kinds) AS d (channel, entry_kind, ref, kind) JOIN channels AS c ON c.name = d.channel
        WHERE d.entry_kind = 'delete' AND d.kind = 0 AND e.channel_id = c.id AND e.ref = d.ref AND e.kind = 'edit';
    END IF;
END
$$;
