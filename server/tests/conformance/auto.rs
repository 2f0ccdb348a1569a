//! Subscriptions that the server begins: of whoever asks for them everything of which he is a member, and nobody else's.

use std::time::{Duration, Instant};

use hubbub_protocol::{
    Cursor, ServerFrame,
    frame::{Auto, Since, Subscribed},
};
use hubbub_server::auth::Action;
use serde_json::{Value, json};

use crate::{
    accounts::CHEAP,
    resources::{Person, person},
    support::{PATIENCE, Pair, Peer, Server, json as payload, seq},
};

crate::over_every_transport_and_instance!(
    everything_of_which_one_is_a_member_begins,
    who_does_not_ask_gets_nothing,
    what_is_named_resumes_and_what_is_not_begins,
    what_the_client_ends_stays_ended,
    a_ban_ends_it_and_its_end_begins_nothing,
    a_backend_begins_subscriptions_each_with_its_own_result,
    as_much_begins_at_once_as_fits_the_outbox,
);

mod on_clusters {
    use super::{a_resume_elsewhere_loses_and_doubles_nothing, memberships_that_change_elsewhere_count_here};

    crate::in_every_cluster!(memberships_that_change_elsewhere_count_here, a_resume_elsewhere_loses_and_doubles_nothing);
}

mod on_pairs {
    use super::{
        a_membership_that_races_a_connect_begins_once, a_thousand_memberships_begin_in_time,
        what_began_unseen_begins_when_all_is_learned_anew, what_does_not_fit_is_told, what_is_said_after_a_join_is_heard,
    };

    crate::on_every_pair!(
        what_does_not_fit_is_told,
        a_thousand_memberships_begin_in_time,
        a_membership_that_races_a_connect_begins_once,
        what_began_unseen_begins_when_all_is_learned_anew,
        what_is_said_after_a_join_is_heard,
    );
}

/// Connects so that the server begins subscriptions.
async fn connects(server: &Server, who: &Person, auto: Auto) -> Peer {
    let mut peer = server.open().await;
    peer.connect_auto(&who.token, auto).await.unwrap();
    peer
}

fn since(channel: &str, seq: u64) -> Since {
    Since { channel: channel.to_owned(), cursor: Cursor { epoch: 1, seq } }
}

/// Behind everybody's back: `chat:1` and so on, the last one the newest.
async fn joins_many(server: &Server, who: &Person, count: u32) {
    let numbers = format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})");
    let rooms = format!(
        "INSERT INTO rooms (channel, kind, visibility, title, topic, data, created_by, members, version, created_at, updated_at)
         {numbers} SELECT 'chat:' || i, 'group', 'private', '', '', '{{}}', 'ada', 1, 1, 1, 1 FROM n"
    );
    let members = format!(
        "INSERT INTO members (channel, user_id, role, state, version, created_at, updated_at)
         {numbers} SELECT 'chat:' || i, '{}', 'member', 'joined', 1, i, i FROM n",
        who.id
    );
    server.ground().execute(&[&rooms, &members]).await;
}

async fn makes(server: &Server, who: &Person, channel: &str) {
    who.does(server, "POST", "/v1/channels", json!({"name": channel, "title": "T", "visibility": "public"}), 201).await;
}

async fn joins(server: &Server, who: &Person, channel: &str) {
    who.does(server, "PUT", &format!("/v1/channels/{channel}/membership"), Value::Null, 201).await;
}

async fn leaves(server: &Server, who: &Person, channel: &str) {
    who.does(server, "DELETE", &format!("/v1/channels/{channel}/members/{}", who.id), Value::Null, 204).await;
}

async fn says(server: &Server, who: &Person, channel: &str, text: &str) {
    who.does(server, "POST", &format!("/v1/channels/{channel}/messages"), json!({"payload": text}), 201).await;
}

/// The next thing is that this channel begins.
async fn begins(peer: &mut Peer, channel: &str) -> Subscribed {
    let subscribed = peer.subscribed().await;
    assert_eq!((subscribed.channel.as_str(), &subscribed.error), (channel, &None));
    subscribed
}

/// Nothing is there but an answer.
async fn is_silent(peer: &mut Peer) {
    let id = peer.next_id();
    peer.send(&[hubbub_protocol::ClientFrame::Ping { id }]).await;
    match peer.next().await {
        ServerFrame::Reply { id: of, .. } if of == id => {}
        other => panic!("{other:?}"),
    }
}

/// Ada's `chat:a`, which Bob has joined and hears.
struct Two {
    server: Server,
    ada: Person,
    bob: Person,
    bobs: Peer,
}

async fn two_in_a_room(pair: Pair) -> Two {
    let server = pair.server_with(CHEAP).await;
    let (ada, bob) = (person(&server, "ada").await, person(&server, "bob").await);
    makes(&server, &ada, "chat:a").await;
    joins(&server, &bob, "chat:a").await;
    let mut bobs = connects(&server, &bob, Auto::default()).await;
    begins(&mut bobs, &format!("user:{}", bob.id)).await;
    begins(&mut bobs, "chat:a").await;
    Two { server, ada, bob, bobs }
}

async fn everything_of_which_one_is_a_member_begins(pair: Pair) {
    let server = pair.server_with(CHEAP).await;
    let (ada, bob) = (person(&server, "ada").await, person(&server, "bob").await);
    for channel in ["chat:old", "chat:new", "chat:other"] {
        makes(&server, &ada, channel).await;
    }
    joins(&server, &bob, "chat:old").await;
    tokio::time::sleep(Duration::from_millis(2)).await;
    joins(&server, &bob, "chat:new").await;
    // To be asked in is not to be in.
    ada.does(&server, "POST", "/v1/channels/chat:other/members", json!({"user": bob.id}), 201).await;
    let mut bobs = connects(&server, &bob, Auto::default()).await;
    let own = format!("user:{}", bob.id);
    let begun = begins(&mut bobs, &own).await;
    assert_eq!((begun.durable, begun.recovered, begun.head.unwrap().seq), (true, None, 0));
    begins(&mut bobs, "chat:new").await;
    begins(&mut bobs, "chat:old").await;
    is_silent(&mut bobs).await;
    for channel in ["chat:other", "chat:old", "chat:new"] {
        says(&server, &ada, channel, channel).await;
    }
    for channel in ["chat:old", "chat:new"] {
        let entry = bobs.entry().await;
        assert_eq!((entry.channel.as_str(), seq(&entry), payload(&entry)), (channel, 1, json!(channel)));
    }
    assert_eq!(bobs.subscribe_with("chat:old", None, None).await.unwrap_err().code, "already_subscribed");
    let (again, other) = (connects(&server, &bob, Auto::default()).await, &mut bobs);
    let mut again = again;
    for channel in [&*own, "chat:new", "chat:old"] {
        begins(&mut again, channel).await;
    }
    is_silent(other).await;
    again.leave().await;
    bobs.leave().await;
}

async fn who_does_not_ask_gets_nothing(pair: Pair) {
    let server = pair.server_with(CHEAP).await;
    let (ada, bob) = (person(&server, "ada").await, person(&server, "bob").await);
    makes(&server, &ada, "chat:a").await;
    let mut bobs = server.open().await;
    bobs.connect(&bob.token).await.unwrap();
    joins(&server, &bob, "chat:a").await;
    says(&server, &ada, "chat:a", "hello").await;
    is_silent(&mut bobs).await;
    assert_eq!(bobs.subscribe("chat:a").await.head.unwrap().seq, 1);
    assert_eq!(server.ground().count("SELECT count(*) FROM rooms WHERE kind = 'personal'").await, 0, "nothing is made for him");
    bobs.leave().await;
}

async fn what_is_named_resumes_and_what_is_not_begins(pair: Pair) {
    let server = pair.server_with(CHEAP).await;
    let (ada, bob) = (person(&server, "ada").await, person(&server, "bob").await);
    for channel in ["chat:a", "chat:b", "chat:secret"] {
        makes(&server, &ada, channel).await;
        says(&server, &ada, channel, "1").await;
        says(&server, &ada, channel, "2").await;
    }
    joins(&server, &bob, "chat:a").await;
    let named = vec![since("chat:a", 1), since("chat:secret", 1), since("demo:free", 0), since("no name!", 0)];
    let settings = Auto { since: named, presence: true, ..Auto::default() };
    let mut bobs = connects(&server, &bob, settings).await;
    begins(&mut bobs, &format!("user:{}", bob.id)).await;
    let begun = begins(&mut bobs, "chat:a").await;
    assert_eq!((begun.recovered, begun.from, begun.to), (Some(true), Some(2), Some(2)));
    assert_eq!(begun.presence.unwrap().count, 1);
    let mut refused = Vec::new();
    let mut entries = Vec::new();
    while refused.len() < 3 || entries.is_empty() {
        match bobs.next().await {
            ServerFrame::Subscribed(one) => refused.push((one.channel, one.error.unwrap().code)),
            ServerFrame::Entry(entry) => entries.push((entry.channel.as_str().to_owned(), seq(&entry))),
            other => panic!("{other:?}"),
        }
    }
    let expected = [("chat:secret", "forbidden"), ("demo:free", "forbidden"), ("no name!", "channel_invalid")];
    assert_eq!(refused, expected.map(|(channel, code)| (channel.to_owned(), code.to_owned())), "what is named is answered");
    assert_eq!(entries, [("chat:a".to_owned(), 2)]);
    bobs.leave().await;
}

async fn what_the_client_ends_stays_ended(pair: Pair) {
    let Two { server, ada, bob, mut bobs } = two_in_a_room(pair).await;
    bobs.unsubscribe("chat:a").await;
    // Another one's membership, and the room itself.
    let eve = person(&server, "eve").await;
    joins(&server, &eve, "chat:a").await;
    says(&server, &ada, "chat:a", "unheard").await;
    is_silent(&mut bobs).await;
    leaves(&server, &bob, "chat:a").await;
    joins(&server, &bob, "chat:a").await;
    assert_eq!(begins(&mut bobs, "chat:a").await.head.unwrap().seq, 1, "from now on");
    says(&server, &ada, "chat:a", "heard").await;
    assert_eq!(seq(&bobs.entry().await), 2);
    bobs.leave().await;
}

async fn a_ban_ends_it_and_its_end_begins_nothing(pair: Pair) {
    let Two { server, ada, bob, mut bobs } = two_in_a_room(pair).await;
    let ban = format!("/v1/channels/chat:a/bans/{}", bob.id);
    let banned = ada.ask(&server, "PUT", &ban, json!({"reason": "spam"})).await;
    assert!(banned.status < 300, "{}", banned.body);
    assert_eq!(bobs.unsubscribed().await.code, "banned");
    let mut again = connects(&server, &bob, Auto::default()).await;
    begins(&mut again, &format!("user:{}", bob.id)).await;
    is_silent(&mut again).await;
    ada.does(&server, "DELETE", &ban, Value::Null, 204).await;
    is_silent(&mut bobs).await;
    // Who is banned is a member no more: once let in again, he has to join.
    joins(&server, &bob, "chat:a").await;
    begins(&mut bobs, "chat:a").await;
    begins(&mut again, "chat:a").await;
    again.leave().await;
    bobs.leave().await;
}

async fn memberships_that_change_elsewhere_count_here(pair: Pair) {
    let [a, b] = pair.fleet_with(CHEAP).await;
    let (ada, bob) = (person(&a, "ada").await, person(&a, "bob").await);
    let mut bobs = connects(&b, &bob, Auto::default()).await;
    begins(&mut bobs, &format!("user:{}", bob.id)).await;
    makes(&a, &ada, "chat:a").await;
    ada.does(&a, "POST", "/v1/channels/chat:a/members", json!({"user": bob.id}), 201).await;
    let before = Instant::now();
    joins(&a, &bob, "chat:a").await;
    begins(&mut bobs, "chat:a").await;
    assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
    says(&a, &ada, "chat:a", "welcome").await;
    assert_eq!(payload(&bobs.entry().await), json!("welcome"));
    // Somebody writes to him for the first time.
    let direct = ada.does(&a, "POST", "/v1/direct-channels", json!({"users": [bob.id]}), 201).await.json();
    let direct = direct["name"].as_str().unwrap().to_owned();
    says(&a, &ada, &direct, "hush").await;
    begins(&mut bobs, &direct).await;
    let first = bobs.entry().await;
    assert_eq!((first.channel.as_str(), seq(&first), payload(&first)), (&*direct, 1, json!("hush")));
    leaves(&a, &bob, "chat:a").await;
    match bobs.next().await {
        ServerFrame::Unsubscribed { channel, .. } => assert_eq!(channel.as_str(), "chat:a"),
        other => panic!("{other:?}"),
    }
    joins(&a, &bob, "chat:a").await;
    begins(&mut bobs, "chat:a").await;
    bobs.leave().await;
}

/// While somebody talks all the time, each connection is killed somewhere in the middle.
async fn a_resume_elsewhere_loses_and_doubles_nothing(pair: Pair) {
    const LAST: u64 = 400;
    let fleet: [Server; 2] = pair.fleet_with(CHEAP).await;
    let (ada, bob) = (person(&fleet[0], "ada").await, person(&fleet[0], "bob").await);
    for channel in ["chat:a", "chat:b"] {
        makes(&fleet[0], &ada, channel).await;
        joins(&fleet[0], &bob, channel).await;
    }
    let mut adas = fleet[0].open().await;
    adas.connect(&ada.token).await.unwrap();
    let talk = async {
        for n in 0..LAST / 20 {
            for _ in 0..20 {
                adas.publish("chat:a", &n.to_string()).await;
                adas.publish("chat:b", &n.to_string()).await;
            }
        }
    };
    let listen = async {
        let (mut seen, mut round) = ([0_u64; 2], 0_usize);
        while seen != [LAST; 2] {
            let named = vec![since("chat:a", seen[0]), since("chat:b", seen[1])];
            let mut bobs = connects(&fleet[round % 2], &bob, Auto { since: named, ..Auto::default() }).await;
            let mut left = if round < 8 { 30 + 10 * round } else { usize::MAX };
            while left > 0 && seen != [LAST; 2] {
                match bobs.next().await {
                    ServerFrame::Subscribed(one) if one.channel.starts_with("chat:") => {
                        assert_eq!((one.error, one.recovered), (None, Some(true)), "{}", one.channel);
                    }
                    ServerFrame::Subscribed(_) => {}
                    ServerFrame::Entry(entry) => {
                        let at = usize::from(entry.channel.as_str() == "chat:b");
                        assert_eq!(seq(&entry), seen[at] + 1, "{}", entry.channel.as_str());
                        seen[at] += 1;
                        left -= 1;
                    }
                    other => panic!("{other:?}"),
                }
            }
            // Without a goodbye.
            drop(bobs);
            round += 1;
        }
        assert!(round > 8);
    };
    let both = async { tokio::join!(talk, listen) };
    tokio::time::timeout(3 * PATIENCE, both).await.expect("everything arrives");
}

async fn what_does_not_fit_is_told(pair: Pair) {
    let server = pair.server_with(&[CHEAP, &["session.subscriptions=3"]].concat()).await;
    let bob = person(&server, "bob").await;
    for n in 0..5 {
        makes(&server, &bob, &format!("chat:{n}")).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let mut bobs = connects(&server, &bob, Auto::default()).await;
    begins(&mut bobs, &format!("user:{}", bob.id)).await;
    for channel in ["chat:4", "chat:3"] {
        begins(&mut bobs, channel).await;
    }
    for channel in ["chat:2", "chat:1", "chat:0"] {
        let refused = bobs.subscribed().await;
        assert_eq!((refused.channel.as_str(), &*refused.error.unwrap().code), (channel, "too_many_subscriptions"));
    }
    bobs.unsubscribe("chat:4").await;
    bobs.subscribe("chat:0").await;
}

async fn a_thousand_memberships_begin_in_time(pair: Pair) {
    let server = pair.server_with(CHEAP).await;
    let bob = person(&server, "bob").await;
    joins_many(&server, &bob, 1_000).await;
    let before = Instant::now();
    let mut bobs = connects(&server, &bob, Auto::default()).await;
    begins(&mut bobs, &format!("user:{}", bob.id)).await;
    for n in (490..=1_000).rev() {
        begins(&mut bobs, &format!("chat:{n}")).await;
    }
    // 1,023 beside the personal one were looked at: as many again as fit.
    for n in (1..490).rev() {
        let refused = bobs.subscribed().await;
        assert_eq!((refused.channel, &*refused.error.unwrap().code), (format!("chat:{n}"), "too_many_subscriptions"));
    }
    is_silent(&mut bobs).await;
    assert!(before.elapsed() < PATIENCE / 2, "{:?}", before.elapsed());
}

async fn a_membership_that_races_a_connect_begins_once(pair: Pair) {
    let server = pair.server_with(CHEAP).await;
    let (ada, bob) = (person(&server, "ada").await, person(&server, "bob").await);
    for round in 0..24_u64 {
        let channel = format!("chat:{round}");
        makes(&server, &ada, &channel).await;
        let connect = async {
            tokio::time::sleep(Duration::from_micros(rand::random_range(0..20_000))).await;
            connects(&server, &bob, Auto::default()).await
        };
        let join = async {
            tokio::time::sleep(Duration::from_micros(rand::random_range(0..20_000))).await;
            joins(&server, &bob, &channel).await;
        };
        let (mut bobs, ()) = tokio::join!(connect, join);
        let mut begun = Vec::new();
        while begun.len() < round as usize + 2 {
            begun.push(bobs.subscribed().await.channel);
        }
        assert!(begun.contains(&channel), "{begun:?}");
        says(&server, &ada, &channel, "hello").await;
        let entry = bobs.entry().await;
        assert_eq!((entry.channel.as_str(), seq(&entry)), (&*channel, 1), "once");
    }
}

async fn a_backend_begins_subscriptions_each_with_its_own_result(pair: Pair) {
    let server = pair.server_with(CHEAP).await;
    // The first one owns the instance, and counts as an admin in its groups.
    let (ada, bob, eve) = (person(&server, "ada").await, person(&server, "bob").await, person(&server, "eve").await);
    makes(&server, &bob, "chat:a").await;
    joins(&server, &eve, "chat:a").await;
    says(&server, &bob, "chat:a", "1").await;
    says(&server, &bob, "chat:a", "2").await;
    let (mut eves, mut bobs) = (connects(&server, &eve, Auto::default()).await, connects(&server, &bob, Auto::default()).await);
    let mut silent = server.open().await;
    silent.connect(&eve.token).await.unwrap();
    for (peer, who) in [(&mut eves, &eve), (&mut bobs, &bob)] {
        begins(peer, &format!("user:{}", who.id)).await;
        begins(peer, "chat:a").await;
        peer.unsubscribe("chat:a").await;
    }
    let mut outsider = server.open().await;
    outsider.connect_auto(&server.token_for("zoe", 60, &[("demo:*", &[Action::Subscribe])]), Auto::default()).await.unwrap();
    let key = json!({"name": "backend", "scopes": ["moderate"], "channels": ["chat:*", "demo:*"]});
    let key = ada.does(&server, "POST", "/v1/api-keys", key, 201).await.json();
    let backend = Person { id: String::new(), token: key["key"].as_str().unwrap().to_owned() };
    let wanted = json!({"subscriptions": [
        {"user": eve.id, "channel": "chat:a", "since": {"epoch": 1, "seq": 1}},
        {"user": bob.id, "channel": "chat:a"},
        {"user": "zoe", "channel": "chat:a"},
        {"user": "zoe", "channel": "demo:1"},
        {"user": bob.id, "channel": "demo:1"},
        {"user": bob.id, "channel": "room:1"},
        {"user": bob.id, "channel": "no name!"},
    ]});
    let results = backend.does(&server, "POST", "/v1/server/subscribe", wanted.clone(), 200).await.json();
    let codes: Vec<_> = results["results"].as_array().unwrap().iter().map(|one| one["error"]["code"].as_str()).collect();
    assert_eq!(codes, [None, None, Some("forbidden"), None, None, Some("forbidden"), Some("channel_invalid")]);
    let begun = begins(&mut eves, "chat:a").await;
    assert_eq!((begun.recovered, begun.from, begun.to), (Some(true), Some(2), Some(2)));
    assert_eq!(payload(&eves.entry().await), json!("2"));
    assert_eq!(begins(&mut bobs, "chat:a").await.recovered, None);
    begins(&mut outsider, "demo:1").await;
    for peer in [&mut eves, &mut bobs, &mut silent, &mut outsider] {
        is_silent(peer).await;
    }
    ada.does(&server, "POST", "/v1/server/subscribe", json!({"subscriptions": []}), 422).await;
    eve.does(&server, "POST", "/v1/server/subscribe", wanted, 200).await;
    // What a backend ends it may begin again.
    let one = json!({"subscriptions": [{"user": eve.id, "channel": "chat:a"}]});
    backend.does(&server, "POST", "/v1/server/unsubscribe", one.clone(), 200).await;
    assert_eq!(eves.unsubscribed().await.code, "forbidden");
    says(&server, &bob, "chat:a", "3").await;
    backend.does(&server, "POST", "/v1/server/subscribe", one, 200).await;
    assert_eq!(begins(&mut eves, "chat:a").await.from, Some(3), "where it ended");
    for peer in [eves, bobs, silent, outsider] {
        peer.leave().await;
    }
}

async fn as_much_begins_at_once_as_fits_the_outbox(pair: Pair) {
    let server = pair.server_with(&[CHEAP, &["session.outbox=16KiB", "channel.payload=4KiB"]].concat()).await;
    let bob = person(&server, "bob").await;
    joins_many(&server, &bob, 300).await;
    let mut bobs = server.open_slowly().await;
    bobs.connect_auto(&bob.token, Auto::default()).await.unwrap();
    // Whoever does not read is waited for: not more than fits begins, however long that takes.
    tokio::time::sleep(Duration::from_millis(300)).await;
    begins(&mut bobs, &format!("user:{}", bob.id)).await;
    for n in (1..=300).rev() {
        begins(&mut bobs, &format!("chat:{n}")).await;
    }
    is_silent(&mut bobs).await;
    bobs.leave().await;
}

async fn what_began_unseen_begins_when_all_is_learned_anew(pair: Pair) {
    let server = pair.server_with(CHEAP).await;
    let (ada, bob) = (person(&server, "ada").await, person(&server, "bob").await);
    for channel in ["chat:kept", "chat:left"] {
        makes(&server, &ada, channel).await;
        joins(&server, &bob, channel).await;
    }
    let mut bobs = connects(&server, &bob, Auto::default()).await;
    for _ in 0..3 {
        assert_eq!(bobs.subscribed().await.error, None);
    }
    bobs.unsubscribe("chat:left").await;
    // Rulings are missing: whatever they said, it is read again.
    joins_many(&server, &bob, 2).await;
    server.ground().execute(&["UPDATE counters SET value = value + 7 WHERE name = 'rulings'"]).await;
    begins(&mut bobs, "chat:2").await;
    begins(&mut bobs, "chat:1").await;
    is_silent(&mut bobs).await;
    says(&server, &ada, "chat:left", "unheard").await;
    says(&server, &ada, "chat:kept", "heard").await;
    assert_eq!(bobs.entry().await.channel.as_str(), "chat:kept");
    is_silent(&mut bobs).await;
}

async fn what_is_said_after_a_join_is_heard(pair: Pair) {
    let server = pair.server_with(CHEAP).await;
    let (ada, bob) = (person(&server, "ada").await, person(&server, "bob").await);
    makes(&server, &ada, "chat:a").await;
    says(&server, &ada, "chat:a", "1").await;
    says(&server, &ada, "chat:a", "2").await;
    let mut bobs = connects(&server, &bob, Auto::default()).await;
    begins(&mut bobs, &format!("user:{}", bob.id)).await;
    // As if he had joined on an instance from which nobody hears at once.
    let now = server.now();
    let member = format!(
        "INSERT INTO members (channel, user_id, role, state, version, created_at, updated_at)
         VALUES ('chat:a', '{}', 'member', 'joined', 1, {now}, {now})",
        bob.id
    );
    server.ground().execute(&[&member]).await;
    says(&server, &ada, "chat:a", "welcome").await;
    let ruling = format!(
        "INSERT INTO rulings (number, kind, user_id, channel, subject, created_at)
         SELECT value, 'member', '{}', 'chat:a', '1:2', {now} FROM counters WHERE name = 'rulings'",
        bob.id
    );
    server.ground().execute(&["UPDATE counters SET value = value + 1 WHERE name = 'rulings'", &ruling]).await;
    let begun = begins(&mut bobs, "chat:a").await;
    assert_eq!((begun.recovered, begun.from, begun.to), (Some(true), Some(3), Some(3)));
    assert_eq!(payload(&bobs.entry().await), json!("welcome"));
    // By REST the ruling says the same.
    let eve = person(&server, "eve").await;
    joins(&server, &eve, "chat:a").await;
    let told = server.ground().count("SELECT count(*) FROM rulings WHERE kind = 'member' AND subject = '1:3'").await;
    assert_eq!(told, 1);
}
