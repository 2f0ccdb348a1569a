//! Each operation as a request: its path filled in, its body, and what has to be there before.

use serde_json::{Value, json};

use super::{
    cast::{Caller, Cast, PASSWORDS},
    table::Row,
};
use crate::{
    accounts::{register, text},
    http::{Answer, Request, request},
    resources::Person,
};

/// One cell.
pub struct Cell<'a> {
    pub row: &'a Row,
    pub caller: &'static str,
    /// Its own number, and that of its channel.
    pub number: usize,
}

/// What is asked, ready to be asked by anybody.
struct Asked {
    path: String,
    body: Value,
}

impl Cell<'_> {
    /// Asks over REST.
    pub async fn by_rest(&self, cast: &Cast<'_>) -> Answer {
        let caller = if self.uses_up() { cast.double(self.caller, self.number).await } else { cast.caller(self.caller).clone() };
        let asked = self.prepare(cast, &caller).await;
        self.send(cast, &caller, &asked).await
    }

    /// The same about a channel that nobody made.
    pub async fn by_rest_about_nothing(&self, cast: &Cast<'_>) -> Answer {
        let caller = cast.caller(self.caller);
        let (_, user) = self.user(cast, caller);
        let path = self.row.what.replace("{channel}", &format!("chat:none-{}", self.number)).replace("{user}", &user).replace("{seq}", "1");
        self.send(cast, caller, &Asked { path, body: self.body(cast, &user, "") }).await
    }

    async fn send(&self, cast: &Cast<'_>, caller: &Caller, asked: &Asked) -> Answer {
        let body = if asked.body.is_null() { String::new() } else { asked.body.to_string() };
        let mut asking = Request::of(&self.row.method, &asked.path, &body);
        if let Some(token) = &caller.token {
            asking = asking.with_token(token);
        }
        if matches!(&*self.row.method, "PUT" | "PATCH") {
            asking = asking.with("if-match", "*");
        }
        request(cast.server.address(), asking).await
    }

    pub fn channel(&self) -> String {
        format!("chat:{}", self.number)
    }

    /// Whether whoever does it is not let in any more, or not by the same login.
    fn uses_up(&self) -> bool {
        match &*self.row.operation() {
            "POST /v1/logout" | "PUT /v1/me/password" | "DELETE /v1/sessions" => true,
            "DELETE /v1/sessions/{id}" | "DELETE /v1/users/{user}" => self.row.is("own"),
            _ => false,
        }
    }

    /// Fills the path in, and makes what it names.
    async fn prepare(&self, cast: &Cast<'_>, caller: &Caller) -> Asked {
        let (row, channel) = (self.row, self.channel());
        let (of_channel, user) = self.user(cast, caller);
        let mut path = row.what.replace("{channel}", &channel).replace("{user}", &user);
        if path.contains("{seq}") {
            path = path.replace("{seq}", &self.message(cast, caller).await);
        }
        if path.contains("{key}") {
            let new = json!({"name": "k", "scopes": ["publish"]});
            let key = cast.ruler.does(cast.server, "POST", "/v1/api-keys", new, 201).await.json();
            path = path.replace("{key}", text(&key["id"]));
        }
        if path.contains("/sessions/{id}") {
            let own = caller.session.as_ref().filter(|_| row.is("own"));
            path = path.replace("{id}", own.unwrap_or(&cast.session));
        } else if path.contains("{id}") {
            path = path.replace("{id}", &self.upload(cast, caller).await);
        }
        if row.operation() == "POST /v1/uploads" {
            path += if path.contains('?') { "&name=a.txt" } else { "?name=a.txt" };
        }
        let mut refresh = String::new();
        // Tries of one account that come at once count as failures until they succeed: each has its own.
        if ["/v1/login", "/v1/token"].contains(&&*row.what) {
            refresh = text(&register(cast.server, &format!("new-{}", self.number)).await["refresh_token"]).to_owned();
        }
        let body = self.body(cast, if of_channel { &user } else { &caller.id }, &refresh);
        Asked { path, body }
    }

    /// Whom it is about, and whether that is somebody in a channel.
    fn user(&self, cast: &Cast<'_>, caller: &Caller) -> (bool, String) {
        let row = self.row;
        let user = match (row.is_in_channel(), row.is("own")) {
            (_, true) => caller.id.clone(),
            (true, _) if row.what.ends_with("/bans/{user}") && row.method != "PUT" => cast.outlaw.id.clone(),
            (true, _) => cast.victim.id.clone(),
            (false, _) => format!("target-{}", self.number),
        };
        (row.is_in_channel(), user)
    }

    /// A message in the cell's channel: one's own as far as one may publish there.
    async fn message(&self, cast: &Cast<'_>, caller: &Caller) -> String {
        let path = format!("/v1/channels/{}/messages", self.channel());
        if self.row.is("own") {
            let said = caller.person().ask(cast.server, "POST", &path, json!({"payload": 1})).await;
            if said.status == 201 {
                return said.json()["seq"].to_string();
            }
        }
        cast.victim.does(cast.server, "POST", &path, json!({"payload": 1}), 201).await.json()["seq"].to_string()
    }

    /// An upload: one's own as far as one may have any, or the victim's, in the cell's channel or in none. Deleted if it is to be restored.
    async fn upload(&self, cast: &Cast<'_>, caller: &Caller) -> String {
        let place = if self.row.is_in_channel() { format!("&channel={}", self.channel()) } else { String::new() };
        let up = async |who: &Person| {
            let path = format!("/v1/uploads?name=a.txt{place}");
            request(cast.server.address(), Request::of("POST", &path, "text").with_token(&who.token)).await
        };
        let mut who = caller.person();
        let mut made = up(&who).await;
        if !self.row.is("own") || made.status != 201 {
            who = Person { id: cast.victim.id.clone(), token: cast.victim.token.clone() };
            made = up(&who).await;
        }
        assert_eq!(made.status, 201, "{}", made.body);
        let id = text(&made.json()["id"]).to_owned();
        if self.row.what.ends_with("/restore") {
            who.does(cast.server, "DELETE", &format!("/v1/uploads/{id}"), Value::Null, 204).await;
        }
        id
    }

    fn body(&self, cast: &Cast<'_>, user: &str, refresh: &str) -> Value {
        let (channel, number) = (self.channel(), self.number);
        match &*self.row.operation() {
            "POST /v1/accounts" | "POST /v1/login" => json!({"login": format!("new-{number}"), "password": PASSWORDS[0]}),
            "POST /v1/token" => json!({ "refresh_token": refresh }),
            "PUT /v1/me/password" => json!({"old": PASSWORDS[0], "new": PASSWORDS[1]}),
            "PATCH /v1/users/{user}" => match self.row.case.strip_prefix("to-") {
                Some(role) => json!({ "role": role }),
                None => json!({"name": format!("name {number}")}),
            },
            "POST /v1/api-keys" => json!({"name": "k", "scopes": ["publish"]}),
            "POST /v1/server/disconnect" => json!({"users": [format!("target-{number}")]}),
            "POST /v1/channels" => json!({"name": format!("chat:made-{number}"), "title": "T"}),
            "POST /v1/direct-channels" => json!({"users": [cast.newcomer.id]}),
            "PUT /v1/channels/{channel}" | "PATCH /v1/channels/{channel}" => json!({"title": "another"}),
            "POST /v1/channels/{channel}/members" => json!({"user": cast.newcomer.id}),
            "PATCH /v1/channels/{channel}/members/{user}" => json!({"role": "guest"}),
            "PUT /v1/channels/{channel}/bans/{user}" => json!({}),
            "POST /v1/channels/{channel}/messages"
            | "POST /v1/channels/{channel}/entries"
            | "PATCH /v1/channels/{channel}/messages/{seq}" => json!({"payload": 1}),
            "POST /v1/server/publish" => json!({"messages": [{"channel": channel, "payload": 1}]}),
            "POST /v1/server/broadcast" => json!({"channels": [channel], "payload": 1}),
            "POST /v1/server/presence" => json!({ "channels": [channel] }),
            "POST /v1/tickets" => json!({}),
            "POST /v1/guests" => json!({"name": "Ada"}),
            "POST /v1/server/subscribe" | "POST /v1/server/unsubscribe" => json!({"subscriptions": [{"user": user, "channel": channel}]}),
            "POST /v1/uploads" => json!("a file"),
            "PATCH /v1/uploads/{id}" => json!({"name": "b.txt"}),
            _ => Value::Null,
        }
    }
}
