//! The beginning and the end of an instance.

use hubbub_protocol::{ClientFrame, Retry};
use hubbub_server::{
    app::{App, Notice, StartError, TakeOver},
    store::LeaseError,
    world::World,
};

use crate::{
    http::{Request, request},
    support::{Pair, publish},
};

crate::over_every_transport!(a_drain_answers_and_says_goodbye);

// Nobody is connected.
mod by_socket {
    use super::migrations_go_down_and_up;

    crate::on_every_pair!(migrations_go_down_and_up);
}

mod alone {
    use super::{a_second_instance_is_refused, a_second_instance_may_wait};

    crate::on_local_pairs!(a_second_instance_is_refused, a_second_instance_may_wait);
}

async fn a_second_instance_is_refused(pair: Pair) {
    let server = pair.server().await;
    let second = App::start(server.config(), World::system(), TakeOver::Refuse).await;
    let Err(StartError::Lease(error @ LeaseError::Held(_))) = second else { panic!("it started") };
    let message = error.to_string();
    assert!(message.contains(&format!("process {}", std::process::id())) && message.contains("--take-over"), "{message}");
    // The first one does not notice.
    server.peer("alice").await.publish("room:1", "1").await;
}

async fn a_second_instance_may_wait(pair: Pair) {
    let server = pair.server().await;
    server.peer("alice").await.publish("room:1", "1").await;
    let config = server.config();
    let second = tokio::spawn(App::start(config, World::system(), TakeOver::Wait));
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(!second.is_finished());
    server.app.shut_down(Notice::None).await;
    let second = second.await.unwrap().unwrap();
    second.shut_down(Notice::None).await;
}

async fn a_drain_answers_and_says_goodbye(pair: Pair) {
    let server = pair.server_with(&["drain.notice=1s"]).await;
    let mut alice = server.peer("alice").await;
    let mut bob = server.peer("bob").await;
    bob.subscribe("room:1").await;
    let frames: Vec<_> = (1..=200).map(|n| publish(Some(n), "room:1", &n.to_string(), None, None)).collect();
    alice.send(&frames).await;
    // They have been read when a ping behind them is answered; some are still waiting for their commit.
    alice.send(&[ClientFrame::Ping { id: 201 }]).await;
    alice.answer(201).await.unwrap();
    let address = server.address();
    let not_ready = || async move { request(address, Request::get("/readyz")).await };
    let stopping = tokio::spawn(server.app.shut_down(Notice::Given));
    // Whoever asks meanwhile is told, and comes no more.
    let answer = not_ready().await;
    assert_eq!((answer.status, answer.json()["status"].as_str()), (503, Some("draining")));
    for n in 1..=200 {
        alice.answer(n).await.unwrap();
    }
    let (disconnect, code) = alice.closed().await;
    let disconnect = disconnect.unwrap();
    assert_eq!((disconnect.code, code, disconnect.retry), (4503, Some(4503), Retry::Later));
    assert!(disconnect.reconnect_after.is_some());
    assert_eq!(bob.closed().await.1, Some(4503));
    // A peer answers the Close; ours has read it, and that does.
    drop((alice, bob));
    tokio::time::timeout(std::time::Duration::from_secs(10), stopping).await.unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "it still listens");
}

async fn migrations_go_down_and_up(pair: Pair) {
    let server = pair.server().await;
    server.peer("alice").await.publish("room:1", "1").await;
    let config = server.config();
    server.app.shut_down(Notice::None).await;
    let db = hubbub_server::store::Db::open(&config.store).await.unwrap();
    db.migrate_down(0).await.unwrap();
    db.migrate().await.unwrap();
    assert!(!db.migrations().is_empty());
    assert_eq!(hubbub_server::store::channels::head(&db, &crate::support::name("room:1")).await.unwrap().map(|head| head.cursor()), None);
    db.close().await;
}
