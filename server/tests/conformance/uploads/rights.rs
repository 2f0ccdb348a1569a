//! Whose files are whose: what one may not see is not there.

use hubbub_server::auth::Action;

use super::{KIND, Request, address, ask, content, upload};
use crate::support::{
    Pair, Server,
    client::{Client, Response},
};

crate::on_local_pairs!(who_may_not_read_a_channel_has_no_files_of_it, nobody_changes_what_is_another_s);

async fn with(server: &Server, token: &str, request: Request) -> Response {
    Client::new(&[server.address()]).ask(&request.with_token(token)).await.unwrap()
}

async fn who_may_not_read_a_channel_has_no_files_of_it(pair: Pair) {
    let server = pair.server().await;
    let private = upload(&server, "alice", "name=mine.txt", "mine").await;
    let shared = upload(&server, "alice", "name=ours.txt&channel=room:1", "ours").await;
    let reader = server.token_for("bob", 60, &[("room:1", &[Action::History])]);
    let stranger = server.token_for("eve", 60, &[("room:2", &Action::ALL), ("room:1", &[Action::Subscribe, Action::Publish])]);
    for (token, upload, status) in
        [(&reader, &shared, 200), (&reader, &private, 404), (&stranger, &shared, 404), (&stranger, &private, 404)]
    {
        let head = Request::new("HEAD", &format!("{}/content", address(upload)), "");
        for request in [Request::get(&address(upload)), content(upload), head] {
            assert_eq!(with(&server, token, request).await.status(), status, "{upload}");
        }
    }
    // An answer that does not tell whether there is such a file.
    let hidden = with(&server, &stranger, content(&private)).await.refusal().await;
    let missing = Request::get("/v1/uploads/019bd3d5-7b1c-7cc0-8d2f-3f1e6a0c9a11/content");
    assert_eq!(hidden, with(&server, &stranger, missing).await.refusal().await);
    let nobody = Client::new(&[server.address()]).ask(&content(&shared)).await.unwrap();
    assert_eq!(nobody.status(), 401);
    assert_eq!(with(&server, &reader, Request::get("/v1/uploads?channel=room:1")).await.status(), 200);
    assert_eq!(with(&server, &stranger, Request::get("/v1/uploads?channel=room:1")).await.status(), 403);
    let into = |channel: &str| Request::new("POST", &format!("/v1/uploads?name=a&channel={channel}"), "x").with("content-type", KIND);
    assert_eq!(with(&server, &stranger, into("room:1")).await.status(), 201);
    assert_eq!(with(&server, &reader, into("room:1")).await.status(), 403);
    assert_eq!(with(&server, &reader, into("a%20b")).await.status(), 422);
}

async fn nobody_changes_what_is_another_s(pair: Pair) {
    let server = pair.server().await;
    let private = upload(&server, "alice", "name=mine.txt", "mine").await;
    let shared = upload(&server, "alice", "name=ours.txt&channel=room:1", "ours").await;
    let reader = server.token_for("bob", 60, &[("*", &[Action::Subscribe, Action::Publish, Action::History])]);
    let moderator = server.token_for("carol", 60, &[("*", &Action::ALL)]);
    for (upload, status) in [(&private, 404), (&shared, 403)] {
        let patch =
            Request::new("PATCH", &address(upload), "{\"name\":\"his\"}").with("content-type", "application/json").with("if-match", "*");
        let forever = Request::delete(&format!("{}?forever=true", address(upload)));
        for request in [patch, Request::delete(&address(upload)), forever] {
            assert_eq!(with(&server, &reader, request).await.status(), status, "{upload}");
        }
        assert_eq!(ask(&server, "alice", Request::get(&address(upload))).await.json().await, *upload);
    }
    // Whoever moderates the channel may take it away, but not for good.
    let forever = Request::delete(&format!("{}?forever=true", address(&shared)));
    assert_eq!(with(&server, &moderator, forever).await.status(), 403);
    assert_eq!(with(&server, &moderator, Request::delete(&address(&private))).await.status(), 404);
    assert_eq!(with(&server, &moderator, Request::delete(&address(&shared))).await.status(), 204);
    let restore = Request::post(&format!("{}/restore", address(&shared)), "");
    assert_eq!(ask(&server, "bob", restore).await.status(), 404);
    let forever = Request::delete(&format!("{}?forever=true", address(&shared)));
    assert_eq!(ask(&server, "bob", forever).await.status(), 404, "what is deleted is its owner's alone");
}
