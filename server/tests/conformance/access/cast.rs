//! Everybody who asks, and the channels that they ask about: one for each cell, so that none changes what another finds.

use hubbub_server::auth::Action;
use serde_json::{Value, json};

use super::table::{CALLERS, Row};
use crate::{
    accounts::{PASSWORD, register, text},
    resources::{Person, person},
    support::{Server, until},
};

/// Somebody who asks.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The column.
    pub name: &'static str,
    /// The user's id; that of somebody else for who is nobody.
    pub id: String,
    /// What is shown.
    pub token: Option<String>,
    /// The login that it came from.
    pub session: Option<String>,
}

/// Everybody, and what they ask about.
pub struct Cast<'a> {
    pub server: &'a Server,
    callers: Vec<Caller>,
    /// The instance's owner.
    pub ruler: Person,
    /// Who made the channels.
    pub owner: Person,
    /// An ordinary member of every channel, whom things happen to.
    pub victim: Person,
    /// A login of his.
    pub session: String,
    /// Somebody who is in none.
    pub newcomer: Person,
    /// Somebody who is banned from all.
    pub outlaw: Person,
}

/// Of the channel; who has joined as what.
const MEMBERS: [&str; 5] = ["guest", "member", "moderator", "admin", "owner"];
/// On the instance.
const ROLES: [(&str, &str); 3] = [("visitor", "guest"), ("i-mod", "moderator"), ("i-admin", "admin")];
const ANY: [(&str, &str); 1] = [("if-match", "*")];

impl<'a> Cast<'a> {
    /// Registers them, makes `cells` channels, and gives each of them a part.
    pub async fn gather(server: &'a Server, cells: &[(usize, &Row)]) -> Self {
        // The first of all owns the instance.
        let mut callers = Vec::new();
        for name in ["i-owner", "blocked", "banned", "visitor", "stranger", "invited", "i-mod", "i-admin"].into_iter().chain(MEMBERS) {
            callers.push(account(server, name, name).await);
        }
        let of = |name: &str| callers.iter().find(|caller: &&Caller| caller.name == name).unwrap();
        let (ruler, owner, member) = (of("i-owner").person(), of("owner").person(), of("member").clone());
        let victim = account(server, "victim", "victim").await;
        let (newcomer, outlaw) = (person(server, "newcomer").await, person(server, "outlaw").await);
        for (name, role) in ROLES {
            let path = format!("/v1/users/{}", of(name).id);
            assert_eq!(ruler.ask_with(server, "PATCH", &path, json!({ "role": role }), &ANY).await.status, 200);
        }
        let path = format!("/v1/users/{}", of("blocked").id);
        assert_eq!(ruler.ask_with(server, "PATCH", &path, json!({"blocked": true}), &ANY).await.status, 200);
        let forged = Caller { name: "bad", token: Some(format!("{}x", owner.token)), session: None, id: of("stranger").id.clone() };
        callers.push(Caller { name: "nobody", token: None, ..forged.clone() });
        callers.push(forged);
        let narrow = server.token_for(&member.id, 3_600, &[("*", &[Action::Subscribe])]);
        callers.push(Caller { name: "narrow", token: Some(narrow), ..member });
        let every: Vec<&str> = Action::ALL.iter().map(|action| action.as_str()).collect();
        for (name, scopes, channels) in [("key", &*every, "*"), ("unscoped", &["presence"], "*"), ("elsewhere", &*every, "other:*")] {
            let new = json!({"name": name, "scopes": scopes, "channels": [channels]});
            let made = ruler.does(server, "POST", "/v1/api-keys", new, 201).await.json();
            let id = format!("api-key:{}", text(&made["id"]));
            callers.push(Caller { name, id, token: Some(text(&made["key"]).to_owned()), session: None });
        }
        callers.sort_by_key(|caller| CALLERS.iter().position(|name| *name == caller.name));
        assert!(callers.iter().map(|caller| caller.name).eq(CALLERS));
        let session = victim.session.clone().unwrap();
        let cast = Self { server, callers, ruler, owner, victim: victim.person(), session, newcomer, outlaw };
        cast.furnish(cells).await;
        cast
    }

    /// Behind the server's back and at once: a few thousand requests less.
    async fn furnish(&self, cells: &[(usize, &Row)]) {
        let rooms: Vec<String> = cells
            .iter()
            .filter(|(_, row)| row.is_in_channel())
            .map(|(number, row)| {
                let visibility = if row.is("public") { "public" } else { "private" };
                // Not longer ago than it can be restored.
                let deleted = if row.is("deleted") { self.server.now().to_string() } else { "NULL".to_owned() };
                let by = &self.owner.id;
                format!("('chat:{number}', 'group', '{visibility}', 'T', '', '{{}}', '{by}', 6, 1, 1, 1, {deleted})")
            })
            .collect();
        let users: Vec<String> = cells
            .iter()
            .filter(|(_, row)| row.what.starts_with("/v1/users/{user}") && !row.is("own"))
            .map(|(number, row)| {
                let deleted = if row.what.ends_with("/restore") { "2" } else { "NULL" };
                format!("('target-{number}', 'Target', 'member', '{{}}', 0, 1, 1, 1, {deleted})")
            })
            .collect();
        let member = |id: &str, role: &str, state: &str| {
            format!(
                "INSERT INTO members (channel, user_id, role, state, version, created_at, updated_at)
                 SELECT channel, '{id}', '{role}', '{state}', 1, 1, 1 FROM rooms WHERE kind = 'group'"
            )
        };
        let ban = |id: &str| {
            format!(
                "INSERT INTO bans (channel, user_id, reason, banned_by, version, created_at)
                 SELECT channel, '{id}', '', 'x', 1, 1 FROM rooms WHERE kind = 'group'"
            )
        };
        let mut statements = vec![
            format!(
                "INSERT INTO rooms (channel, kind, visibility, title, topic, data, created_by, members, version, created_at, updated_at,
                 deleted_at) VALUES {}",
                rooms.join(", ")
            ),
            format!(
                "INSERT INTO users (id, name, role, data, tokens_from, version, created_at, updated_at, deleted_at) VALUES {}",
                users.join(", ")
            ),
            member(&self.victim.id, "member", "joined"),
            member(&self.caller("invited").id, "member", "invited"),
            member(&self.caller("banned").id, "member", "joined"),
            ban(&self.caller("banned").id),
            ban(&self.outlaw.id),
        ];
        statements.extend(MEMBERS.map(|role| member(&self.caller(role).id, role, "joined")));
        // Of a kind that nobody knows: whoever looks looks at everything.
        statements.push("UPDATE counters SET value = value + 1 WHERE name = 'rulings'".to_owned());
        statements.push(
            "INSERT INTO rulings (number, kind, created_at) SELECT value, 'everything', 1 FROM counters WHERE name = 'rulings'".to_owned(),
        );
        self.server.ground().execute(&statements.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let (number, _) = cells.iter().find(|(_, row)| row.is_in_channel()).unwrap();
        let (path, outlaw) = (format!("/v1/channels/chat:{number}"), &self.outlaw);
        until("everybody is known", async || outlaw.get(self.server, &path).await.body.contains("\"banned\"")).await;
    }

    pub fn caller(&self, name: &str) -> &Caller {
        self.callers.iter().find(|caller| caller.name == name).unwrap()
    }

    /// Another account of the same kind, for what uses an account up. Who has none, or none that is let in, is the same.
    pub async fn double(&self, name: &'static str, number: usize) -> Caller {
        let caller = self.caller(name);
        if caller.session.is_none() || name == "blocked" {
            return caller.clone();
        }
        let double = account(self.server, name, &format!("double-{number}")).await;
        let role = if name == "i-owner" { Some("owner") } else { ROLES.iter().find(|(of, _)| *of == name).map(|(_, role)| *role) };
        if let Some(role) = role {
            let path = format!("/v1/users/{}", double.id);
            assert_eq!(self.ruler.ask_with(self.server, "PATCH", &path, json!({ "role": role }), &ANY).await.status, 200);
        }
        match name {
            "narrow" => Caller { token: Some(self.server.token_for(&double.id, 3_600, &[("*", &[Action::Subscribe])])), ..double },
            _ => double,
        }
    }
}

impl Caller {
    /// As somebody who can ask over REST.
    pub fn person(&self) -> Person {
        Person { id: self.id.clone(), token: self.token.clone().unwrap_or_default() }
    }
}

async fn account(server: &Server, name: &'static str, login: &str) -> Caller {
    let made = register(server, login).await;
    let text = |value: &Value| text(value).to_owned();
    Caller { name, id: text(&made["user"]["id"]), token: Some(text(&made["access_token"])), session: Some(text(&made["session"])) }
}

/// Somebody's password, old and new.
pub const PASSWORDS: [&str; 2] = [PASSWORD, "staple of another colour"];
