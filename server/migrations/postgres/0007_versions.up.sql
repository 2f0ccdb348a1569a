-- hubbub_amend with the versions that its rows expect. The one without them stays for the release before this one, and goes with a later one.
--
-- A message's version is 1, and one more for each edit and deletion of it. A row that names versions (`expected`: a literal of BIGINT[]) is
-- stored only if the message has one of them where the row's turn comes: what the batch has stored before it counts. Without versions
-- (NULL) any is good. All else is as it was.
--
-- Answers by place: 0 stored, 1 duplicate, 2 an id that was used for something else, 3 no such message, 4 another's message, 5 deleted,
-- 6 another version.
CREATE FUNCTION hubbub_amend(
    channels TEXT[], publishers TEXT[], message_ids BYTEA[], entry_kinds TEXT[], refs BIGINT[], own BOOLEAN[], expected TEXT[], keys TEXT[],
    payloads BYTEA[], digests BIGINT[], now BIGINT, seen_mark TEXT, seen_lsn BIGINT, seen_epoch BIGINT, seen_heads BIGINT[],
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
    WITH RECURSIVE input AS (
        SELECT * FROM unnest(channels, publishers, message_ids, entry_kinds, refs, own, expected, keys, payloads, digests) WITH ORDINALITY
            AS i (channel, publisher, message_id, entry_kind, ref, is_own, expected, key, payload, digest, place)
    ), known AS (
        SELECT i.*, c.id AS channel_id, c.head_seq, c.head_ordinal, greatest(c.head_epoch, hubbub_amend.epoch) AS epoch,
               p.seq AS old_seq, p.epoch AS old_epoch, p.time AS old_time, p.digest AS old_digest,
               first_value(i.place) OVER same AS first_place, first_value(i.digest) OVER same AS first_digest,
               CASE WHEN i.entry_kind = 'message' THEN 0
                    WHEN t.kind IS DISTINCT FROM 'message' THEN 3
                    WHEN i.is_own AND t.publisher <> i.publisher THEN 4
                    ELSE 0 END AS unfit
        FROM input AS i
        JOIN channels AS c ON c.name = i.channel
        LEFT JOIN publishes AS p ON p.message_id = i.message_id AND p.channel_id = c.id AND p.publisher = i.publisher
        LEFT JOIN entries AS t ON t.channel_id = c.id AND t.seq = i.ref
        WINDOW same AS (PARTITION BY c.id, i.message_id, i.publisher ORDER BY i.place)
    ), first AS (
        SELECT k.*, k.old_seq IS NULL AND k.place = k.first_place AS is_first,
               row_number() OVER turns AS turn, lead(k.place) OVER turns AS next_place,
               bool_or(k.expected IS NOT NULL) OVER (PARTITION BY k.channel_id, k.ref) AS is_expected
        FROM known AS k
        WINDOW turns AS (PARTITION BY k.channel_id, k.ref ORDER BY k.place)
    ), walk (place, next_place, verdict, version, is_deleted) AS (
        -- What each message is before the batch; then, a row after the other, what the row is answered and what the message is after it. How
        -- often a message was edited is counted only where somebody expects a version.
        SELECT NULL::BIGINT, f.place, NULL::INTEGER,
               CASE WHEN f.is_expected THEN (
                   SELECT 1 + count(*) FROM entries AS a WHERE a.channel_id = f.channel_id AND a.ref = f.ref AND a.kind IN ('edit', 'delete')
               ) END,
               (SELECT 1 FROM entries AS d WHERE d.channel_id = f.channel_id AND d.ref = f.ref AND d.kind = 'delete' LIMIT 1) IS NOT NULL
        FROM first AS f WHERE f.entry_kind <> 'message' AND f.turn = 1
        UNION ALL
        SELECT f.place, f.next_place, v.verdict, w.version + (f.is_first AND v.verdict = 0)::INTEGER,
               w.is_deleted OR (f.is_first AND v.verdict = 0 AND f.entry_kind = 'delete')
        FROM walk AS w
        JOIN first AS f ON f.place = w.next_place
        CROSS JOIN LATERAL (
            SELECT CASE WHEN f.unfit <> 0 THEN f.unfit
                        WHEN w.version <> ALL (f.expected::BIGINT[]) THEN 6
                        WHEN w.is_deleted THEN 5
                        ELSE 0 END AS verdict
        ) AS v
    ), judged AS (
        SELECT f.*, coalesce(w.verdict, 0) AS verdict FROM first AS f LEFT JOIN walk AS w ON w.place = f.place
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
