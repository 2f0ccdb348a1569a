//! Several change one message at once, and each says which version it means.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{Person, person};
use crate::{
    accounts::CHEAP,
    http::Answer,
    support::{Pair, Server, message_id},
};

crate::on_every_pair!(
    of_many_edits_of_one_version_one_is_stored,
    of_edits_and_deletions_of_one_version_one_is_stored,
    an_edit_that_is_repeated_gets_its_first_answer,
);

/// A message, and where it is.
async fn message(server: &Server, ada: &Person) -> String {
    let made = ada.does(server, "POST", "/v1/channels/chat:a/messages", json!({"payload": "new"}), 201).await;
    assert_eq!(made.header("etag"), Some("\"1\""));
    made.header("location").unwrap().to_owned()
}

async fn room(pair: Pair) -> (Server, Person) {
    let server = pair.server_with(CHEAP).await;
    let ada = person(&server, "ada").await;
    ada.does(&server, "POST", "/v1/channels", json!({"name": "chat:a", "title": "A"}), 201).await;
    (server, ada)
}

fn is_too_late(answer: &Answer) {
    assert_eq!((answer.status, &answer.json()["code"]), (412, &json!("precondition_failed")), "{}", answer.body);
}

async fn of_many_edits_of_one_version_one_is_stored(pair: Pair) {
    let (server, ada) = room(pair).await;
    for _ in 0..4 {
        let path = &message(&server, &ada).await;
        let edit = |n: u32| {
            let (server, ada) = (&server, &ada);
            async move { ada.ask_with(server, "PATCH", path, json!({"payload": n}), &[("if-match", "\"1\"")]).await }
        };
        let (stored, refused): (Vec<_>, Vec<_>) = join_all((0..16).map(edit)).await.into_iter().partition(|answer| answer.status == 200);
        assert_eq!((stored.len(), refused.len()), (1, 15));
        refused.iter().for_each(is_too_late);
        let now = ada.get(&server, path).await;
        assert_eq!((now.header("etag"), &now.json()["edits"]), (Some("\"2\""), &json!(1)));
        assert_eq!(now.json()["payload"], stored[0].json()["payload"]);
        // Any of several versions is good, and so is whatever is there.
        for (versions, then) in [("\"2\", \"7\"", "\"3\""), ("*", "\"4\"")] {
            let edited = ada.ask_with(&server, "PATCH", path, json!({"payload": versions}), &[("if-match", versions)]).await;
            assert_eq!((edited.status, edited.header("etag")), (200, Some(then)));
        }
    }
}

async fn of_edits_and_deletions_of_one_version_one_is_stored(pair: Pair) {
    let (server, ada) = room(pair).await;
    for _ in 0..4 {
        let path = &message(&server, &ada).await;
        let change = |n: u32| {
            let (method, body) = if n.is_multiple_of(2) { ("DELETE", Value::Null) } else { ("PATCH", json!({"payload": n})) };
            let (server, ada) = (&server, &ada);
            async move { ada.ask_with(server, method, path, body, &[("if-match", "\"1\"")]).await }
        };
        let (stored, refused): (Vec<_>, Vec<_>) = join_all((0..16).map(change)).await.into_iter().partition(|answer| answer.status < 300);
        assert_eq!((stored.len(), refused.len()), (1, 15));
        refused.iter().for_each(is_too_late);
        let now = ada.get(&server, path).await;
        let edits = u32::from(stored[0].status == 200);
        assert_eq!((now.header("etag"), &now.json()["edits"]), (Some("\"2\""), &json!(edits)));
        assert_eq!(now.json()["deleted_at"].is_null(), edits == 1);
    }
}

async fn an_edit_that_is_repeated_gets_its_first_answer(pair: Pair) {
    let (server, ada) = room(pair).await;
    let path = &message(&server, &ada).await;
    let edit = |n: u8| {
        let body = json!({"payload": n, "message_id": message_id(server.now(), n).to_string()});
        let (server, ada) = (&server, &ada);
        async move { ada.ask_with(server, "PATCH", path, body, &[("if-match", "\"1\"")]).await }
    };
    let body = json!({"payload": "mine", "message_id": message_id(server.now(), 9).to_string()});
    let mine = || ada.ask_with(&server, "PATCH", path, body.clone(), &[("if-match", "\"1\"")]);
    let at_once = join_all((0..8).map(|_| mine())).await;
    let later = mine().await;
    for answer in at_once.iter().chain([&later]) {
        assert_eq!((answer.status, answer.header("etag")), (200, Some("\"2\"")), "{}", answer.body);
        assert_eq!((&answer.json()["payload"], &answer.json()["edits"]), (&json!("mine"), &json!(1)));
    }
    is_too_late(&edit(1).await);
    is_too_late(&ada.ask_with(&server, "DELETE", path, Value::Null, &[("if-match", "\"1\"")]).await);
    assert_eq!(ada.ask_with(&server, "DELETE", path, Value::Null, &[("if-match", "\"2\"")]).await.status, 204);
    is_too_late(&edit(2).await);
    let gone = ada.ask_with(&server, "PATCH", path, json!({"payload": 1}), &[("if-match", "\"3\"")]).await;
    assert_eq!((gone.status, &gone.json()["code"]), (409, &json!("conflict")), "it is the version, and deleted");
}
