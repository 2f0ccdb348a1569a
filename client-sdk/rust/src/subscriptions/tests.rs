use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hubbub_protocol::{
    ClientFrame, Cursor, Entry, Kind, Place,
    frame::{SkipRange, SkipReason, SubscribeChannel, Unrecovered},
};

use super::*;
use crate::{
    SubscribeOptions,
    batch::Ids,
    buffer::Buffer,
    testing::{batch, channel, frames, result},
};

const BACKOFF: Backoff = Backoff { base: Duration::from_millis(10), cap: Duration::from_millis(10) };

/// The table, the wire's other end, and the consumer of one channel.
struct Bench {
    table: Subscriptions,
    ids: Ids,
    now: Instant,
    buffer: Arc<Buffer>,
    answer: oneshot::Receiver<Result<(), Error>>,
}

fn cursor(seq: u64) -> Cursor {
    Cursor { epoch: 1, seq }
}

fn entry(seq: u64) -> Entry {
    Entry { place: Some(Place { epoch: 1, seq, ordinal: seq }), ..ephemeral() }
}

fn ephemeral() -> Entry {
    Entry {
        channel: channel("room:1"),
        place: None,
        kind: Kind::Message,
        refers: None,
        message_id: None,
        publisher: "alice".into(),
        key: None,
        time: 0,
        payload: Bytes::from_static(&[0xc0]),
    }
}

fn durable(head: u64) -> Subscribed {
    Subscribed { channel: "room:1".into(), durable: true, head: Some(cursor(head)), ..Default::default() }
}

impl Bench {
    fn new(capacity: usize, since: Option<Cursor>) -> Self {
        let mut table = Subscriptions::new(BACKOFF, Arc::default(), None);
        let buffer = Arc::new(Buffer::new(capacity));
        let (sender, answer) = oneshot::channel();
        let options = SubscribeOptions { since, ..Default::default() };
        table.subscribe(NewSubscription { channel: channel("room:1"), generation: 7, options, buffer: buffer.clone(), answer: sender });
        Self { table, ids: Ids::default(), now: Instant::now(), buffer, answer }
    }

    /// Subscribed, with the first event read.
    fn live(capacity: usize, head: u64) -> Self {
        let mut bench = Self::new(capacity, None);
        bench.accept(durable(head));
        assert_eq!(bench.events().len(), 1);
        bench
    }

    fn said(&mut self) -> Vec<ClientFrame> {
        let mut batch = batch();
        self.table.send(&mut self.ids, &mut batch);
        frames(batch)
    }

    /// Answers the one `subscribe` that is to be said, and returns its `since`.
    fn accept(&mut self, answer: Subscribed) -> Option<Cursor> {
        let said = self.said();
        let Some(ClientFrame::Subscribe { id, channels }) = said.last() else { panic!("no subscribe in {said:?}") };
        let [SubscribeChannel { since, .. }] = channels[..] else { panic!("not one channel: {channels:?}") };
        self.table.reply(*id, &result(&Channels { channels: vec![answer] }), self.now).unwrap();
        since
    }

    fn entries(&mut self, seqs: impl IntoIterator<Item = u64>) {
        seqs.into_iter().for_each(|seq| self.table.entry(entry(seq), self.now));
    }

    /// What the consumer reads; tells the table when the buffer is drained.
    fn events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Poll::Ready(Some(taken)) = self.buffer.poll_take(&mut Context::from_waker(Waker::noop())) {
            events.push(taken.event);
            if taken.drained {
                self.table.drained(channel("room:1"), 7);
            }
        }
        events
    }

    fn seqs(&mut self) -> Vec<u64> {
        let seq = |event| match event {
            Event::Entry(entry) => entry.place.map(|place| place.seq),
            Event::Skip(skip) => skip.range.map(|range| range.to),
            _ => None,
        };
        self.events().into_iter().filter_map(seq).collect()
    }
}

#[test]
fn resumes_from_what_the_buffer_was_given() {
    let mut bench = Bench::live(8, 3);
    assert!(matches!(bench.answer.try_recv(), Ok(Ok(()))));
    bench.entries(4..=6);
    bench.table.disconnected();
    bench.entries([7]);
    let answer = Subscribed { recovered: Some(true), from: Some(7), to: Some(7), ..durable(7) };
    assert_eq!(bench.accept(answer), Some(cursor(6)));
    bench.entries([7, 8]);
    assert_eq!(bench.seqs(), [4, 5, 6, 7, 8]);
    assert_eq!(bench.table.counters.read().resumes, 1);
}

#[test]
fn without_an_entry_the_head_is_the_cursor() {
    let mut bench = Bench::live(8, 3);
    bench.table.disconnected();
    assert_eq!(bench.accept(Subscribed { recovered: Some(true), ..durable(3) }), Some(cursor(3)));
}

#[test]
fn a_gap_is_repaired_and_a_duplicate_dropped() {
    let mut bench = Bench::live(8, 0);
    bench.entries([1, 1, 3, 4]);
    let said = bench.said();
    let [ClientFrame::Unsubscribe { .. }, ClientFrame::Subscribe { id, channels }] = &said[..] else { panic!("{said:?}") };
    assert_eq!(channels[0].since, Some(cursor(1)));
    // Still of the subscription that has the gap.
    bench.entries([5]);
    let answer = Subscribed { recovered: Some(true), from: Some(2), to: Some(5), ..durable(5) };
    bench.table.reply(*id, &result(&Channels { channels: vec![answer] }), bench.now).unwrap();
    bench.entries(2..=6);
    assert_eq!(bench.seqs(), [1, 2, 3, 4, 5, 6]);
    let stats = bench.table.counters.read();
    assert_eq!((stats.gaps, stats.duplicates, stats.resumes), (1, 1, 1));
}

#[test]
fn a_gap_that_does_not_close_is_not_hammered_at() {
    let mut bench = Bench::live(8, 0);
    bench.entries([2]);
    assert_eq!(bench.accept(Subscribed { recovered: Some(true), ..durable(2) }), Some(cursor(0)));
    bench.entries([2]);
    assert!(matches!(bench.said()[..], [ClientFrame::Unsubscribe { .. }]));
    assert!(bench.table.next_deadline().is_some());
    bench.now += BACKOFF.cap;
    bench.table.tick(bench.now);
    assert!(matches!(bench.said()[..], [ClientFrame::Subscribe { .. }]));
}

#[test]
fn a_head_beyond_the_cursor_is_a_gap() {
    let mut bench = Bench::live(8, 4);
    let head = |seq| vec![Head { channel: channel("room:1"), cursor: cursor(seq) }];
    bench.table.heads(head(4), bench.now);
    assert!(bench.said().is_empty());
    bench.table.heads(head(5), bench.now);
    assert_eq!(bench.said().len(), 2);
    assert_eq!(bench.table.counters.read().gaps, 1);
}

#[test]
fn what_cannot_be_whole_starts_where_the_server_says() {
    for (reason, next) in [(Unrecovered::Epoch, 41), (Unrecovered::TooFar, 31)] {
        let mut bench = Bench::new(8, Some(cursor(9)));
        let answer = Subscribed { recovered: Some(false), reason: Some(reason), ..durable(40) };
        assert_eq!(bench.accept(answer), Some(cursor(9)));
        if reason == Unrecovered::TooFar {
            let range = Some(SkipRange { epoch: 1, from: 10, to: 30 });
            bench.table.skip(Skip { channel: channel("room:1"), range, count: 21, reason: SkipReason::TooFar }, bench.now);
        }
        bench.entries([next]);
        assert_eq!(bench.seqs().last(), Some(&next), "{reason:?}");
        assert_eq!(bench.table.counters.read().gaps, 0, "{reason:?}");
    }
}

#[test]
fn a_full_buffer_pauses_and_loses_nothing() {
    let mut bench = Bench::live(4, 0);
    bench.entries(1..=6);
    assert!(matches!(&bench.said()[..], [ClientFrame::Unsubscribe { channels, .. }] if channels[..] == ["room:1"]));
    assert!(bench.said().is_empty());
    assert_eq!(bench.seqs(), [1, 2, 3, 4]);
    let answer = Subscribed { recovered: Some(true), from: Some(5), to: Some(6), ..durable(6) };
    assert_eq!(bench.accept(answer), Some(cursor(4)));
    bench.entries([5, 6]);
    assert_eq!(bench.seqs(), [5, 6]);
    let stats = bench.table.counters.read();
    assert_eq!((stats.pauses, stats.gaps, stats.duplicates), (1, 0, 0));
}

#[test]
fn a_paused_subscription_stays_paused_across_a_reconnect() {
    let mut bench = Bench::live(2, 0);
    bench.entries(1..=3);
    bench.table.disconnected();
    assert!(bench.said().is_empty());
    bench.events();
    assert_eq!(bench.accept(durable(3)), Some(cursor(2)));
}

#[test]
fn an_ephemeral_channel_counts_what_does_not_fit() {
    let mut bench = Bench::new(2, None);
    bench.accept(Subscribed { channel: "room:1".into(), ..Default::default() });
    for _ in 0..5 {
        bench.table.entry(ephemeral(), bench.now);
    }
    assert!(bench.said().is_empty());
    let events = bench.events();
    assert!(matches!(
        &events[..],
        [Event::Subscribed(_), Event::Entry(_), Event::Skip(Skip { range: None, count: 4, reason: SkipReason::Dropped, .. })]
    ));
    assert_eq!(bench.table.counters.read().dropped, 4);
}

#[test]
fn the_server_ends_a_subscription_for_now_or_for_good() {
    let mut bench = Bench::live(8, 2);
    bench.table.unsubscribed(channel("room:1"), ErrorBody::new(ErrorCode::Resubscribe, ""), bench.now);
    assert_eq!(bench.accept(Subscribed { recovered: Some(true), ..durable(2) }), Some(cursor(2)));
    bench.table.unsubscribed(channel("room:1"), ErrorBody::new(ErrorCode::Forbidden, ""), bench.now);
    assert!(matches!(&bench.events()[..], [Event::Subscribed(_), Event::Ended(body)] if body.known() == Some(ErrorCode::Forbidden)));
    assert!(bench.said().is_empty());
}

#[test]
fn a_refusal_goes_to_whoever_asked() {
    let mut bench = Bench::new(8, None);
    let refused = Subscribed { channel: "room:1".into(), error: Some(ErrorBody::new(ErrorCode::NotFound, "")), ..Default::default() };
    bench.accept(refused);
    assert!(matches!(bench.answer.try_recv(), Ok(Err(Error::Server(body))) if body.known() == Some(ErrorCode::NotFound)));
}

#[test]
fn leaving_and_coming_back_is_said_in_that_order() {
    let mut bench = Bench::live(8, 2);
    bench.table.leave(channel("room:1"), 6, None);
    assert!(bench.said().is_empty(), "an older subscription's note is not about this one");
    bench.table.leave(channel("room:1"), 7, None);
    let (answer, _answered) = oneshot::channel();
    let options = SubscribeOptions::default();
    let buffer = Arc::new(Buffer::new(8));
    bench.table.subscribe(NewSubscription { channel: channel("room:1"), generation: 8, options, buffer, answer });
    assert!(matches!(bench.said()[..], [ClientFrame::Unsubscribe { .. }, ClientFrame::Subscribe { .. }]));
}

#[test]
fn many_channels_are_asked_for_in_few_frames() {
    let mut table = Subscriptions::new(BACKOFF, Arc::default(), None);
    let mut answers = Vec::new();
    for generation in 0..600 {
        let (answer, answered) = oneshot::channel();
        let options = SubscribeOptions::default();
        let buffer = Arc::new(Buffer::new(1));
        table.subscribe(NewSubscription { channel: channel(&format!("room:{generation}")), generation, options, buffer, answer });
        answers.push(answered);
    }
    let mut batch = batch();
    table.send(&mut Ids::default(), &mut batch);
    let sizes = |frames: Vec<ClientFrame>| -> Vec<usize> {
        frames.iter().map(|frame| if let ClientFrame::Subscribe { channels, .. } = frame { channels.len() } else { 0 }).collect()
    };
    assert_eq!(sizes(frames(batch)), [512, 88]);
}
