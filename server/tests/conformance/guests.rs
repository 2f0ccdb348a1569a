//! Whoever publishes in a transaction of PostgreSQL's, without an instance: is heard, and harms nobody.

use std::time::{Duration, Instant};

use hubbub_protocol::ErrorCode;
use sqlx::Connection;

use crate::support::{Pair, json, refused, seq};

macro_rules! on_postgres_pairs {
    ($($test:ident),* $(,)?) => {
        crate::on_pair!(local_postgres, LOCAL_POSTGRES, $($test),*);
        crate::on_pair!(nats_postgres, NATS_POSTGRES, $($test),*);
    };
}

on_postgres_pairs!(what_a_transaction_publishes_comes_with_its_commit, a_channel_that_a_transaction_holds_fails_alone);

const PUBLISH: &str = "SELECT hubbub_publish('room:1', hubbub_message_id(), '{\"n\": 1}'::jsonb, notify => $1)";

async fn what_a_transaction_publishes_comes_with_its_commit(pair: Pair) {
    let server = pair.server().await;
    let mut reader = server.peer("reader").await;
    reader.subscribe("room:1").await;
    server.verified().await;
    let mut guest = server.ground().guest().await;
    let mut undone = guest.begin().await.unwrap();
    sqlx::query(PUBLISH).bind(true).execute(&mut *undone).await.unwrap();
    undone.rollback().await.unwrap();
    // Found by the look within about a second, and at once if it asks for that.
    for (place, notify, limit) in [(1, false, Duration::from_secs(3)), (2, true, Duration::from_millis(900))] {
        let mut transaction = guest.begin().await.unwrap();
        sqlx::query(PUBLISH).bind(notify).execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
        let committed = Instant::now();
        let entry = reader.entry().await;
        assert_eq!((seq(&entry), json(&entry)["n"].as_i64(), &*entry.publisher), (place, Some(1), "database"));
        assert!(committed.elapsed() < limit, "{:?} with notify {notify}", committed.elapsed());
    }
}

async fn a_channel_that_a_transaction_holds_fails_alone(pair: Pair) {
    let server = pair.server_with(&["store.writers=1"]).await;
    let (mut held, mut free) = (server.peer("alice").await, server.peer("bob").await);
    held.publish("room:1", "0").await;
    free.publish("room:2", "0").await;
    let mut guest = server.ground().guest().await;
    let mut transaction = guest.begin().await.unwrap();
    sqlx::query(PUBLISH).bind(false).execute(&mut *transaction).await.unwrap();
    let (one, other) = tokio::join!(held.publish_with("room:1", "1", None, None), async {
        // Behind the first, so that both are in one queue.
        tokio::time::sleep(Duration::from_millis(100)).await;
        free.publish_with("room:2", "1", None, None).await
    });
    refused(one, ErrorCode::Unavailable);
    assert_eq!(other.unwrap().seq, Some(2));
    transaction.commit().await.unwrap();
    assert_eq!(held.publish("room:1", "2").await.seq, Some(3), "behind what the transaction published");
}
