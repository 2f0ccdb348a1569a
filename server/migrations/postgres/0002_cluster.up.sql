-- The newest transaction that moved the head. A look asks for those at or above the oldest transaction that was still under way at
-- the look before: a transaction below that one was seen then, a later one has a higher number. An index on it costs the moves their
-- HOT updates; without one every instance would read the whole table every second.
ALTER TABLE channels ADD COLUMN changed BIGINT NOT NULL DEFAULT 0;
CREATE INDEX channels_changed ON channels (changed);

-- The instances of this store, each with its lease.
CREATE TABLE instances (
    id         TEXT   PRIMARY KEY,
    -- Rises whenever the lease had been lost: what others knew of this instance is void then.
    generation BIGINT NOT NULL,
    -- What the instance says of itself, as JSON.
    about      TEXT   NOT NULL,
    started_at BIGINT NOT NULL,
    renewed_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

-- What identifies this store's past: the server's cluster, the timeline it writes now (a promotion takes a new one), and the table
-- itself (a dump that is restored makes another). Fails on a standby.
CREATE FUNCTION hubbub_past() RETURNS TEXT LANGUAGE sql VOLATILE AS $$
    SELECT control.system_identifier || ':' || left(pg_walfile_name(pg_current_wal_lsn()), 8) || ':' || 'channels'::regclass::oid
    FROM pg_control_system() AS control
$$;

-- The epoch that entries get now. Raises it if the store's past is another than the mark's, or if the caller had seen more of it than
-- there is: its log further on (a base backup started again keeps its timeline), or a higher epoch. What it raises to is above all
-- that the caller had seen. `lsn` and `epoch` are what to remember; the log counts as far as it is flushed, since what a crash of the
-- host may take was never acknowledged.
CREATE FUNCTION hubbub_epoch(
    seen_mark TEXT, seen_lsn BIGINT, seen_epoch BIGINT, OUT epoch BIGINT, OUT mark TEXT, OUT lsn BIGINT, OUT raised BOOLEAN
)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    known  TEXT;
    rewind BOOLEAN;
BEGIN
    mark := hubbub_past();
    lsn := pg_current_wal_flush_lsn() - '0/0'::pg_lsn;
    raised := FALSE;
    SELECT c.epoch, c.mark INTO STRICT epoch, known FROM cluster AS c WHERE c.id = 1;
    rewind := (seen_mark = mark AND lsn < seen_lsn) OR epoch < seen_epoch OR (seen_mark NOT IN ('', mark) AND epoch = seen_epoch);
    IF known = mark AND NOT rewind THEN
        RETURN;
    END IF;
    -- Several may find out at once: the row's lock lets one of them raise for another past. A rewind only its finder knows.
    UPDATE cluster AS c
    SET epoch = CASE WHEN c.mark = '' THEN c.epoch ELSE greatest(c.epoch, seen_epoch) + 1 END, mark = hubbub_epoch.mark
    WHERE c.id = 1 AND (c.mark <> hubbub_epoch.mark OR rewind);
    raised := FOUND AND known <> '';
    -- A dump has the transactions of the server that it comes from: here they are not in the future.
    UPDATE channels AS c SET changed = 0 WHERE c.changed > pg_current_xact_id()::text::bigint;
    SELECT c.epoch INTO STRICT epoch FROM cluster AS c WHERE c.id = 1;
END
$$;

-- Makes the channels of `names` that are missing, then locks the heads of all.
--
-- The order keeps batches that cross free of deadlocks. First names, ascending: who waits here has locked no head yet, and waits for a
-- name above all those it has made. Then heads, by id: only committed channels are found, so nobody here waits for somebody who still
-- makes names. Whoever waits, waits for one that is further on.
CREATE FUNCTION hubbub_channels(names TEXT[], now BIGINT) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    this BIGINT;
BEGIN
    -- Most batches make none, and ON CONFLICT would take an identity value for each name.
    IF EXISTS (SELECT FROM unnest(names) AS n (name) WHERE NOT EXISTS (SELECT FROM channels AS c WHERE c.name = n.name)) THEN
        this := pg_current_xact_id()::text::bigint << 20;
        WITH made AS (
            INSERT INTO channels (name, head_epoch, head_seq, head_ordinal, created_at, updated_at)
            SELECT DISTINCT n.name COLLATE "C", 0, 0, 0, hubbub_channels.now, hubbub_channels.now
            FROM unnest(names) AS n (name)
            WHERE NOT EXISTS (SELECT FROM channels AS c WHERE c.name = n.name)
            ORDER BY 1
            ON CONFLICT (name) DO NOTHING
            RETURNING name
        )
        INSERT INTO events (id, kind, subject, body, created_at)
        SELECT this + (SELECT count(*) FROM events AS e WHERE e.id > this AND e.id < this + (1 << 20)) + row_number() OVER (ORDER BY made.name COLLATE "C"),
               'channel.created', made.name, '{}', hubbub_channels.now
        FROM made;
    END IF;
    PERFORM FROM channels AS c WHERE c.name = ANY (names) ORDER BY c.id FOR NO KEY UPDATE;
END
$$;

-- Appends a batch in one transaction, which is the statement itself, and answers each row by its place: kind 0 stored, 1 duplicate,
-- 2 an id that was used for something else. `time` is the batch's own for what is stored, the first answer's for a duplicate. Right at
-- every isolation level: what a snapshot of the caller's hides is refused as a serialization failure by the locks.
CREATE FUNCTION hubbub_append(
    channels TEXT[], publishers TEXT[], message_ids BYTEA[], keys TEXT[], payloads BYTEA[], digests BIGINT[], now BIGINT,
    seen_mark TEXT, seen_lsn BIGINT, seen_epoch BIGINT,
    OUT kinds SMALLINT[], OUT epochs BIGINT[], OUT seqs BIGINT[], OUT ordinals BIGINT[], OUT times BIGINT[],
    OUT epoch BIGINT, OUT mark TEXT, OUT lsn BIGINT, OUT raised BOOLEAN
)
LANGUAGE plpgsql VOLATILE
-- One plan, by the indexes, whatever the statistics of a young table say; it is made once a connection.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
    this BIGINT;
BEGIN
    -- Acknowledged means stored, whatever the role or the caller prefers.
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', TRUE);
    END IF;
    SELECT e.epoch, e.mark, e.lsn, e.raised INTO STRICT epoch, mark, lsn, raised
    FROM hubbub_epoch(seen_mark, seen_lsn, seen_epoch) AS e;
    PERFORM hubbub_channels(channels, now);
    this := pg_current_xact_id()::text::bigint;
    -- A statement after the locks: it sees every publish that committed before they were given.
    WITH input AS (
        SELECT * FROM unnest(channels, publishers, message_ids, keys, payloads, digests) WITH ORDINALITY
            AS i (channel, publisher, message_id, key, payload, digest, place)
    ), known AS (
        SELECT i.*, c.id AS channel_id, c.head_seq, c.head_ordinal, greatest(c.head_epoch, hubbub_append.epoch) AS epoch,
               p.seq AS old_seq, p.epoch AS old_epoch, p.time AS old_time, p.digest AS old_digest,
               first_value(i.place) OVER same AS first_place, first_value(i.digest) OVER same AS first_digest
        FROM input AS i
        JOIN channels AS c ON c.name = i.channel
        LEFT JOIN publishes AS p ON p.message_id = i.message_id AND p.channel_id = c.id AND p.publisher = i.publisher
        WINDOW same AS (PARTITION BY c.id, i.message_id, i.publisher ORDER BY i.place)
    ), numbered AS (
        SELECT k.*, k.old_seq IS NULL AND k.place = k.first_place AS fresh,
               count(*) FILTER (WHERE k.old_seq IS NULL AND k.place = k.first_place)
                   OVER (PARTITION BY k.channel_id ORDER BY k.place) AS nth
        FROM known AS k
    ), stored AS (
        INSERT INTO entries (channel_id, seq, epoch, ordinal, kind, message_id, publisher, key, time, payload)
        SELECT n.channel_id, n.head_seq + n.nth, n.epoch, n.head_ordinal + n.nth, 'message', n.message_id, n.publisher, n.key,
               hubbub_append.now, n.payload
        FROM numbered AS n WHERE n.fresh ORDER BY n.channel_id, n.nth
    ), remembered AS (
        INSERT INTO publishes (message_id, channel_id, publisher, seq, epoch, time, digest)
        SELECT n.message_id, n.channel_id, n.publisher, n.head_seq + n.nth, n.epoch, hubbub_append.now, n.digest
        FROM numbered AS n WHERE n.fresh
    ), moved AS (
        -- Never lower than it was: a transaction that began early may come here late.
        UPDATE channels AS c
        SET head_seq = c.head_seq + m.many, head_ordinal = c.head_ordinal + m.many, head_epoch = m.epoch,
            updated_at = hubbub_append.now, changed = greatest(c.changed, this)
        FROM (SELECT n.channel_id, max(n.epoch) AS epoch, count(*) AS many FROM numbered AS n WHERE n.fresh GROUP BY n.channel_id) AS m
        WHERE c.id = m.channel_id
    ), answers AS (
        SELECT n.place,
               CASE WHEN n.fresh THEN 0 WHEN n.digest = coalesce(n.old_digest, n.first_digest) THEN 1 ELSE 2 END AS kind,
               coalesce(n.old_epoch, n.epoch) AS epoch,
               coalesce(n.old_seq, first_value(n.head_seq + n.nth) OVER same) AS seq,
               n.head_ordinal + n.nth AS ordinal,
               coalesce(n.old_time, hubbub_append.now) AS time
        FROM numbered AS n
        WINDOW same AS (PARTITION BY n.channel_id, n.message_id, n.publisher ORDER BY n.place)
    )
    SELECT array_agg(a.kind ORDER BY a.place), array_agg(a.epoch ORDER BY a.place), array_agg(a.seq ORDER BY a.place),
           array_agg(a.ordinal ORDER BY a.place), array_agg(a.time ORDER BY a.place)
    INTO kinds, epochs, seqs, ordinals, times FROM answers AS a;
END
$$;
