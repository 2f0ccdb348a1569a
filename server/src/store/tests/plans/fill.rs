//! A hundred thousand rows of everything that is listed, as they may well be: one channel and one user with much, and what is seldom asked
//! for is rare.

use sqlx::AssertSqlSafe;

use crate::store::{Db, on};

/// Rows of each table.
pub const ROWS: i64 = 100_000;
/// Half of all members, and every ban and message, is here.
pub const CHANNEL: &str = "chat:1";
/// Has a fair part of everything that belongs to users.
pub const OWNER: &str = "user-1";

/// `i` counts the rows. One room in a hundred is public, one user in a thousand an admin; one key was revoked, and no member is invited or a guest. Names have nothing
/// to do with ages.
pub const LISTS: &[&str] = &[
    "INSERT INTO rooms (channel, kind, visibility, title, topic, data, created_by, members, version, created_at, updated_at)
     SELECT 'chat:' || i, CASE WHEN i % 2 = 0 THEN 'group' ELSE 'direct' END, CASE WHEN i % 100 = 0 THEN 'public' ELSE 'private' END,
            'title ' || (i * 7919 % 100000), '', '{}', 'user-' || (i % 1000), 2, 1, i, i FROM n",
    "INSERT INTO users (id, name, role, data, tokens_from, version, created_at, updated_at, deleted_at)
     SELECT 'user-' || i, 'name ' || (i * 7919 % 100000), CASE WHEN i % 1000 = 0 THEN 'admin' ELSE 'member' END, '{}', 0, 1, i, i,
            CASE WHEN i % 100 = 3 THEN i END FROM n",
    "INSERT INTO members (channel, user_id, role, state, version, created_at, updated_at)
     SELECT CASE WHEN i % 2 = 0 THEN 'chat:1' ELSE 'chat:' || i END, CASE WHEN i % 101 = 1 AND i % 2 = 1 THEN 'user-1' ELSE 'user-' || i END,
            'member', 'joined', 1, i, i FROM n WHERE i <> 1",
    "INSERT INTO bans (channel, user_id, reason, banned_by, version, created_at, expires_at)
     SELECT 'chat:1', 'user-' || i, '', 'user-1', 1, i, CASE WHEN i % 100 = 0 THEN i END FROM n",
    "INSERT INTO sessions (id, user_id, device, address, salt, generation, created_at, used_at, expires_at, revoked_at)
     SELECT 's' || i, 'user-' || (i % 1000), 'browser', '192.0.2.1', {bytes}, 1, i, i, i + 10, CASE WHEN i % 3 = 0 THEN i END FROM n",
    "INSERT INTO api_keys (id, name, digest, scopes, channels, created_by, version, created_at, expires_at, revoked_at)
     SELECT 'k' || i, 'key', {bytes}, '[]', '[]', 'user-' || (i % 1000), 1, i, CASE WHEN i % 100 = 0 THEN i END,
            CASE WHEN i = 1 THEN i END FROM n",
    "INSERT INTO audit (id, actor, action, target, target_id, channel, detail, address, request_id, created_at)
     SELECT CAST(i AS TEXT), 'user-' || (i % 1000), CASE WHEN i % 5 = 0 THEN 'user.changed' ELSE 'member.joined' END, 'user', 'user-' || i,
            CASE WHEN i % 2 = 0 THEN 'chat:' || i END, '{}', '', '', i FROM n",
    "INSERT INTO uploads (id, owner, channel, name, media_type, size, sha256, version, created_at, deleted_at)
     SELECT 'u' || i, 'user-' || (i % 20), CASE WHEN i % 20 = 5 THEN 'chat:1' END, 'name ' || i, 'image/png', 100, 'x' || i, 1, i,
            CASE WHEN i % 100 = 21 THEN i END FROM n",
];

/// A channel's log, and what is attached. One message in nine was edited.
pub const LOG: &[&str] = &[
    "INSERT INTO entries (channel_id, seq, epoch, ordinal, kind, ref, message_id, publisher, time, payload)
     SELECT 1, i, 1, i, CASE WHEN i % 10 = 0 THEN 'edit' ELSE 'message' END, CASE WHEN i % 10 = 0 THEN i - 1 END, {bytes}, 'user-1', i, {bytes}
     FROM n",
    "INSERT INTO attachments (channel, seq, place, upload_id) SELECT 'chat:1', i, 0, 'u' || i FROM n",
];

/// Fills tables.
pub async fn fill(db: &Db, tables: &[&str]) {
    let bytes = match db {
        Db::Sqlite(_) => "X'00000000000000000000000000000000'",
        Db::Postgres(_) => "'\\x00000000000000000000000000000000'::bytea",
    };
    let numbers = format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})");
    let mut tx = db.begin().await.unwrap();
    for table in tables {
        let sql = format!("{numbers} {}", table.replace("{bytes}", bytes));
        on!(&mut tx, conn => sqlx::query(AssertSqlSafe(sql)).execute(conn).await.map(drop))
            .unwrap_or_else(|error| panic!("{table}: {error}"));
    }
    tx.commit().await.unwrap();
}

/// Lets the database count what its tables hold.
pub async fn count(db: &Db) {
    let mut tx = db.begin().await.unwrap();
    on!(&mut tx, conn => sqlx::query("ANALYZE").execute(conn).await.map(drop)).unwrap();
    tx.commit().await.unwrap();
}
