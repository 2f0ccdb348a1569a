//! Resources over REST: a chat client's whole day, HTTP as its standards want it, and who may touch what.

use hubbub_protocol::Cursor;
use serde_json::{Value, json};

use crate::{
    accounts::{CHEAP, PASSWORD, log_in, register, text},
    http::{Answer, Request, request},
    support::{Pair, Server, json as payload, seq},
};

mod at_once;
mod exports;
mod semantics;
mod strangers;

crate::on_every_pair!(
    a_day_in_a_room,
    direct_messages_have_one_channel_for_the_same_people,
    roles_decide_who_may_and_the_last_owner_stays,
    a_backend_acts_as_far_as_its_key_goes,
    lists_are_read_in_pages_and_as_rows,
    who_is_let_in_again_logs_in_again,
);

/// Somebody with an account.
pub struct Person {
    pub id: String,
    pub token: String,
}

pub async fn person(server: &Server, login: &str) -> Person {
    let made = register(server, login).await;
    Person { id: text(&made["user"]["id"]).to_owned(), token: text(&made["access_token"]).to_owned() }
}

impl Person {
    pub async fn ask(&self, server: &Server, method: &str, path: &str, body: Value) -> Answer {
        self.ask_with(server, method, path, body, &[]).await
    }

    pub async fn ask_with(&self, server: &Server, method: &str, path: &str, body: Value, headers: &[(&str, &str)]) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let asked = Request::of(method, path, &body).with_token(&self.token);
        request(server.address(), headers.iter().fold(asked, |asked, (name, value)| asked.with(name, value))).await
    }

    pub async fn get(&self, server: &Server, path: &str) -> Answer {
        self.ask(server, "GET", path, Value::Null).await
    }

    /// What has to come of it.
    pub async fn does(&self, server: &Server, method: &str, path: &str, body: Value, status: u16) -> Answer {
        let answer = self.ask(server, method, path, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        answer
    }
}

/// Two register, make a room, talk, edit, upload a picture, leave, come back, and see exactly what they should.
async fn a_day_in_a_room(pair: Pair) {
    let server = pair.server_with(CHEAP).await;
    let (ada, bob) = (person(&server, "ada").await, person(&server, "bob").await);
    let room = json!({"name": "chat:tea", "title": "Tea", "visibility": "private"});
    let made = ada.does(&server, "POST", "/v1/channels", room, 201).await;
    assert_eq!((made.header("location"), made.header("etag")), (Some("/v1/channels/chat:tea"), Some("\"1\"")));
    // Nobody else knows of it, by either door.
    bob.does(&server, "GET", "/v1/channels/chat:tea", Value::Null, 404).await;
    let mut bobs = server.open().await;
    bobs.connect(&bob.token).await.unwrap();
    assert_eq!(bobs.subscribe_with("chat:tea", None, None).await.unwrap_err().code, "not_found");
    ada.does(&server, "POST", "/v1/channels/chat:tea/members", json!({"user": bob.id}), 201).await;
    let mine = bob.does(&server, "GET", "/v1/me/channels", Value::Null, 200).await.json();
    assert_eq!((text(&mine["items"][0]["channel"]), text(&mine["items"][0]["state"])), ("chat:tea", "invited"));
    bob.does(&server, "PUT", "/v1/channels/chat:tea/membership", Value::Null, 201).await;
    bob.does(&server, "PUT", "/v1/channels/chat:tea/membership", Value::Null, 200).await;
    bobs.subscribe("chat:tea").await;
    // They talk: one by REST, the other by the socket.
    let said = ada.does(&server, "POST", "/v1/channels/chat:tea/messages", json!({"payload": {"text": "milk?"}}), 201).await;
    assert_eq!(said.header("location"), Some("/v1/channels/chat:tea/messages/1"));
    assert_eq!(payload(&bobs.entry().await), json!({"text": "milk?"}));
    bobs.publish("chat:tea", r#"{"text":"yes, plase"}"#).await;
    assert_eq!(seq(&bobs.entry().await), 2);
    let edited = bob.does(&server, "PATCH", "/v1/channels/chat:tea/messages/2", json!({"payload": {"text": "yes, please"}}), 200).await;
    assert_eq!((edited.json()["edits"].as_u64(), edited.header("etag")), (Some(1), Some("\"2\"")));
    assert_eq!(payload(&bobs.entry().await), json!({"text": "yes, please"}));
    ada.does(&server, "PATCH", "/v1/channels/chat:tea/messages/2", json!({"payload": "mine"}), 403).await;
    // A picture.
    let png = "\u{89}PNG".to_owned();
    let upload = Request::of("POST", "/v1/uploads?name=cup.txt&channel=chat:tea", &png).with_token(&ada.token);
    let upload = request(server.address(), upload).await;
    assert_eq!(upload.status, 201, "{}", upload.body);
    let file = text(&upload.json()["id"]).to_owned();
    let twice = json!({"payload": {"text": "look"}, "attachments": [file, file]});
    let twice = ada.does(&server, "POST", "/v1/channels/chat:tea/messages", twice, 422).await.json();
    assert_eq!((text(&twice["errors"][0]["code"]), text(&twice["errors"][0]["pointer"])), ("not_unique", "/attachments"));
    let with = json!({"payload": {"text": "look"}, "attachments": [file]});
    let third = ada.does(&server, "POST", "/v1/channels/chat:tea/messages", with, 201).await.json();
    assert_eq!((third["seq"].as_u64(), text(&third["attachments"][0])), (Some(4), &*file));
    assert_eq!(seq(&bobs.entry().await), 4);
    bob.does(&server, "GET", &format!("/v1/uploads/{file}/content"), Value::Null, 200).await;
    // Only what changes of what a message says.
    let patch = json!({"payload": {"text": null, "mood": "fine"}});
    let patched = ada.does(&server, "PATCH", "/v1/channels/chat:tea/messages/1", patch, 200).await.json();
    assert_eq!(patched["payload"], json!({"mood": "fine"}));
    assert_eq!(payload(&bobs.entry().await), json!({"mood": "fine"}));
    // Bob leaves: his subscription ends, and the room is gone for him.
    bob.does(&server, "DELETE", &format!("/v1/channels/chat:tea/members/{}", bob.id), Value::Null, 204).await;
    assert_eq!(bobs.unsubscribed().await.code, "not_found");
    bob.does(&server, "GET", "/v1/channels/chat:tea/messages", Value::Null, 404).await;
    bob.does(&server, "GET", &format!("/v1/uploads/{file}/content"), Value::Null, 404).await;
    ada.does(&server, "POST", "/v1/channels/chat:tea/messages", json!({"payload": {"text": "he is gone"}}), 201).await;
    ada.does(&server, "DELETE", "/v1/channels/chat:tea/messages/1", Value::Null, 204).await;
    // He comes back, and resumes where he was.
    ada.does(&server, "POST", "/v1/channels/chat:tea/members", json!({"user": bob.id}), 201).await;
    bob.does(&server, "PUT", "/v1/channels/chat:tea/membership", Value::Null, 201).await;
    let again = bobs.subscribe_with("chat:tea", Some(Cursor { epoch: 1, seq: 5 }), None).await.unwrap();
    assert_eq!(again.recovered, Some(true));
    assert_eq!(payload(&bobs.entry().await), json!({"text": "he is gone"}));
    assert_eq!(seq(&bobs.entry().await), 7);
    let all = bob.does(&server, "GET", "/v1/channels/chat:tea/messages", Value::Null, 200).await.json();
    let shown: Vec<_> = all["messages"].as_array().unwrap().iter().map(|one| (one["seq"].as_u64().unwrap(), &one["payload"])).collect();
    let expected =
        [(1, Value::Null), (2, json!({"text": "yes, please"})), (4, json!({"text": "look"})), (6, json!({"text": "he is gone"}))];
    assert_eq!(shown, expected.iter().map(|(seq, payload)| (*seq, payload)).collect::<Vec<_>>());
    assert_eq!(text(&all["messages"][0]["deleted_by"]), ada.id);
    let attached: Vec<_> = all["messages"].as_array().unwrap().iter().map(|one| one["attachments"].clone()).collect();
    assert_eq!(attached, [json!([]), json!([]), json!([file]), json!([])]);
    let ndjson = &[("accept", "application/x-ndjson")];
    let export = bob.ask_with(&server, "GET", "/v1/channels/chat:tea/messages", Value::Null, ndjson).await;
    let lines = export.body.lines().filter(|line| line.starts_with('{'));
    assert_eq!(lines.map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>(), *all["messages"].as_array().unwrap());
    bobs.leave().await;
    // What is no longer attached is no longer shown to who has the message as it was.
    let with = ada.get(&server, "/v1/channels/chat:tea/messages/4").await;
    let known = [("if-none-match", with.header("etag").unwrap())];
    let again = ada.ask_with(&server, "GET", "/v1/channels/chat:tea/messages/4", Value::Null, &known).await;
    assert_eq!(again.status, 304);
    ada.does(&server, "DELETE", &format!("/v1/uploads/{file}"), Value::Null, 204).await;
    let without = ada.ask_with(&server, "GET", "/v1/channels/chat:tea/messages/4", Value::Null, &known).await;
    assert_eq!((without.status, &without.json()["attachments"]), (200, &json!([])));
    let known = [("if-match", with.header("etag").unwrap())];
    let edited = json!({"payload": {"text": "nothing to see"}});
    assert_eq!(
        ada.ask_with(&server, "PATCH", "/v1/channels/chat:tea/messages/4", edited, &known).await.status,
        200,
        "it says what it said"
    );
}

async fn direct_messages_have_one_channel_for_the_same_people(pair: Pair) {
    let server = pair.server_with(CHEAP).await;
    let (ada, bob, eve) = (person(&server, "ada").await, person(&server, "bob").await, person(&server, "eve").await);
    let made = ada.does(&server, "POST", "/v1/direct-channels", json!({"users": [bob.id]}), 201).await.json();
    let found = bob.does(&server, "POST", "/v1/direct-channels", json!({"users": [ada.id, bob.id]}), 200).await.json();
    assert_eq!(made["name"], found["name"]);
    let path = format!("/v1/channels/{}/messages", text(&made["name"]));
    ada.does(&server, "POST", &path, json!({"payload": "hush"}), 201).await;
    bob.does(&server, "GET", &path, Value::Null, 200).await;
    // Not even an owner of the instance reads what others say among themselves: eve is none, ada is one of them.
    eve.does(&server, "GET", &path, Value::Null, 404).await;
    ada.does(&server, "POST", "/v1/direct-channels", json!({"users": [ada.id]}), 422).await;
    ada.does(&server, "POST", "/v1/direct-channels", json!({"users": ["nobody"]}), 422).await;
    // A ban keeps out, and its end lets in again: who takes part does not change.
    let key = json!({"name": "guard", "scopes": ["moderate"]});
    let key = ada.does(&server, "POST", "/v1/api-keys", key, 201).await.json();
    let guard = Person { id: String::new(), token: text(&key["key"]).to_owned() };
    let ban = format!("/v1/channels/{}/bans/{}", text(&made["name"]), bob.id);
    guard.does(&server, "PUT", &ban, json!({"reason": ""}), 201).await;
    bob.does(&server, "GET", &path, Value::Null, 403).await;
    guard.does(&server, "DELETE", &ban, Value::Null, 204).await;
    bob.does(&server, "GET", &path, Value::Null, 200).await;
    let me = eve.does(&server, "GET", "/v1/me", Value::Null, 200).await.json();
    assert_eq!(text(&me["channel"]), format!("user:{}", eve.id));
    ada.does(&server, "GET", &format!("/v1/channels/user:{}", eve.id), Value::Null, 404).await;
}

async fn roles_decide_who_may_and_the_last_owner_stays(pair: Pair) {
    let server = pair.server_with(CHEAP).await;
    let first = person(&server, "first").await;
    let (ada, bob, eve) = (person(&server, "ada").await, person(&server, "bob").await, person(&server, "eve").await);
    let room = json!({"name": "chat:open", "title": "Open", "visibility": "public"});
    ada.does(&server, "POST", "/v1/channels", room.clone(), 201).await;
    bob.does(&server, "POST", "/v1/channels", room, 409).await;
    for one in [&bob, &eve] {
        one.does(&server, "PUT", "/v1/channels/chat:open/membership", Value::Null, 201).await;
    }
    let of = |who: &Person| format!("/v1/channels/chat:open/members/{}", who.id);
    let ban = |who: &Person| format!("/v1/channels/chat:open/bans/{}", who.id);
    bob.does(&server, "PUT", &ban(&eve), json!({}), 403).await;
    let any = [("if-match", "*")];
    assert_eq!(ada.ask_with(&server, "PATCH", &of(&bob), json!({"role": "moderator"}), &any).await.status, 200);
    assert_eq!(bob.ask_with(&server, "PATCH", &of(&eve), json!({"role": "guest"}), &any).await.status, 403);
    ada.does(&server, "DELETE", &of(&ada), Value::Null, 409).await;
    bob.does(&server, "PUT", &ban(&ada), json!({}), 403).await;
    let mut eves = server.open().await;
    eves.connect(&eve.token).await.unwrap();
    eves.subscribe("chat:open").await;
    bob.does(&server, "PUT", &ban(&eve), json!({"reason": "noise"}), 201).await;
    assert_eq!(eves.unsubscribed().await.code, "banned");
    eve.does(&server, "PUT", "/v1/channels/chat:open/membership", Value::Null, 403).await;
    assert_eq!(eves.subscribe_with("chat:open", None, None).await.unwrap_err().code, "banned");
    bob.does(&server, "DELETE", &ban(&eve), Value::Null, 204).await;
    eve.does(&server, "PUT", "/v1/channels/chat:open/membership", Value::Null, 201).await;
    // Whoever moderates is noted.
    let said = eve.does(&server, "POST", "/v1/channels/chat:open/messages", json!({"payload": "noise"}), 201).await.json();
    let message = format!("/v1/channels/chat:open/messages/{}", said["seq"]);
    assert_eq!(bob.ask_with(&server, "DELETE", &message, Value::Null, &[("if-match", "\"9\"")]).await.status, 412);
    bob.does(&server, "DELETE", &message, Value::Null, 204).await;
    let log = first.does(&server, "GET", "/v1/audit?filter=action:eq:message.deleted", Value::Null, 200).await.json();
    let noted: Vec<_> = log["items"].as_array().unwrap().iter().map(|one| (text(&one["actor"]), &one["detail"]["publisher"])).collect();
    assert_eq!(noted, [(&*bob.id, &json!(eve.id))]);
    // The instance's owner is an admin everywhere; others are not.
    assert_eq!(first.ask_with(&server, "PATCH", &of(&eve), json!({"role": "guest"}), &any).await.status, 200);
    eve.does(&server, "POST", "/v1/channels/chat:open/messages", json!({"payload": 1}), 403).await;
    eve.does(&server, "GET", "/v1/audit", Value::Null, 403).await;
    let log = first.does(&server, "GET", "/v1/audit?filter=channel:eq:chat%3Aopen,action:prefix:member.", Value::Null, 200).await.json();
    let deeds: Vec<_> = log["items"].as_array().unwrap().iter().map(|one| text(&one["action"])).collect();
    assert_eq!(deeds[..4], ["member.changed", "member.joined", "member.unbanned", "member.banned"]);
    // Of a change it is noted what it was.
    assert_eq!(ada.ask_with(&server, "PATCH", "/v1/channels/chat:open", json!({"topic": "tea", "data": {"a": 1}}), &any).await.status, 200);
    let log = first.does(&server, "GET", "/v1/audit?filter=action:eq:channel.changed", Value::Null, 200).await.json();
    assert_eq!(log["items"][0]["detail"], json!({"topic": "tea", "data": "changed"}));
    // All that he may see, and no more: what others say to each other alone is not there, by whatever door.
    ada.does(&server, "POST", "/v1/channels", json!({"name": "chat:closed", "title": "Closed"}), 201).await;
    let between = ada.does(&server, "POST", "/v1/direct-channels", json!({"users": [bob.id]}), 201).await.json();
    first.does(&server, "GET", &format!("/v1/channels/{}", text(&between["name"])), Value::Null, 404).await;
    let all = first.does(&server, "GET", "/v1/channels?all=true&sort=name", Value::Null, 200).await.json();
    let names: Vec<_> = all["items"].as_array().unwrap().iter().map(|one| text(&one["name"])).collect();
    assert_eq!(names, ["chat:closed", "chat:open"]);
    // Deleted and brought back.
    ada.does(&server, "DELETE", "/v1/channels/chat:open", Value::Null, 204).await;
    bob.does(&server, "GET", "/v1/channels/chat:open", Value::Null, 404).await;
    bob.does(&server, "POST", "/v1/channels/chat:open/restore", Value::Null, 404).await;
    ada.does(&server, "POST", "/v1/channels/chat:open/restore", Value::Null, 200).await;
    bob.does(&server, "GET", "/v1/channels/chat:open", Value::Null, 200).await;
    eves.leave().await;
}

async fn a_backend_acts_as_far_as_its_key_goes(pair: Pair) {
    let server = pair.server_with(CHEAP).await;
    let (ada, bob) = (person(&server, "ada").await, person(&server, "bob").await);
    bob.does(&server, "POST", "/v1/api-keys", json!({"name": "x", "scopes": ["publish"]}), 403).await;
    let twice = json!({"name": "bot", "scopes": ["publish", "publish"]});
    let twice = ada.does(&server, "POST", "/v1/api-keys", twice, 422).await.json();
    assert_eq!((text(&twice["errors"][0]["code"]), text(&twice["errors"][0]["pointer"])), ("not_unique", "/scopes"));
    let new = json!({"name": "bot", "scopes": ["publish", "presence"], "channels": ["chat:*", "room:*"]});
    let made = ada.does(&server, "POST", "/v1/api-keys", new, 201).await.json();
    let bot = Person { id: String::new(), token: text(&made["key"]).to_owned() };
    bob.does(&server, "POST", "/v1/channels", json!({"name": "chat:b", "title": "B"}), 201).await;
    let messages = json!({"messages": [
        {"channel": "chat:b", "payload": 1}, {"channel": "secret:1", "payload": 2}, {"channel": "room:1", "payload": 3}, {"channel": "no/name", "payload": 4},
    ]});
    let results = bot.does(&server, "POST", "/v1/server/publish", messages, 200).await.json();
    let codes: Vec<_> = results["results"].as_array().unwrap().iter().map(|one| one["error"]["code"].as_str()).collect();
    assert_eq!(codes, [None, Some("forbidden"), None, Some("channel_invalid")]);
    assert_eq!(results["results"][0]["seq"], 1);
    // Somebody's own channel is there when a backend has something to say.
    let own = json!({"name": "postman", "scopes": ["publish"], "channels": ["user:*"]});
    let twice = ada.ask_with(&server, "POST", "/v1/api-keys", own.clone(), &[("idempotency-key", "k")]).await;
    assert_eq!(twice.status, 400, "it could not be shown again");
    let postman = ada.does(&server, "POST", "/v1/api-keys", own, 201).await.json();
    let postman = Person { id: String::new(), token: text(&postman["key"]).to_owned() };
    let (his, nobodys) = (format!("user:{}", bob.id), "user:nobody");
    let messages = json!({"messages": [{"channel": his, "payload": "hello"}, {"channel": nobodys, "payload": 1}]});
    ada.does(&server, "POST", "/v1/server/publish", messages.clone(), 200).await;
    assert_eq!(bob.get(&server, &format!("/v1/channels/{his}")).await.status, 404, "an admin is no backend");
    let results = postman.does(&server, "POST", "/v1/server/publish", messages, 200).await.json();
    assert_eq!((&results["results"][0]["seq"], text(&results["results"][1]["error"]["code"])), (&json!(1), "not_found"));
    let read = bob.does(&server, "GET", &format!("/v1/channels/{his}/messages"), Value::Null, 200).await.json();
    assert_eq!(read["messages"][0]["payload"], "hello");
    bot.does(&server, "POST", "/v1/server/disconnect", json!({"users": [bob.id]}), 403).await;
    bot.does(&server, "GET", "/v1/audit", Value::Null, 403).await;
    bot.does(&server, "POST", "/v1/api-keys", json!({"name": "y", "scopes": ["publish"]}), 403).await;
    let mut bobs = server.open().await;
    bobs.connect(&bob.token).await.unwrap();
    bobs.subscribe("chat:b").await;
    let cut = json!({"subscriptions": [{"user": bob.id, "channel": "chat:b"}]});
    ada.does(&server, "POST", "/v1/server/unsubscribe", cut, 200).await;
    assert_eq!(bobs.unsubscribed().await.code, "forbidden");
    ada.does(&server, "POST", "/v1/server/disconnect", json!({"users": [bob.id]}), 200).await;
    assert_eq!(bobs.closed().await.1, Some(4403));
    let info = ada.does(&server, "GET", "/v1/server/info", Value::Null, 200).await.json();
    assert_eq!(info["instances"], 1);
    ada.does(&server, "DELETE", &format!("/v1/api-keys/{}", text(&made["id"])), Value::Null, 204).await;
    bot.does(&server, "POST", "/v1/server/publish", json!({"messages": [{"channel": "room:1", "payload": 1}]}), 401).await;
}

/// A login that was stolen does not come back with its user.
async fn who_is_let_in_again_logs_in_again(pair: Pair) {
    let server = pair.server_with(CHEAP).await;
    let ada = person(&server, "ada").await;
    let made = register(&server, "bob").await;
    let bob = text(&made["user"]["id"]).to_owned();
    let user = format!("/v1/users/{bob}");
    let change = async |change: Value| {
        let version = ada.get(&server, &user).await;
        let tag = version.header("etag").unwrap().to_owned();
        let changed = ada.ask_with(&server, "PATCH", &user, change, &[("If-Match", &tag)]).await;
        assert_eq!(changed.status, 200, "{}", changed.body);
    };
    for round in ["blocked", "deleted"] {
        let login = log_in(&server, "bob", PASSWORD).await.json();
        let session = Person { id: bob.clone(), token: text(&login["access_token"]).to_owned() };
        session.does(&server, "GET", "/v1/me", Value::Null, 200).await;
        match round {
            "blocked" => {
                change(json!({"blocked": true})).await;
                change(json!({"blocked": false})).await;
            }
            _ => {
                ada.does(&server, "DELETE", &user, Value::Null, 204).await;
                ada.does(&server, "POST", &format!("{user}/restore"), Value::Null, 200).await;
            }
        }
        session.does(&server, "GET", "/v1/me", Value::Null, 401).await;
        session.does(&server, "POST", "/v1/token", json!({"refresh_token": login["refresh_token"]}), 401).await;
    }
    assert_eq!(log_in(&server, "bob", PASSWORD).await.status, 200);
}

async fn lists_are_read_in_pages_and_as_rows(pair: Pair) {
    let server = pair.server_with(CHEAP).await;
    let ada = person(&server, "ada").await;
    for (name, title) in [("chat:1", "=one"), ("chat:2", "two"), ("chat:3", "two"), ("chat:4", "four")] {
        let room = json!({"name": name, "title": title, "visibility": "public"});
        ada.does(&server, "POST", "/v1/channels", room, 201).await;
    }
    ada.does(&server, "POST", "/v1/channels", json!({"name": "chat:hidden", "title": "two"}), 201).await;
    let mut seen = Vec::new();
    let mut path = "/v1/channels?limit=3&sort=title&fields=name,title".to_owned();
    loop {
        let answer = ada.does(&server, "GET", &path, Value::Null, 200).await;
        let page = answer.json();
        for item in page["items"].as_array().unwrap() {
            assert_eq!(item.as_object().unwrap().len(), 2);
            seen.push(text(&item["name"]).to_owned());
        }
        assert!(answer.header("link").unwrap().contains("rel=\"first\""));
        match page["links"]["next"].as_str() {
            Some(next) => path = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, ["chat:1", "chat:4", "chat:2", "chat:3"]);
    let two = ada.does(&server, "GET", "/v1/channels?filter=title:eq:two&sort=-name", Value::Null, 200).await.json();
    assert_eq!(two["items"].as_array().unwrap().iter().map(|one| text(&one["name"])).collect::<Vec<_>>(), ["chat:3", "chat:2"]);
    let rows =
        ada.ask_with(&server, "GET", "/v1/channels?fields=name,title&sort=name&limit=1", Value::Null, &[("accept", "text/csv")]).await;
    let expected = "name,title\r\nchat:1,'=one\r\nchat:2,two\r\nchat:3,two\r\nchat:4,four\r\n";
    assert!(rows.body.contains(expected), "{}", rows.body);
    let lines = ada.ask_with(&server, "GET", "/v1/channels?fields=name", Value::Null, &[("accept", "application/x-ndjson")]).await;
    assert_eq!(lines.body.matches("{\"name\":").count(), 4);
    assert_eq!(lines.header("content-type"), Some("application/x-ndjson"));
}
