//! Who is there: members come and go, on whatever instance, and a dead connection leaves no ghost.

mod fleet;

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use hubbub_protocol::{
    ClientFrame, ErrorCode, ServerFrame,
    frame::{Channels, ErrorBody, Member, PresenceChange, PresencePage, PresenceRequest, SubscribeChannel, Subscribed},
    limits::MAX_MEMBERS,
};
use hubbub_server::auth::Action;

use crate::{
    http::{Request, request},
    support::{PATIENCE, Pair, Peer, Server, name, refused},
};

crate::over_every_transport_and_instance!(
    who_comes_and_goes_is_seen,
    a_reconnect_is_not_seen,
    every_end_of_a_subscription_is_a_leave,
    nothing_follows_an_unsubscribe,
    it_takes_a_grant_and_a_namespace_that_has_it,
);

// A thousand sockets, and REST.
mod by_socket {
    use super::{above_the_bound_there_are_counts_and_pages, by_http_it_is_the_same};

    crate::on_every_pair!(above_the_bound_there_are_counts_and_pages, by_http_it_is_the_same);
}

const ON: &[&str] = &["namespaces.room.presence=true"];

async fn attend(peer: &mut Peer, channel: &str) -> Result<Subscribed, ErrorBody> {
    let one = SubscribeChannel { channel: channel.to_owned(), presence: true, ..SubscribeChannel::default() };
    let result = peer.request(|id| ClientFrame::Subscribe { id, channels: vec![one] }).await?;
    let subscribed = result.read::<Channels<Subscribed>>().unwrap().channels.remove(0);
    subscribed.error.clone().map_or(Ok(subscribed), Err)
}

async fn page(peer: &mut Peer, channel: &str, after: Option<&str>, limit: Option<u32>) -> Result<PresencePage, ErrorBody> {
    let frame = |id| ClientFrame::Presence(PresenceRequest { id, channel: name(channel), after: after.map(str::to_owned), limit });
    Ok(peer.request(frame).await?.read().unwrap())
}

async fn change(peer: &mut Peer) -> PresenceChange {
    match peer.next().await {
        ServerFrame::Presence(change) => change,
        other => panic!("not a change of presence: {other:?}"),
    }
}

fn member(user: &str, connections: u32) -> Member {
    Member { user: user.to_owned(), connections }
}

/// A watcher's list, by the rules of PROTOCOL.md.
struct Watcher {
    peer: Peer,
    list: BTreeMap<String, u32>,
    count: u64,
    /// Who was said to have left.
    left: Vec<String>,
}

impl Watcher {
    async fn open(server: &Server, user: &str, channel: &str) -> Self {
        let mut peer = server.peer(user).await;
        let state = attend(&mut peer, channel).await.unwrap().presence.unwrap();
        let list = state.members.unwrap().into_iter().map(|member| (member.user, member.connections)).collect();
        Self { peer, list, count: state.count, left: Vec::new() }
    }

    fn users(&self) -> Vec<&str> {
        self.list.keys().map(String::as_str).collect()
    }

    /// Reads until the list is this.
    async fn until(&mut self, users: &[&str]) {
        while self.users() != users {
            let next = tokio::time::timeout(PATIENCE / 2, change(&mut self.peer)).await;
            let PresenceChange { count, joined, left, members, .. } = next.unwrap_or_else(|_| panic!("{:?} are not {users:?}", self.list));
            if let Some(members) = members {
                self.list = members.into_iter().map(|member| (member.user, member.connections)).collect();
            }
            left.iter().for_each(|user| _ = self.list.remove(user));
            self.left.extend(left);
            self.list.extend(joined.into_iter().map(|member| (member.user, member.connections)));
            self.count = count;
            assert_eq!(self.list.len() as u64, count);
        }
    }
}

async fn who_comes_and_goes_is_seen(pair: Pair) {
    let server = pair.server_with(ON).await;
    let mut alice = server.peer("alice").await;
    let state = attend(&mut alice, "room:1").await.unwrap().presence.unwrap();
    assert_eq!((state.count, state.members), (1, Some(vec![member("alice", 1)])), "whoever asks is there already");
    let mut bob = server.peer("bob").await;
    assert_eq!(bob.subscribe("room:1").await.presence, None);
    let joined = change(&mut alice).await;
    assert_eq!((joined.count, joined.joined, joined.left, joined.members), (2, vec![member("bob", 1)], vec![], None));
    let mut second = server.peer("bob").await;
    let state = attend(&mut second, "room:1").await.unwrap().presence.unwrap();
    assert_eq!(state.members, Some(vec![member("alice", 1), member("bob", 2)]), "two connections of one user are one member");
    bob.leave().await;
    let left = std::time::Instant::now();
    second.leave().await;
    let gone = change(&mut alice).await;
    assert_eq!((gone.count, gone.joined, gone.left), (1, vec![], vec!["bob".to_owned()]));
    assert!(left.elapsed() >= Duration::from_millis(950), "a second later");
}

async fn a_reconnect_is_not_seen(pair: Pair) {
    let server = pair.server_with(ON).await;
    let mut bob = server.peer("bob").await;
    bob.subscribe("room:1").await;
    let mut alice = Watcher::open(&server, "alice", "room:1").await;
    assert_eq!(alice.users(), ["alice", "bob"]);
    for _ in 0..3 {
        bob.leave().await;
        bob = server.peer("bob").await;
        bob.subscribe("room:1").await;
    }
    // Longer than bob would have had to leave.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let mut carol = server.peer("carol").await;
    carol.subscribe("room:1").await;
    alice.until(&["alice", "bob", "carol"]).await;
    assert_eq!(alice.left, [""; 0]);
}

async fn every_end_of_a_subscription_is_a_leave(pair: Pair) {
    let server = pair.server_with(ON).await;
    let mut watcher = Watcher::open(&server, "alice", "room:1").await;
    let mut peers = Vec::new();
    for user in ["bob", "carol", "dave"] {
        let mut peer = server.peer(user).await;
        peer.subscribe("room:1").await;
        peers.push(peer);
    }
    watcher.until(&["alice", "bob", "carol", "dave"]).await;
    let [mut bob, mut carol, dave]: [Peer; 3] = peers.try_into().unwrap_or_else(|_| unreachable!());
    bob.unsubscribe("room:1").await;
    watcher.until(&["alice", "carol", "dave"]).await;
    carol.refresh(&server.token_for("carol", 60, &[("room:2", &Action::ALL)])).await.unwrap();
    watcher.until(&["alice", "dave"]).await;
    // Without a Close frame.
    dave.leave().await;
    watcher.until(&["alice"]).await;
    assert_eq!(server.metric("hubbub_presence_members"), 1.0);
    // Whoever unsubscribed may come again.
    bob.subscribe("room:1").await;
    watcher.until(&["alice", "bob"]).await;
}

async fn nothing_follows_an_unsubscribe(pair: Pair) {
    let server = pair.server_with(ON).await;
    let mut alice = server.peer("alice").await;
    for round in 0..10 {
        attend(&mut alice, "room:1").await.unwrap();
        let mut bob = server.peer(&format!("bob-{round}")).await;
        bob.subscribe("room:1").await;
        if round % 2 == 0 {
            change(&mut alice).await;
        }
        let id = alice.next_id();
        alice.send(&[ClientFrame::Unsubscribe { id, channels: vec!["room:1".to_owned()] }]).await;
        loop {
            match alice.next().await {
                ServerFrame::Reply { id: of, .. } if of == id => break,
                ServerFrame::Presence(_) => {}
                other => panic!("{other:?}"),
            }
        }
        let id = alice.next_id();
        alice.send(&[ClientFrame::Ping { id }]).await;
        assert!(matches!(alice.next().await, ServerFrame::Reply { id: of, .. } if of == id));
    }
}

async fn it_takes_a_grant_and_a_namespace_that_has_it(pair: Pair) {
    let server = pair.server_with(ON).await;
    let mut alice = server.peer("alice").await;
    refused(attend(&mut alice, "desk:1").await, ErrorCode::PresenceDisabled);
    refused(page(&mut alice, "desk:1", None, None).await, ErrorCode::PresenceDisabled);
    alice.subscribe("desk:1").await;
    let mut bob = server.open().await;
    bob.connect(&server.token_for("bob", 60, &[("*", &[Action::Subscribe, Action::History, Action::Publish])])).await.unwrap();
    refused(attend(&mut bob, "room:1").await, ErrorCode::Forbidden);
    refused(page(&mut bob, "room:1", None, None).await, ErrorCode::Forbidden);
    // What was refused made nobody a member; to be one takes no grant but that to subscribe.
    assert_eq!(page(&mut alice, "room:1", None, None).await.unwrap().count, 0);
    bob.subscribe("room:1").await;
    // What is kept of a channel hears of changes within a moment.
    while page(&mut alice, "room:1", None, None).await.unwrap().members != [member("bob", 1)] {}
    assert_eq!(attend(&mut alice, "room:1").await.unwrap().presence.unwrap().count, 2);
}

async fn above_the_bound_there_are_counts_and_pages(pair: Pair) {
    const MORE: usize = 20;
    let server = pair.server_with(ON).await;
    let mut peers = Vec::new();
    for chunk in (0..MAX_MEMBERS + MORE).collect::<Vec<_>>().chunks(50) {
        let open = chunk.iter().map(|n| {
            let user = format!("user-{n:04}");
            let server = &server;
            async move {
                let mut peer = server.peer(&user).await;
                peer.subscribe("room:1").await;
                peer
            }
        });
        peers.extend(join_all(open).await);
    }
    let mut alice = server.peer("alice").await;
    let state = attend(&mut alice, "room:1").await.unwrap().presence.unwrap();
    assert_eq!(state.members, None);
    let everybody = (MAX_MEMBERS + MORE + 1) as u64;
    let mut count = state.count;
    while count != everybody {
        let change = change(&mut alice).await;
        assert!(change.joined.is_empty() && change.left.is_empty() && change.members.is_none(), "{change:?}");
        count = change.count;
    }
    let (mut after, mut users) = (None::<String>, Vec::new());
    loop {
        let page = page(&mut alice, "room:1", after.as_deref(), Some(300)).await.unwrap();
        assert_eq!(page.count, everybody);
        users.extend(page.members.into_iter().map(|member| member.user));
        after = users.last().cloned();
        if !page.more {
            break;
        }
    }
    assert_eq!(users.len() as u64, everybody);
    assert!(users.is_sorted(), "in byte order");
    // Down to the bound: the list is back.
    peers.truncate(MAX_MEMBERS - 1);
    let list = loop {
        if let Some(members) = change(&mut alice).await.members {
            break members;
        }
    };
    assert_eq!(list.len(), MAX_MEMBERS);
}

async fn by_http_it_is_the_same(pair: Pair) {
    let server = pair.server_with(ON).await;
    let get = async |path: &str, token: &str| request(server.address(), Request::get(path).with_token(token)).await;
    let token = server.token("alice");
    let mut peers = Vec::new();
    for user in ["anna", "bob", "bob", "zoë"] {
        let mut peer = server.peer(user).await;
        attend(&mut peer, "room:1").await.unwrap();
        peers.push(peer);
    }
    let all = get("/v1/channels/room%3A1/presence", &token).await;
    assert_eq!(all.status, 200);
    let of = |user: &str, connections: u32| serde_json::json!({"user": user, "connections": connections});
    assert_eq!(all.json(), serde_json::json!({"members": [of("anna", 1), of("bob", 2), of("zoë", 1)], "count": 3, "more": false}));
    let some = get("/v1/channels/room%3A1/presence?after=anna&limit=1", &token).await;
    assert_eq!(some.json(), serde_json::json!({"members": [of("bob", 2)], "count": 3, "more": true}));
    let nobody = get("/v1/channels/room%3Aother/presence", &token).await;
    assert_eq!(nobody.json(), serde_json::json!({"members": [], "count": 0, "more": false}));
    for (path, status, code) in [
        ("/v1/channels/desk%3A1/presence", 409, "presence_disabled"),
        ("/v1/channels/room%3A1/presence?limit=0", 422, "invalid"),
        ("/v1/channels/room%3A1/presence?limit=1001", 422, "invalid"),
        ("/v1/channels/room%3A1/presence?before=x", 422, "invalid"),
    ] {
        let answer = get(path, &token).await;
        assert_eq!((answer.status, &answer.json()["code"]), (status, &code.into()), "{path}");
    }
    let other = server.token_for("bob", 60, &[("room:1", &[Action::Subscribe])]);
    assert_eq!(get("/v1/channels/room%3A1/presence", &other).await.status, 403);
}
