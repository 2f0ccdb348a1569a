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
    seen_mark TEXT, seen_lsn BIGINT, seen_epoch BIGINT, seen_heads BIGINT[],
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
    -- A head below one that the caller has seen: whatever else says, this log went back. Before the heads are locked, as above: heads only
    -- grow, so what is read here is proof, and the cluster's row is always locked first.
    IF NOT raised AND EXISTS (
        SELECT FROM unnest(channels, seen_heads) AS s (name, head) JOIN channels AS c ON c.name = s.name WHERE c.head_seq < s.head
    ) THEN
        UPDATE cluster AS c SET epoch = c.epoch + 1 WHERE c.id = 1 AND c.epoch = hubbub_append.epoch;
        SELECT c.epoch INTO STRICT epoch FROM cluster AS c WHERE c.id = 1;
        raised := TRUE;
    END IF;
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

-- A new message id: a UUID of version 7. Keep it with what is published: the same id makes a second try safe.
CREATE FUNCTION hubbub_message_id() RETURNS UUID LANGUAGE sql VOLATILE AS $$
    SELECT encode(set_byte(id, 6, get_byte(id, 6) & 15 | 112), 'hex')::uuid
    FROM (
        SELECT overlay(
            uuid_send(gen_random_uuid()) PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1
        ) AS id
    ) AS random
$$;

-- The head of a MessagePack string, binary, array or map of `many`: the short form up to a bound, then tags for 1, 2 and 4 bytes.
CREATE FUNCTION hubbub_msgpack_head(many INTEGER, short INTEGER, bound INTEGER, one INTEGER, two INTEGER, four INTEGER) RETURNS BYTEA
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN many <= bound THEN substring(int4send(short + many) FROM 4)
        WHEN many <= 255 AND one IS NOT NULL THEN substring(int4send(one) FROM 4) || substring(int4send(many) FROM 4)
        WHEN many <= 65535 THEN substring(int4send(two) FROM 4) || substring(int4send(many) FROM 3)
        ELSE substring(int4send(four) FROM 4) || int4send(many)
    END
$$;

-- JSON as MessagePack, by section 5 of PROTOCOL.md. jsonb has changed some of it before it comes here: it sorts the keys of an object,
-- knows no -0, and takes 1e2 for 100.
CREATE FUNCTION hubbub_msgpack(value JSONB, depth INTEGER DEFAULT 0) RETURNS BYTEA LANGUAGE plpgsql IMMUTABLE STRICT AS $$
DECLARE
    number NUMERIC;
    text   TEXT;
    bytes  BYTEA;
BEGIN
    CASE jsonb_typeof(value)
    WHEN 'null' THEN
        RETURN '\xc0';
    WHEN 'boolean' THEN
        RETURN CASE WHEN value::boolean THEN '\xc3'::bytea ELSE '\xc2'::bytea END;
    WHEN 'number' THEN
        number := value::numeric;
        IF scale(number) > 0 OR number < -9223372036854775808 OR number > 18446744073709551615 THEN
            RETURN '\xcb'::bytea || float8send(number::float8);
        END IF;
        RETURN CASE
            WHEN number BETWEEN -32 AND 127 THEN substring(int4send(number::integer) FROM 4)
            WHEN number > 9223372036854775807 THEN '\xcf'::bytea || int8send((number - 18446744073709551616)::bigint)
            WHEN number > 4294967295 THEN '\xcf'::bytea || int8send(number::bigint)
            WHEN number > 65535 THEN '\xce'::bytea || substring(int8send(number::bigint) FROM 5)
            WHEN number > 255 THEN '\xcd'::bytea || substring(int4send(number::integer) FROM 3)
            WHEN number > 0 THEN '\xcc'::bytea || substring(int4send(number::integer) FROM 4)
            WHEN number >= -128 THEN '\xd0'::bytea || substring(int4send(number::integer) FROM 4)
            WHEN number >= -32768 THEN '\xd1'::bytea || int2send(number::smallint)
            WHEN number >= -2147483648 THEN '\xd2'::bytea || int4send(number::integer)
            ELSE '\xd3'::bytea || int8send(number::bigint)
        END;
    WHEN 'string' THEN
        bytes := convert_to(value #>> '{}', 'UTF8');
        RETURN hubbub_msgpack_head(octet_length(bytes), 160, 31, 217, 218, 219) || bytes;
    ELSE
        IF depth >= 28 THEN
            RAISE EXCEPTION USING ERRCODE = 'HB004', MESSAGE = 'payload_invalid: the payload is nested more than 28 deep';
        END IF;
    END CASE;
    IF jsonb_typeof(value) = 'array' THEN
        SELECT string_agg(hubbub_msgpack(e.value, depth + 1), '' ORDER BY e.place) INTO bytes
        FROM jsonb_array_elements(value) WITH ORDINALITY AS e (value, place);
        RETURN hubbub_msgpack_head(jsonb_array_length(value), 144, 15, NULL, 220, 221) || coalesce(bytes, '');
    END IF;
    -- {"$bin": "<base64>"} is binary, if it is what encoding the bytes gives again.
    text := value ->> '$bin';
    IF jsonb_typeof(value -> '$bin') = 'string' AND value - '$bin' = '{}'
        AND text ~ '^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$' THEN
        bytes := decode(text, 'base64');
        IF translate(encode(bytes, 'base64'), E'\n', '') = text THEN
            RETURN hubbub_msgpack_head(octet_length(bytes), 0, -1, 196, 197, 198) || bytes;
        END IF;
    END IF;
    SELECT string_agg(hubbub_msgpack(to_jsonb(e.key)) || hubbub_msgpack(e.value, depth + 1), '' ORDER BY e.place), count(*)
    INTO bytes, number
    FROM jsonb_each(value) WITH ORDINALITY AS e (key, value, place);
    RETURN hubbub_msgpack_head(number::integer, 128, 15, NULL, 222, 223) || coalesce(bytes, '');
END
$$;

-- Whether the bytes are one MessagePack value that every format can carry, as the server asks of a payload. Anything else would break
-- the frames of every subscriber.
CREATE FUNCTION hubbub_msgpack_is_payload(bytes BYTEA) RETURNS BOOLEAN LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    size   CONSTANT INTEGER := octet_length(bytes);
    at     INTEGER := 0;
    tag    INTEGER;
    many   BIGINT;
    width  INTEGER;
    kind   TEXT;
    body   BYTEA;
    is_key BOOLEAN;
    -- For each open container: values still wanted, and whether they are a map's.
    wanted BIGINT[] := '{}';
    maps   BOOLEAN[] := '{}';
    depth  INTEGER := 0;
BEGIN
    LOOP
        IF at >= size THEN
            RETURN FALSE;
        END IF;
        tag := get_byte(bytes, at);
        at := at + 1;
        width := 0;
        many := 0;
        IF tag < 128 OR tag >= 224 THEN kind := 'integer';
        ELSIF tag < 144 THEN kind := 'map'; many := tag - 128;
        ELSIF tag < 160 THEN kind := 'array'; many := tag - 144;
        ELSIF tag < 192 THEN kind := 'string'; many := tag - 160;
        ELSIF tag IN (192, 194, 195) THEN kind := 'plain';
        ELSIF tag BETWEEN 196 AND 198 THEN kind := 'binary'; width := 1 << tag - 196;
        ELSIF tag IN (202, 203) THEN kind := 'plain'; many := 4 << tag - 202;
        ELSIF tag BETWEEN 204 AND 207 THEN kind := 'integer'; many := 1 << tag - 204;
        ELSIF tag BETWEEN 208 AND 211 THEN kind := 'integer'; many := 1 << tag - 208;
        ELSIF tag BETWEEN 217 AND 219 THEN kind := 'string'; width := 1 << tag - 217;
        ELSIF tag IN (220, 221) THEN kind := 'array'; width := 2 << tag - 220;
        ELSIF tag IN (222, 223) THEN kind := 'map'; width := 2 << tag - 222;
        ELSE
            RETURN FALSE;
        END IF;
        IF width > size - at THEN
            RETURN FALSE;
        END IF;
        FOR i IN 1 .. width LOOP
            many := many << 8 | get_byte(bytes, at);
            at := at + 1;
        END LOOP;
        IF kind = 'map' THEN
            many := many * 2;
        END IF;
        -- Every value has at least one byte.
        IF many > size - at OR (kind IN ('binary', 'array', 'map') AND depth = 28) THEN
            RETURN FALSE;
        END IF;
        IF depth > 0 THEN
            is_key := maps[depth] AND wanted[depth] % 2 = 0;
            IF is_key AND kind NOT IN ('string', 'integer') THEN
                RETURN FALSE;
            END IF;
            wanted[depth] := wanted[depth] - 1;
        END IF;
        IF kind IN ('array', 'map') THEN
            depth := depth + 1;
            wanted[depth] := many;
            maps[depth] := kind = 'map';
        ELSE
            IF kind = 'string' THEN
                body := substring(bytes FROM at + 1 FOR many::integer);
                -- PostgreSQL's text has no U+0000: any other character does for it here.
                IF position('\x00'::bytea IN body) > 0 THEN
                    body := decode(replace(replace(encode(body, 'escape'), '\\', '/'), '\000', '/'), 'escape');
                END IF;
                PERFORM convert_from(body, 'UTF8');
            END IF;
            at := at + many::integer;
        END IF;
        WHILE depth > 0 AND wanted[depth] = 0 LOOP
            depth := depth - 1;
        END LOOP;
        IF depth = 0 THEN
            RETURN at = size;
        END IF;
    END LOOP;
EXCEPTION
    WHEN character_not_in_repertoire THEN
        RETURN FALSE;
END
$$;

-- Publishes in the caller's own transaction: the entry is there for everybody when it commits, or not at all. Returns its seq; of an id
-- that was published before, the seq of then. Subscribers have it with the next look of their instance, within about a second; with
-- `notify` at once, at the price that commits which notify wait for one another. The head stays locked until the commit: publish last.
--
-- Errors begin with a code of PROTOCOL.md: HB001 channel_invalid, HB002 key_invalid, HB003 message_id_invalid or too_new,
-- HB004 payload_invalid, HB005 payload_too_large, HB006 id_reused, HB007 a publisher that is none. The id's age is not checked: one that
-- is older than the dedup window may be stored again. The largest payload is 65,536 bytes, or what the setting hubbub.max_payload says.
-- Names outside ASCII are checked for their length and normalization only; nobody can subscribe to one that breaks the other rules.
CREATE FUNCTION hubbub_publish_msgpack(
    channel TEXT, message_id UUID, payload BYTEA, key TEXT DEFAULT NULL, publisher TEXT DEFAULT 'database', notify BOOLEAN DEFAULT FALSE
)
RETURNS BIGINT LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    id     CONSTANT BYTEA := uuid_send(message_id);
    now    CONSTANT BIGINT := extract(epoch FROM clock_timestamp()) * 1000;
    size   CONSTANT INTEGER := least(coalesce(nullif(current_setting('hubbub.max_payload', TRUE), ''), '65536')::integer, 524288);
    answer RECORD;
BEGIN
    IF coalesce(
        octet_length(channel) NOT BETWEEN 1 AND 128 OR channel ~ '^:|^\.{1,2}$|[\x01-*/;<>?[-^`{|}\x7f]' OR channel IS NOT NFC NORMALIZED, TRUE
    ) THEN
        RAISE EXCEPTION USING ERRCODE = 'HB001', MESSAGE = 'channel_invalid: the channel name breaks section 3 of PROTOCOL.md';
    ELSIF octet_length(key) NOT BETWEEN 1 AND 64 OR key ~ '[\x01-\x1f\x7f-\x9f]' THEN
        RAISE EXCEPTION USING ERRCODE = 'HB002', MESSAGE = 'key_invalid: a key has 1 to 64 bytes and no control characters';
    ELSIF coalesce(get_byte(id, 6) >> 4 <> 7 OR get_byte(id, 8) >> 6 <> 2, TRUE) THEN
        RAISE EXCEPTION USING ERRCODE = 'HB003', MESSAGE = 'message_id_invalid: not a UUID of version 7',
            HINT = 'hubbub_message_id() makes one.';
    ELSIF ('x0000' || encode(substring(id FOR 6), 'hex'))::bit(64)::bigint > now + 600000 THEN
        RAISE EXCEPTION USING ERRCODE = 'HB003', MESSAGE = 'too_new: the message id is more than ten minutes ahead of this clock';
    ELSIF octet_length(payload) > size THEN
        RAISE EXCEPTION USING ERRCODE = 'HB005', MESSAGE = format('payload_too_large: more than %s bytes as MessagePack', size);
    ELSIF NOT coalesce(hubbub_msgpack_is_payload(payload), FALSE) THEN
        RAISE EXCEPTION USING ERRCODE = 'HB004', MESSAGE = 'payload_invalid: the payload breaks section 5 of PROTOCOL.md',
            HINT = 'An SQL NULL is no payload; JSON''s is ''null''::jsonb.';
    ELSIF coalesce(octet_length(publisher) NOT BETWEEN 1 AND 128 OR publisher ~ '[\x01-\x1f\x7f-\x9f]', TRUE) THEN
        RAISE EXCEPTION USING ERRCODE = 'HB007', MESSAGE = 'a publisher has 1 to 128 bytes and no control characters';
    END IF;
    SELECT a.kinds[1] AS kind, a.seqs[1] AS seq INTO STRICT answer FROM hubbub_append(
        ARRAY[channel], ARRAY[publisher], ARRAY[id], ARRAY[key], ARRAY[payload],
        -- As the server makes it: a retry through its door is the same message.
        ARRAY[('x' || encode(substring(sha256(
            substring(int4send(octet_length(coalesce(key, ''))) FROM 4) || convert_to(coalesce(key, ''), 'UTF8') || payload
        ) FOR 8), 'hex'))::bit(64)::bigint],
        now, '', 0, 0, ARRAY[0::bigint]
    ) AS a;
    IF answer.kind = 2 THEN
        RAISE EXCEPTION USING ERRCODE = 'HB006', MESSAGE = 'id_reused: the message id was used with another payload or key';
    ELSIF answer.kind = 0 AND notify THEN
        PERFORM pg_notify('hubbub', channel);
    END IF;
    RETURN answer.seq;
END
$$;

-- The same for JSON.
CREATE FUNCTION hubbub_publish(
    channel TEXT, message_id UUID, payload JSONB, key TEXT DEFAULT NULL, publisher TEXT DEFAULT 'database', notify BOOLEAN DEFAULT FALSE
)
RETURNS BIGINT LANGUAGE sql VOLATILE SECURITY DEFINER AS $$
    SELECT hubbub_publish_msgpack(channel, message_id, hubbub_msgpack(payload), key, publisher, notify)
$$;

-- They run with their owner's rights: not for everybody (config/postgres-roles.sql), and only with this schema's tables.
REVOKE ALL ON FUNCTION hubbub_publish_msgpack, hubbub_publish FROM PUBLIC;
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION hubbub_publish_msgpack SET search_path = %I, pg_temp', current_schema());
    EXECUTE format('ALTER FUNCTION hubbub_publish SET search_path = %I, pg_temp', current_schema());
END
$$;
