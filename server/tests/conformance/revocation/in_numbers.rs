//! A thousand sockets of a hundred users over three instances: what is taken from one of them ends within a second of its commit, and
//! nothing of the others' does.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hubbub_protocol::ServerFrame;
use hubbub_server::store::standing::Change;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::Operator;
use crate::{
    accounts::CHEAP,
    http::{Request, request},
    resources::{Person, person},
    support::{PATIENCE, Pair, Peer, Server, Transport, eventually, until},
};

crate::on_nats_pairs!(whoever_looks_closes_the_sockets_in_a_second, a_kick_ends_the_subscriptions_in_a_second);

mod with_nats_cut {
    use super::{a_block_needs_no_nats, a_kick_needs_no_nats};
    use crate::support::Pair;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn sockets_are_closed_in_a_second() {
        a_block_needs_no_nats(Pair::NATS_POSTGRES.breakable()).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn subscriptions_end_in_a_second() {
        a_kick_needs_no_nats(Pair::NATS_POSTGRES.breakable()).await;
    }
}

const USERS: usize = 100;
/// Sockets of each.
const EACH: usize = 10;
const SECOND: Duration = Duration::from_secs(1);
/// With heartbeats in less than a peer's patience: most of these hear nothing else.
const SETTINGS: [&str; 3] = [CHEAP[0], CHEAP[1], "session.heartbeat=5s"];
const CHANNEL: &str = "chat:crowd";

/// What a socket was told, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    /// It was closed with this code.
    Closed(Option<u16>),
    /// Its subscription ended with this code.
    Unsubscribed(String),
    /// An entry came.
    Entry,
}

/// Everybody's sockets, all read at once, so that what is measured is the server.
struct Crowd {
    told: mpsc::UnboundedReceiver<(usize, Told, Instant)>,
}

fn user_name(number: usize) -> String {
    format!("user-{number}")
}

impl Crowd {
    /// Opens them, spread over the instances, and subscribes them to what there is to be subscribed to.
    async fn gather(fleet: &[Server], channel: Option<&str>) -> Self {
        let (tell, told) = mpsc::unbounded_channel();
        for user in 0..USERS {
            let name = user_name(user);
            let open = (0..EACH).map(|n| fleet[(user + n) % fleet.len()].peer_over(Transport::MSGPACK, &name));
            for mut peer in join_all(open).await {
                if let Some(channel) = channel {
                    peer.subscribe(channel).await;
                }
                tokio::spawn(listen(user, peer, tell.clone()));
            }
        }
        let crowd = Self { told };
        assert_eq!(connections(fleet), (USERS * EACH) as f64);
        crowd
    }

    /// The next `count` things that sockets are told: each is `expected`, and by `of` whom it may be. How long after `since` the last came.
    async fn all(&mut self, count: usize, expected: &Told, since: impl Fn(usize) -> Option<Instant>) -> Duration {
        let mut slowest = Duration::ZERO;
        for _ in 0..count {
            let (user, told, at) = tokio::time::timeout(PATIENCE, self.told.recv()).await.expect("it is told").unwrap();
            let since = since(user).unwrap_or_else(|| panic!("{} was told {told:?}", user_name(user)));
            assert_eq!(told, *expected, "{}", user_name(user));
            slowest = slowest.max(at.saturating_duration_since(since));
        }
        slowest
    }

    /// That nobody was told anything.
    fn is_quiet(&mut self) {
        assert_eq!(self.told.try_recv().ok(), None);
    }
}

async fn listen(user: usize, mut peer: Peer, tell: mpsc::UnboundedSender<(usize, Told, Instant)>) {
    loop {
        let told = match peer.step().await {
            Ok(ServerFrame::Entry(_)) => Told::Entry,
            Ok(ServerFrame::Unsubscribed { error, .. }) => Told::Unsubscribed(error.code),
            Ok(_) => continue,
            Err(code) => Told::Closed(code),
        };
        let is_over = matches!(told, Told::Closed(_));
        if tell.send((user, told, Instant::now())).is_err() || is_over {
            return;
        }
    }
}

fn connections(fleet: &[Server]) -> f64 {
    fleet.iter().map(|server| server.metric("hubbub_connections")).sum()
}

/// NATS is cut off from every instance.
async fn cut_nats_off(fleet: &[Server]) {
    fleet[0].ground().to_nats().cut();
    for server in fleet {
        until("NATS is away", async || {
            let ready = request(server.address(), Request::get("/readyz")).await.json();
            ready["status"] == "degraded" && ready["dependencies"]["broker"]["status"] != "ok"
        })
        .await;
    }
}

/// By the command line, which tells nobody, whether there is NATS or not.
async fn whoever_looks_closes_the_sockets_in_a_second(pair: Pair) {
    let fleet: [Server; 3] = pair.fleet_with(&SETTINGS).await;
    let operator = Operator::of(&fleet[0]).await;
    let mut crowd = Crowd::gather(&fleet, None).await;
    let committed = operator.change(&user_name(0), Change::Block).await;
    one_then_all(&mut crowd, &fleet, committed, &operator).await;
}

async fn a_block_needs_no_nats(pair: Pair) {
    let fleet: [Server; 3] = pair.fleet_with(&SETTINGS).await;
    let ruler = person(&fleet[0], "ruler").await;
    let mut crowd = Crowd::gather(&fleet, None).await;
    cut_nats_off(&fleet).await;
    let operator = Operator::of(&fleet[0]).await;
    let path = format!("/v1/users/{}", user_name(0));
    // From the moment of asking: that is before the commit.
    let asked = Instant::now();
    let answer = ruler.ask_with(&fleet[0], "PATCH", &path, json!({"blocked": true}), &[("if-match", "*")]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    one_then_all(&mut crowd, &fleet, asked, &operator).await;
    let ready = request(fleet[0].address(), Request::get("/readyz")).await.json();
    assert_ne!(ready["dependencies"]["broker"]["status"], "ok", "it is cut off still");
}

/// The first is blocked since `committed` at the latest; then all the others at once.
async fn one_then_all(crowd: &mut Crowd, fleet: &[Server], committed: Instant, operator: &Operator) {
    let closed = Told::Closed(Some(4403));
    let took = crowd.all(EACH, &closed, |user| (user == 0).then_some(committed)).await;
    eprintln!("one user's {EACH} sockets on three instances were closed {took:?} after the commit");
    assert!(took <= SECOND, "{took:?}");
    eventually("they are gone", || connections(fleet) == ((USERS - 1) * EACH) as f64).await;
    crowd.is_quiet();
    let names: Vec<String> = (1..USERS).map(user_name).collect();
    let committed = join_all(names.iter().map(|user| operator.change(user, Change::Block))).await;
    let took = crowd.all((USERS - 1) * EACH, &closed, |user| committed.get(user.wrapping_sub(1)).copied()).await;
    eprintln!("the {} sockets of all users were closed {took:?} after their commits at the latest", (USERS - 1) * EACH);
    assert!(took <= SECOND, "{took:?}");
    eventually("all are gone", || connections(fleet) == 0.0).await;
}

async fn a_kick_ends_the_subscriptions_in_a_second(pair: Pair) {
    let fleet: [Server; 3] = pair.fleet_with(&SETTINGS).await;
    let owner = room(&fleet[0]).await;
    let mut crowd = Crowd::gather(&fleet, Some(CHANNEL)).await;
    kick(&mut crowd, &fleet, &owner, 7).await;
}

async fn a_kick_needs_no_nats(pair: Pair) {
    let fleet: [Server; 3] = pair.fleet_with(&SETTINGS).await;
    let owner = room(&fleet[0]).await;
    let mut crowd = Crowd::gather(&fleet, Some(CHANNEL)).await;
    cut_nats_off(&fleet).await;
    kick(&mut crowd, &fleet, &owner, 7).await;
}

/// A room of which everybody is a member.
async fn room(server: &Server) -> Person {
    let owner = person(server, "owner").await;
    owner.does(server, "POST", "/v1/channels", json!({"name": CHANNEL, "title": "Crowd"}), 201).await;
    let members: Vec<String> =
        (0..USERS).map(|user| format!("('{CHANNEL}', '{}', 'member', 'joined', 1, 1, 1)", user_name(user))).collect();
    let insert =
        format!("INSERT INTO members (channel, user_id, role, state, version, created_at, updated_at) VALUES {}", members.join(", "));
    server.ground().execute(&[&insert]).await;
    owner
}

async fn kick(crowd: &mut Crowd, fleet: &[Server], owner: &Person, who: usize) {
    let path = format!("/v1/channels/{CHANNEL}/members/{}", user_name(who));
    let asked = Instant::now();
    owner.does(&fleet[0], "DELETE", &path, Value::Null, 204).await;
    let took = crowd.all(EACH, &Told::Unsubscribed("not_found".to_owned()), |user| (user == who).then_some(asked)).await;
    crowd.is_quiet();
    eprintln!("{EACH} subscriptions on three instances ended {took:?} after the kick was asked for");
    assert!(took <= SECOND, "{took:?}");
    assert_eq!(connections(fleet), (USERS * EACH) as f64, "nobody was disconnected");
    // All the others go on listening, and nobody hears it twice.
    owner.does(&fleet[1], "POST", &format!("/v1/channels/{CHANNEL}/messages"), json!({"payload": 1}), 201).await;
    crowd.all((USERS - 1) * EACH, &Told::Entry, |user| (user != who).then(Instant::now)).await;
    crowd.is_quiet();
}
