//! `hubbub_publish`: the same rules and the same content by either door, and the roles that may use which.

use hubbub_protocol::{check_payload, json_payload, msgpack_payload};
use sqlx::{Executor, PgConnection, Row};

use super::*;
use crate::{
    channel::NewMessage,
    store::{look, testing::Database},
};

async fn code(conn: &mut PgConnection, call: &str) -> String {
    match conn.execute(sqlx::AssertSqlSafe(format!("SELECT {call}"))).await {
        Ok(_) => "stored".to_owned(),
        Err(sqlx::Error::Database(error)) => error.code().unwrap().into_owned(),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_retry_through_the_other_door_is_the_same_message() {
    let database = Database::create().await;
    let db = Place::open_at(&testing::config(&database.url)).await;
    let mut conn = database.connect().await;
    for (number, key) in [None, Some("k"), Some("\u{e9}")].into_iter().enumerate() {
        let payload = msgpack_payload(r#"{"text":"hällo","n":[1,-1,2.5]}"#).unwrap();
        let message = NewMessage {
            channel: ChannelName::parse("room:1").unwrap(),
            message_id: Some(MessageId::new(1_000, [number as u8; 10])),
            key: key.map(|key| Key::parse(key).unwrap()),
            payload: payload.into(),
        };
        let digest = crate::channel::digest(&message);
        let NewMessage { channel, message_id, key, payload } = message;
        let new = NewEntry { channel, publisher: "alice".into(), message_id: message_id.unwrap(), amends: None, key, payload, digest };
        let row = sqlx::query("SELECT hubbub_publish_msgpack($1, $2::uuid, $3, $4, 'alice')")
            .bind(new.channel.as_str())
            .bind(new.message_id.to_string())
            .bind(&new.payload[..])
            .bind(new.key.as_ref().map(Key::as_str))
            .fetch_one(&mut conn)
            .await
            .unwrap();
        let seq = row.get::<i64, _>(0) as u64;
        let again = entries::append(&db, std::slice::from_ref(&new), 5).await.unwrap();
        assert!(matches!(again[0], Appended::Duplicate { seq: first, .. } if first == seq), "{again:?}");
        let other = NewEntry { digest: digest + 1, ..new };
        assert!(matches!(entries::append(&db, &[other], 5).await.unwrap()[0], Appended::IdReused));
    }
}

#[tokio::test]
async fn json_becomes_the_same_bytes_as_in_the_server() {
    let database = Database::create().await;
    let _db = Place::open_at(&testing::config(&database.url)).await;
    let mut conn = database.connect().await;
    let long = format!("[{}]", vec!["null"; 70_000].join(","));
    let text = |length| format!("\"{}\"", "é".repeat(length));
    let integers = [0, 1, 127, 128, 255, 256, 65_535, 65_536, i64::from(u32::MAX), i64::from(u32::MAX) + 1, i64::MAX]
        .into_iter()
        .flat_map(|number| [number, -number, -number - 1])
        .chain([-31, -32, -33])
        .map(|number| number.to_string());
    let values =
        ["null", "true", "false", "1.5", "-0.25", "1.0", "1e300", "18446744073709551615", "18446744073709551616", "-9223372036854775809"]
            .into_iter()
            .chain([
                "[]",
                "{}",
                r#""""#,
                r#"{"a":{"b":[1,"x",null]}}"#,
                r#"{"$bin":"3q2+7w=="}"#,
                r#"{"$bin":"3q2+7x=="}"#,
                r#"{"$bin":"x"}"#,
            ])
            .chain([r#"{"$bin":""}"#, r#"{"$bin":1}"#, r#"{"$bin":"AA==","other":1}"#, r#""\u0001\n\"ü\ud83d\ude00""#, "[[[[1]]]]"])
            .map(str::to_owned)
            .chain(integers)
            .chain([15, 16, 127, 128, 40_000].map(text))
            .chain([15, 16].map(|length| format!("[{}]", vec!["1"; length].join(","))))
            .chain(
                [15, 16].map(|length| format!("{{{}}}", (10..10 + length).map(|key| format!("\"{key}\":1")).collect::<Vec<_>>().join(","))),
            )
            .chain([long]);
    for json in values {
        // jsonb writes a number out that has an exponent: what it takes it for is what counts.
        let wanted = if json == "1e300" { format!("1{}", "0".repeat(300)) } else { json.clone() };
        let bytes: Vec<u8> = sqlx::query_scalar("SELECT hubbub_msgpack($1::jsonb)").bind(&json).fetch_one(&mut conn).await.unwrap();
        assert!(bytes == msgpack_payload(&wanted).unwrap(), "{:.100}: {:02x?}", json, &bytes[..bytes.len().min(40)]);
        let valid: bool = sqlx::query_scalar("SELECT hubbub_msgpack_is_payload($1)").bind(&bytes).fetch_one(&mut conn).await.unwrap();
        assert!(valid && json_payload(&bytes).is_ok(), "{json:.100}");
    }
}

#[test]
fn bytes_are_a_payload_by_the_same_rules_as_in_the_server() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let database = runtime.block_on(Database::create());
    let mut conn = runtime.block_on(async {
        Place::open_at(&testing::config(&database.url)).await.close().await;
        database.connect().await
    });
    let mut agree = |bytes: &[u8]| {
        let query = sqlx::query_scalar("SELECT hubbub_msgpack_is_payload($1)").bind(bytes).fetch_one(&mut conn);
        let valid: bool = runtime.block_on(query).unwrap();
        assert_eq!(valid, check_payload(bytes).is_ok(), "{bytes:02x?}");
    };
    for tag in 0..=255 {
        for rest in [&[][..], &[0], &[0, 0, 0, 0, 0, 0, 0, 0], &[0, 1, 1], &[1, 0x41], &[1], &[0, 0, 0, 0], &[0xa1, 0x41, 1], &[0xc0, 1]] {
            agree(&[&[tag], rest].concat());
        }
    }
    for depth in [27, 28, 29] {
        for inner in [&[0xc0][..], &[0xc4, 0], &[0x90]] {
            agree(&[&vec![0x91; depth - 1][..], inner].concat());
        }
    }
    for text in [&b"\0"[..], b"a\\\0\\000", b"\\\xc3\xa9\0", b"\\\xc3\0", b"\\000\0\xff"] {
        agree(&[&[0xa0 | text.len() as u8], text].concat());
    }
    // Random trees with random damage.
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        "\"[a-zé]{0,20}\"",
        Just("{\"$bin\":\"AAA=\"}".to_owned())
    ];
    let tree = leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|values| format!("[{}]", values.join(","))),
            prop::collection::vec(inner, 0..4).prop_map(|values| {
                format!("{{{}}}", values.iter().enumerate().map(|(key, value)| format!("\"{key}\":{value}")).collect::<Vec<_>>().join(","))
            }),
        ]
    });
    let damage = prop::option::of((any::<prop::sample::Index>(), 1..=255_u8));
    let strategy = (tree, damage, 0..3_usize);
    let agree = std::cell::RefCell::new(agree);
    let mut runner = TestRunner::new(Cases { cases: 300, failure_persistence: None, ..Cases::default() });
    runner
        .run(&strategy, |(json, damage, cut)| {
            let mut bytes = msgpack_payload(&json).unwrap();
            if let Some((at, byte)) = damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.truncate(bytes.len().saturating_sub(cut));
            (agree.borrow_mut())(&bytes);
            Ok(())
        })
        .unwrap();
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_with_its_code() {
    let database = Database::create().await;
    let _db = Place::open_at(&testing::config(&database.url)).await;
    let mut conn = database.connect().await;
    let publish = |channel: &str, id: &str, payload: &str, rest: &str| format!("hubbub_publish({channel}, {id}, {payload}{rest})");
    let new = "hubbub_message_id()";
    let mut cases: Vec<(String, &str)> =
        ["''", "NULL", "':a'", "'.'", "'..'", "'a b'", "'a/b'", "'a?'", "E'a\\n'", "E'e\\u0301'", "repeat('a', 129)"]
            .map(|channel| (publish(channel, new, "'1'", ""), "HB001"))
            .into();
    cases.extend(
        ["'a'", "'room:42'", "'...'", "'é-_.:@+~=,'", "repeat('a', 128)"].map(|channel| (publish(channel, new, "'1'", ""), "stored")),
    );
    cases.extend(["''", "repeat('k', 65)", "E'a\\u0085'"].map(|key| (publish("'a'", new, "'1'", &format!(", {key}")), "HB002")));
    cases.extend(
        ["NULL", "gen_random_uuid()", "'01a20500-d7ce-7969-ca26-7c6ed56856a4'", "'ffffffff-ffff-7fff-8fff-ffffffffffff'"]
            .map(|id| (publish("'a'", id, "'1'", ""), "HB003")),
    );
    cases.extend([
        (publish("'a'", new, "NULL", ""), "HB004"),
        (publish("'a'", new, "'null'", ""), "stored"),
        (publish("'a'", new, &format!("'{}{}'", "[".repeat(28), "]".repeat(28)), ""), "stored"),
        (publish("'a'", new, &format!("'{}{}'", "[".repeat(29), "]".repeat(29)), ""), "HB004"),
        (publish("'a'", new, "to_jsonb(repeat('x', 65533))", ""), "stored"),
        (publish("'a'", new, "to_jsonb(repeat('x', 65534))", ""), "HB005"),
        (publish("'a'", new, "'1'", ", NULL, ''"), "HB007"),
        ("hubbub_publish_msgpack('a', hubbub_message_id(), '\\x93')".to_owned(), "HB004"),
        (publish("'a'", "'01a20500-d7ce-7969-8a26-7c6ed56856a4'", "'1'", ""), "stored"),
        (publish("'a'", "'01a20500-d7ce-7969-8a26-7c6ed56856a4'", "'1'", ""), "stored"),
        (publish("'a'", "'01a20500-d7ce-7969-8a26-7c6ed56856a4'", "'2'", ""), "HB006"),
        (publish("'a'", "'01a20500-d7ce-7969-8a26-7c6ed56856a4'", "'1'", ", 'k'"), "HB006"),
    ]);
    for (call, wanted) in cases {
        assert_eq!(code(&mut conn, &call).await, wanted, "{call:.200}");
    }
    conn.execute("SET hubbub.max_payload = 70000").await.unwrap();
    assert_eq!(code(&mut conn, &publish("'a'", new, "to_jsonb(repeat('x', 65534))", "")).await, "stored");
}

#[tokio::test]
async fn a_published_entry_is_stored_though_its_caller_would_risk_it() {
    let database = Database::create().await;
    let _db = Place::open_at(&testing::config(&database.url)).await;
    let mut conn = database.connect().await;
    conn.execute("SET synchronous_commit = off; BEGIN; SELECT hubbub_publish('a', hubbub_message_id(), '1')").await.unwrap();
    let shown: String = sqlx::query_scalar("SHOW synchronous_commit").fetch_one(&mut conn).await.unwrap();
    assert_eq!(shown, "on");
}

#[tokio::test]
async fn each_role_can_do_its_own_work_and_no_more() {
    const ROLES: &str = include_str!("../../../../config/postgres-roles.sql");
    let database = Database::create().await;
    let as_role = |role: &str| database.url_of(role);
    database.run(ROLES).await;
    let server = Db::open(&testing::config(&as_role("hubbub_server"))).await.unwrap();
    let refused = server.migrate().await.unwrap_err().to_string();
    assert!(refused.contains("permission denied"), "{refused}");
    Place::open_at(&testing::config(&as_role("hubbub_migrator"))).await.close().await;
    database.run(ROLES).await;
    server.migrate().await.unwrap();
    Mark::open(&server, String::new()).await.unwrap();
    let lease = Lease::take(&server, "x".into(), LeaseKind::Exclusive).await.unwrap();
    lease.renew(&server, &crate::world::World::system().clock).await.unwrap();
    crate::store::instances::renew(&server, "i", "{}", 0).await.unwrap();
    let since = look::look(&server, None).await.unwrap().since;
    let small = Small { channel: 0, publisher: 0, id: 1, content: 0, key: None };
    entries::append(&server, &[small.new_entry(0)], 5).await.unwrap();
    let id = channels::head(&server, &channel(0, 0)).await.unwrap().unwrap().channel_id;
    assert_eq!(entries::trim(&server, id, 1, 10).await.unwrap(), 0);
    assert_eq!(crate::store::publishes::trim(&server, 0, 10).await.unwrap(), 0);

    let mut conn = database.connect().await;
    conn.execute("SET ROLE hubbub_publisher; SELECT hubbub_publish('app:1', hubbub_message_id(), '1', notify => true)").await.unwrap();
    for forbidden in ["FROM entries", "FROM channels", "FROM cluster", "hubbub_epoch('', 0, 0)", "hubbub_past()"] {
        assert_eq!(code(&mut conn, forbidden).await, "42501", "{forbidden}");
    }
    conn.execute("SET ROLE hubbub_server").await.unwrap();
    for forbidden in ["DROP TABLE entries", "TRUNCATE entries", "CREATE TABLE mine ()", "DELETE FROM _sqlx_migrations"] {
        let refused = conn.execute(forbidden).await.unwrap_err();
        assert_eq!(refused.as_database_error().unwrap().code().unwrap(), "42501", "{forbidden}");
    }
    let looked = look::look(&server, Some(since)).await.unwrap();
    assert_eq!(looked.heads.len(), 2);
    assert!(!looked.went_back);
}
