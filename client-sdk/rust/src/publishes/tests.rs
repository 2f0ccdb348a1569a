use hubbub_protocol::MessageId;
use tokio::sync::oneshot;

use super::*;
use crate::{
    Message,
    testing::{batch, channel, frames, result},
};

const BACKOFF: Backoff = Backoff { base: Duration::from_millis(10), cap: Duration::from_millis(10) };
const TIMEOUT: Duration = Duration::from_secs(30);

struct Bench {
    publishes: Publishes,
    ids: Ids,
    now: Instant,
    clock: ServerClock,
}

impl Bench {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            publishes: Publishes::new(BACKOFF, Arc::default()),
            ids: Ids::default(),
            now,
            clock: ServerClock::new(1_732_233_600_000, now),
        }
    }

    fn publish(&mut self, payload: u8) -> oneshot::Receiver<Result<Published, Error>> {
        let (answer, answered) = oneshot::channel();
        let message = Message::new(channel("a"), vec![payload].into());
        self.publishes.admit(NewPublish { message, deadline: self.now + TIMEOUT, answer });
        answered
    }

    fn sent(&mut self) -> Vec<Publish> {
        let mut batch = batch();
        self.publishes.send(self.now, &self.clock, &mut self.ids, &mut batch);
        let publish = |frame| match frame {
            ClientFrame::Publish(publish) => publish,
            other => panic!("not a publish: {other:?}"),
        };
        frames(batch).into_iter().map(publish).collect()
    }

    fn refuse(&mut self, id: RequestId, code: ErrorCode) {
        assert_eq!(self.publishes.refuse(id, ErrorBody::new(code, ""), self.now), None);
    }
}

fn payloads(publishes: &[Publish]) -> Vec<u8> {
    publishes.iter().map(|publish| publish.payload[0]).collect()
}

fn ids(publishes: &[Publish]) -> Vec<MessageId> {
    publishes.iter().filter_map(|publish| publish.message_id).collect()
}

fn published(id: MessageId) -> RawResult {
    result(&Published { message_id: id, epoch: Some(1), seq: Some(1), time: 0, duplicate: false })
}

#[test]
fn outstanding_ones_go_first_after_a_reconnect_in_their_order_with_their_ids() {
    let mut bench = Bench::new();
    let _answers: Vec<_> = (0..4).map(|n| bench.publish(n)).collect();
    let first = bench.sent();
    assert_eq!(payloads(&first), [0, 1, 2, 3]);
    assert!(bench.sent().is_empty());
    assert!(bench.publishes.reply(first[1].id.unwrap(), &published(first[1].message_id.unwrap())));

    bench.publishes.disconnected();
    let _newer = bench.publish(4);
    let again = bench.sent();
    assert_eq!(payloads(&again), [0, 2, 3, 4]);
    let before: Vec<_> = [0, 2, 3].into_iter().map(|n| ids(&first)[n]).collect();
    assert_eq!(ids(&again)[..3], before);
    assert_eq!(bench.publishes.counters.read().publishes_retried, 3);
}

#[test]
fn an_answer_to_an_earlier_connection_answers_nothing() {
    let mut bench = Bench::new();
    let mut answer = bench.publish(0);
    let first = bench.sent();
    bench.publishes.disconnected();
    assert!(!bench.publishes.reply(first[0].id.unwrap(), &published(first[0].message_id.unwrap())));
    assert!(answer.try_recv().is_err());
}

#[test]
fn retry_decides_what_a_refusal_means() {
    let mut bench = Bench::new();
    let mut refused = bench.publish(0);
    let mut unknown = bench.publish(1);
    let mut later = bench.publish(2);
    let first = bench.sent();
    for (publish, code) in first.iter().zip([ErrorCode::Forbidden, ErrorCode::Unknown, ErrorCode::Overloaded]) {
        bench.refuse(publish.id.unwrap(), code);
    }
    assert!(matches!(refused.try_recv(), Ok(Err(Error::Server(body))) if body.known() == Some(ErrorCode::Forbidden)));

    let at_once = bench.sent();
    assert_eq!(at_once.first().map(|publish| publish.message_id), Some(first[1].message_id));
    bench.now += Duration::from_millis(10);
    bench.publishes.tick(bench.now);
    let rest = bench.sent();
    assert_eq!(payloads(&[at_once, rest].concat()), [1, 2]);
    assert!(unknown.try_recv().is_err() && later.try_recv().is_err());
}

#[test]
fn time_runs_out() {
    let mut bench = Bench::new();
    let mut sent = bench.publish(0);
    let id = ids(&bench.sent())[0];
    let mut unsent = bench.publish(1);
    assert_eq!(bench.publishes.next_deadline(), Some(bench.now + TIMEOUT));
    bench.now += TIMEOUT;
    bench.publishes.tick(bench.now);
    assert!(matches!(sent.try_recv(), Ok(Err(Error::Timeout { message_id })) if message_id == id));
    assert!(matches!(unsent.try_recv(), Ok(Err(Error::Unsent))));
    assert_eq!(bench.publishes.room(), MAX_OUTSTANDING);
    assert!(bench.sent().is_empty());
}

#[test]
fn a_message_whose_caller_is_gone_is_not_sent_again() {
    let mut bench = Bench::new();
    drop(bench.publish(0));
    let kept = bench.publish(1);
    assert_eq!(payloads(&bench.sent()), [1]);
    drop(kept);
    bench.publishes.disconnected();
    assert!(bench.sent().is_empty());
    assert_eq!(bench.publishes.room(), MAX_OUTSTANDING);
}

#[test]
fn a_message_too_long_for_a_frame_is_refused_here() {
    let mut bench = Bench::new();
    let mut answer = bench.publish(0);
    let mut small = Batch::new(hubbub_protocol::Format::Msgpack, 20);
    bench.publishes.send(bench.now, &bench.clock, &mut bench.ids, &mut small);
    assert_eq!(small.finish(), None);
    assert!(matches!(answer.try_recv(), Ok(Err(Error::Server(body))) if body.known() == Some(ErrorCode::PayloadTooLarge)));
}
