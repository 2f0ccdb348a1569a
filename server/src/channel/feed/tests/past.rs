//! Others write, too, and the store may go back in time: whatever a client holds since it was last told to forget is what the store has.

use super::*;
use crate::store::{epoch, tests::rewind};

async fn house() -> House {
    House::open_with(&[], Some(Arc::default())).await
}

/// Waits until the looker has looked `times` more.
async fn looks(house: &House, times: u64) {
    let watch = house.channels.watch().unwrap().clone();
    let begun = watch.begun();
    while watch.begun() < begun + times {
        watch.look_now();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The store goes back to what it had at `seq`, and whatever notices first raises the epoch.
async fn go_back(house: &House, channel: &ChannelName, stored: &mut Vec<Arc<Delivery>>, seq: usize) {
    rewind(&house.channels.db, channel, seq as u64).await;
    let known = epoch::current(&house.channels.db).await.unwrap();
    epoch::raise(&house.channels.db, known).await.unwrap();
    stored.truncate(seq);
}

#[tokio::test]
async fn an_early_entry_waits_for_its_elders() {
    let (house, channel) = (house().await, name("s:1"));
    let mut client = live(&house, &channel).await;
    looks(&house, 2).await;
    let stored = house.store(&channel, &[None; 4], 8).await;
    for at in [3, 1, 2, 0] {
        house.channels.feeds.deliver(&channel, vec![stored[at].clone()]).await;
    }
    while client.log.len() < 4 {
        client.read(&house).await;
        tokio::task::yield_now().await;
    }
    check(&client, &stored);
    assert_eq!(house.metric("hubbub_store_reads_total{kind=\"repair\"}"), 0.0, "they came by themselves");
}

#[tokio::test]
async fn what_nobody_tells_of_is_found_by_a_look() {
    let (house, channel) = (house().await, name("s:1"));
    let mut client = live(&house, &channel).await;
    looks(&house, 2).await;
    let stored = house.store(&channel, &[None; 3], 8).await;
    while client.log.len() < 3 {
        client.read(&house).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    check(&client, &stored);
}

#[tokio::test]
async fn a_store_that_went_back_tells_those_who_were_further() {
    let (house, channel, spared) = (house().await, name("s:1"), name("s:2"));
    let mut stored = house.store(&channel, &[None; 6], 8).await;
    let other = house.store(&spared, &[None; 2], 8).await;
    let (mut client, mut calm) = (live(&house, &channel).await, live(&house, &spared).await);
    looks(&house, 2).await;
    go_back(&house, &channel, &mut stored, 4).await;
    let told = async {
        while client.subscription.is_some() {
            client.read(&house).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), told).await.expect("it is told within some looks, though nothing is published");
    assert_eq!(client.cursor, Some(Cursor { epoch: 1, seq: 6 }));
    stored.extend(house.store(&channel, &[None; 5], 8).await);
    finish(&house, &channel, &mut client).await;
    assert_eq!(client.cursor, Some(Cursor { epoch: 2, seq: 9 }), "it was told to forget, and begins at the head");
    calm.read(&house).await;
    assert_eq!(calm.standing(), Some(Standing::Live), "whose channel lost nothing is not disturbed");
    assert_eq!(calm.cursor, Some(Cursor { epoch: 1, seq: other.len() as u64 }));
}

#[tokio::test]
async fn a_newer_epoch_over_the_same_past_disturbs_nobody() {
    let (house, channel) = (house().await, name("s:1"));
    let mut stored = house.store(&channel, &[None; 3], 8).await;
    let mut client = live(&house, &channel).await;
    epoch::raise(&house.channels.db, 1).await.unwrap();
    looks(&house, 2).await;
    let late = house.store(&channel, &[None; 2], 8).await;
    assert_eq!(late[0].entry.place.unwrap().epoch, 2);
    house.channels.feeds.deliver(&channel, late.clone()).await;
    stored.extend(late);
    house.settle(&channel).await;
    client.read(&house).await;
    assert_eq!(client.standing(), Some(Standing::Live));
    assert_eq!(client.cursor, Some(Cursor { epoch: 2, seq: 5 }));
    let mut other = Client::new(Slow::Close, 1 << 20);
    other.subscribe(&house, &channel, Some(Cursor { epoch: 1, seq: 2 })).await;
    finish(&house, &channel, &mut other).await;
    check(&other, &stored);
    assert_eq!(other.log.len(), 3, "a cursor of before goes on working");
    assert_eq!(house.metric("hubbub_feed_resets_total"), 0.0);
}

/// Acts as before, and the store goes back now and then.
async fn play_with_the_past(house: &House, acts: Vec<(Act, Option<prop::sample::Index>)>) {
    static NAMES: AtomicU64 = AtomicU64::new(0);
    let channel = name(&format!("s:past{}", NAMES.fetch_add(1, Relaxed)));
    let mut clients: Vec<Client> = [(Slow::Close, 1 << 20), (Slow::Close, 1_500), (Slow::Latest, 1 << 20), (Slow::Latest, 1_500)]
        .map(|(slow, limit)| Client::new(slow, limit))
        .into();
    let mut stored: Vec<Arc<Delivery>> = Vec::new();
    let mut due = VecDeque::new();
    for (act, back) in acts {
        if let Some(back) = back {
            let seq = back.index(stored.len() + 1);
            go_back(house, &channel, &mut stored, seq).await;
        }
        match act {
            Act::Append(keys) => {
                let batch = house.store(&channel, &keys, 60).await;
                stored.extend_from_slice(&batch);
                due.push_back(batch);
            }
            // Those of a past that is no more arrive, too: NATS may have held them.
            Act::HandOnFirst | Act::HandOn(_) | Act::Again(_) => {
                let which = match act {
                    Act::HandOn(which) | Act::Again(which) if !due.is_empty() => which.index(due.len()),
                    _ => 0,
                };
                if let Some(batch) = due.remove(which) {
                    house.channels.feeds.deliver(&channel, batch).await;
                }
            }
            Act::Lose(which) if !due.is_empty() => drop(due.remove(which.index(due.len()))),
            Act::Verify => house.channels.feeds.verify(&channel).await,
            Act::Subscribe(who, _) => clients[who].subscribe(house, &channel, None).await,
            Act::Pull(who) => clients[who].pull(house).await,
            Act::Read(who) => clients[who].read(house).await,
            Act::Stuck(who) => clients[who].outbox.stuck(),
            Act::Leave(who) => {
                clients[who].read(house).await;
                clients[who].leave(house).await;
                clients[who].read(house).await;
            }
            Act::Yield => looks(house, 1).await,
            Act::Lose(_) => {}
        }
    }
    looks(house, 3).await;
    house.channels.feeds.compare(&house.channels.db).await.unwrap();
    assert_eq!(house.settle(&channel).await, house.head(&channel).await);
    for client in &mut clients {
        finish(house, &channel, client).await;
        check(client, &stored);
        client.leave(house).await;
    }
}

#[test]
fn whatever_a_client_holds_is_what_the_store_has() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let house = runtime.block_on(house());
    let strategy = prop::collection::vec((act(), prop::option::weighted(0.05, any::<prop::sample::Index>())), 1..50);
    let mut runner = TestRunner::new(Cases { cases: 48, failure_persistence: None, ..Cases::default() });
    let result = runner.run(&strategy, |acts| {
        runtime.block_on(play_with_the_past(&house, acts));
        Ok(())
    });
    runtime.block_on(house.tasks.stop());
    result.unwrap_or_else(|error| panic!("{error}"));
}

#[tokio::test]
async fn a_hole_that_has_expired_is_skipped_however_long_it_is() {
    for house in [House::open(&[]).await, house().await] {
        let channel = name("s:1");
        let mut client = live(&house, &channel).await;
        let mut stored = Vec::new();
        for _ in 0..12 {
            stored.extend(house.store(&channel, &[None; 250], 8).await);
        }
        let head = channels::head(&house.channels.db, &channel).await.unwrap().unwrap();
        while entries::trim(&house.channels.db, head.channel_id, 501, 1_000).await.unwrap() > 0 {}
        // More than a read of the store brings at once lies between the hole and the newest entry.
        house.channels.feeds.deliver(&channel, stored[2_999..].to_vec()).await;
        let settled = tokio::time::timeout(Duration::from_secs(20), house.settle(&channel)).await;
        assert_eq!(settled.expect("it does not read the same for ever").seq, 3_000);
        finish(&house, &channel, &mut client).await;
        check(&client, &stored);
        let reads = house.metric("hubbub_store_reads_total{kind=\"repair\"}");
        assert!(reads < 8.0, "{reads} reads");
    }
}

#[tokio::test]
async fn an_epoch_that_the_store_does_not_know_stops_nobody() {
    let (house, channel) = (house().await, name("s:1"));
    let mut stored = house.store(&channel, &[None; 3], 8).await;
    let mut client = live(&house, &channel).await;
    looks(&house, 2).await;
    let mut foreign = (*stored[2].entry).clone();
    foreign.place = Some(hubbub_protocol::Place { epoch: 9, seq: 4, ordinal: 4 });
    house.channels.feeds.deliver(&channel, vec![Delivery::new(Arc::new(foreign))]).await;
    let late = house.store(&channel, &[None; 2], 8).await;
    house.channels.feeds.deliver(&channel, late.clone()).await;
    stored.extend(late);
    let settled = tokio::time::timeout(Duration::from_secs(10), house.settle(&channel)).await;
    assert_eq!(settled.expect("it does not compare for ever").seq, 5);
    finish(&house, &channel, &mut client).await;
    check(&client, &stored);
    let compared = house.metric("hubbub_store_reads_total{kind=\"compare\"}");
    assert!(compared < 4.0, "{compared} comparisons");
}

/// Nobody raises the epoch: what gives the store away is another entry in the place of one that was delivered, in one group with its heirs.
#[tokio::test]
async fn another_entry_in_a_known_place_is_not_hidden_by_the_next() {
    let (house, channel) = (house().await, name("s:1"));
    let mut stored = house.store(&channel, &[None; 4], 8).await;
    let mut client = live(&house, &channel).await;
    looks(&house, 2).await;
    let more = house.store(&channel, &[None; 2], 8).await;
    house.channels.feeds.deliver(&channel, more).await;
    house.settle(&channel).await;
    client.read(&house).await;
    assert_eq!(client.cursor, Some(Cursor { epoch: 1, seq: 6 }));
    rewind(&house.channels.db, &channel, 4).await;
    let other = house.store(&channel, &[None; 5], 8).await;
    stored.extend(other.clone());
    house.channels.feeds.deliver(&channel, other[1..].to_vec()).await;
    let told = async {
        while client.subscription.is_some() {
            client.read(&house).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), told).await.expect("it is told that the store went back");
    assert_eq!(client.cursor, Some(Cursor { epoch: 1, seq: 6 }), "nothing of the other past came before");
}
