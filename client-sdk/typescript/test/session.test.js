/** The session: frames in, frames out, without a connection. */

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { readFrames } from '../src/frames.js';
import { Session } from '../src/session.js';
import { Subscription } from '../src/subscription.js';

let session;
let now;

beforeEach(() => {
  session = new Session();
  now = 1_000;
});

const said = () => readFrames(session.nextMessage(now));
const hear = (frame) => session.frame(frame, now);
const answer = (id, ...channels) => hear({ type: 'reply', id, result: { channels } });
const durable = (seq, more) => ({ channel: 'room:1', durable: true, head: { epoch: 1, seq }, ...more });
const entry = (seq, more) => ({ type: 'entry', channel: 'room:1', epoch: 1, seq, publisher: 'a', time: 0, payload: seq, ...more });
const error = (id, code, retry, after) => hear({ type: 'error', id, code, message: code, retry, retry_after: after });

/** A subscription to `room:1`, with what it tells. */
function subscribe(options = {}) {
  const told = [];
  const subscription = new Subscription('room:1', options.since ?? null, (left) => session.subscriptions.leave(left));
  for (const type of ['entry', 'skip', 'subscribed', 'reset', 'ended', 'presence']) {
    subscription.addEventListener(type, ({ detail }) => told.push(type === 'entry' ? detail.seq : type));
  }
  session.subscriptions.add(subscription, options);
  return { subscription, told };
}

/** The same, answered: its head is 5. */
function live(options) {
  const one = subscribe(options);
  answer(said()[0].id, durable(5));
  one.told.length = 0;
  return one;
}

test('a subscription resumes from its cursor, and drops what it had', () => {
  const { subscription, told } = live();
  hear(entry(6));
  session.disconnected();
  assert.deepEqual(readFrames(session.greeting())[0].channels, [{ channel: 'room:1', since: { epoch: 1, seq: 6 } }]);
  answer(2, durable(8, { recovered: true, from: 7, to: 8 }));
  [6, 7, 7, 8, 3].forEach((seq) => hear(entry(seq)));
  assert.deepEqual(told, [6, 'subscribed', 7, 8]);
  assert.deepEqual(subscription.cursor, { epoch: 1, seq: 8 });
});

test('an edit and a deletion are entries, with what they refer to', () => {
  const { subscription } = live();
  const heard = [];
  subscription.addEventListener('entry', ({ detail }) => heard.push([detail.seq, detail.kind, detail.ref, detail.payload]));
  hear(entry(6));
  hear(entry(7, { kind: 'edit', ref: 6, payload: 'new' }));
  hear(entry(8, { kind: 'delete', ref: 6, payload: null }));
  assert.deepEqual(heard, [
    [6, undefined, undefined, 6],
    [7, 'edit', 6, 'new'],
    [8, 'delete', 6, null],
  ]);
  assert.deepEqual(subscription.cursor, { epoch: 1, seq: 8 });
});

test('what comes before the answer belongs to an earlier subscription', () => {
  const { told } = subscribe();
  const [{ id }] = said();
  hear(entry(1));
  answer(id, durable(5));
  assert.deepEqual(told, ['subscribed']);
});

test('a hole is never handed on: the log is asked again', () => {
  const { told } = live();
  [6, 8, 9].forEach((seq) => hear(entry(seq)));
  assert.deepEqual(told, [6]);
  const [leave, ask] = said();
  assert.deepEqual([leave.type, leave.channels], ['unsubscribe', ['room:1']]);
  assert.deepEqual(ask.channels[0].since, { epoch: 1, seq: 6 });
  hear(entry(7));
  answer(ask.id, durable(9, { recovered: true }));
  [7, 8, 9].forEach((seq) => hear(entry(seq)));
  assert.deepEqual(told, [6, 'subscribed', 7, 8, 9]);
});

test('a head beyond the cursor is a hole, too', () => {
  const { subscription } = live();
  hear({ type: 'heads', time: 1, channels: [{ channel: 'room:1', epoch: 1, seq: 5 }] });
  assert.deepEqual(said(), []);
  hear({ type: 'heads', time: 1, channels: [{ channel: 'room:1', epoch: 1, seq: 6 }] });
  assert.deepEqual(said().map(({ type }) => type), ['unsubscribe', 'subscribe']);
  assert.equal(subscription.cursor.seq, 5);
});

test('holes in a row are repaired with a growing pause', () => {
  live();
  hear(entry(9));
  answer(said()[1].id, durable(9, { recovered: true }));
  hear(entry(9));
  assert.deepEqual(said().map(({ type }) => type), ['unsubscribe']);
  const due = session.deadline(now);
  assert.ok(due > now && due <= now + 250);
  now = due;
  session.tick(now);
  assert.deepEqual(said().map(({ type }) => type), ['subscribe']);
});

test('a skip moves the cursor', () => {
  const { subscription, told } = live();
  hear({ type: 'skip', channel: 'room:1', epoch: 1, from: 6, to: 9, count: 4, reason: 'superseded' });
  hear(entry(10));
  assert.deepEqual([told, subscription.cursor.seq], [['skip', 10], 10]);
});

test('a reset is told before the answer, and starts where the server says', () => {
  const { subscription, told } = live();
  hear({ type: 'unsubscribed', channel: 'room:1', code: 'resubscribe', message: '', retry: 'now' });
  answer(said()[0].id, { ...durable(3, { recovered: false, reason: 'epoch', from: 2, to: 3 }), head: { epoch: 2, seq: 3 } });
  assert.deepEqual([told, subscription.cursor], [['reset', 'subscribed'], { epoch: 2, seq: 1 }]);
  hear(entry(2, { epoch: 2 }));
  assert.equal(told.at(-1), 2);
});

test('an ephemeral channel has no cursor, and is asked for anew', () => {
  const { subscription, told } = subscribe();
  answer(said()[0].id, { channel: 'room:1', durable: false });
  hear(entry(undefined, { epoch: undefined }));
  session.disconnected();
  assert.deepEqual(readFrames(session.greeting())[0].channels, [{ channel: 'room:1' }]);
  assert.deepEqual([told.length, subscription.cursor], [2, null]);
});

test('leaving and coming back is said in that order, and nothing old is heard', () => {
  const first = live();
  first.subscription.unsubscribe();
  const second = subscribe();
  const [leave, ask] = said();
  assert.deepEqual([leave.type, ask.type], ['unsubscribe', 'subscribe']);
  hear(entry(6));
  answer(ask.id, durable(6));
  hear(entry(7));
  assert.deepEqual([first.told, second.told], [[], ['subscribed', 7]]);
});

test('who leaves before the answer is not called, and its place in the answer is kept', () => {
  const first = subscribe();
  const other = new Subscription('room:2', null, () => {});
  session.subscriptions.add(other, {});
  const [{ id }] = said();
  first.subscription.unsubscribe();
  answer(id, { channel: 'room:1', error: { code: 'forbidden', message: '', retry: 'never' } }, { channel: 'room:2', head: { epoch: 1, seq: 4 } });
  assert.deepEqual([first.told, other.cursor.seq], [[], 4]);
});

test('a handler that unsubscribes hears nothing more', () => {
  const { subscription, told } = live();
  subscription.addEventListener('entry', () => subscription.unsubscribe());
  [6, 7].forEach((seq) => hear(entry(seq)));
  assert.deepEqual(told, [6]);
  assert.deepEqual(said().map(({ type }) => type), ['unsubscribe']);
});

test('600 channels are asked for in two frames', () => {
  for (let n = 0; n < 600; n++) session.subscriptions.add(new Subscription(`room:${n}`, null, () => {}), {});
  assert.deepEqual(said().map(({ channels }) => channels.length), [512, 88]);
});

test('a publish is the same each time, and in the old order', async () => {
  const payload = { text: 'first' };
  const answers = [session.publish('room:1', JSON.stringify(payload), 'k', undefined), session.publish('room:1', '2', undefined, 'given')];
  const first = said();
  assert.deepEqual(said(), []);
  session.disconnected();
  const again = said();
  assert.deepEqual(again.map(({ id, ...rest }) => rest), first.map(({ id, ...rest }) => rest));
  assert.equal(again[1].message_id, 'given');
  error(again[0].id, 'unknown', 'now');
  const [third] = said();
  assert.equal(third.message_id, first[0].message_id);
  hear({ type: 'reply', id: third.id, result: { seq: 1 } });
  error(again[1].id, 'forbidden', 'never');
  assert.deepEqual(await answers[0], { seq: 1 });
  await assert.rejects(answers[1], { code: 'forbidden' });
  assert.equal(session.publishes.size, 0);
});

test('an overloaded server is given the time it asks for', () => {
  session.publish('room:1', '1', undefined, undefined);
  error(said()[0].id, 'overloaded', 'later', 3_000);
  assert.deepEqual(said(), []);
  const due = session.deadline(now);
  assert.ok(due >= now + 3_000 && due <= now + 3_250);
  now = due;
  assert.equal(said().length, 1);
});

test('1,024 publishes may wait, and one more is refused', async () => {
  for (let n = 0; n < 1_024; n++) session.publish('room:1', '1', undefined, undefined);
  await assert.rejects(session.publish('room:1', '1', undefined, undefined), { code: 'buffer_full', retry: 'later' });
  assert.equal(said().length, 256);
});

test('a frame that no message can hold is refused, and the next one goes', async () => {
  const large = session.publish('room:1', `"${'x'.repeat(1_048_576)}"`, undefined, undefined);
  session.publish('room:1', '2', undefined, undefined);
  assert.deepEqual(said().map(({ payload }) => payload), [2]);
  await assert.rejects(large, { code: 'payload_too_large' });
});

test('a read is asked again on the next connection, and has an end', async () => {
  const page = session.read({ type: 'history', channel: 'room:1' }, now);
  assert.equal(said()[0].type, 'history');
  session.disconnected();
  assert.equal(said()[0].type, 'history');
  now = session.deadline(now);
  assert.equal(now, 31_000);
  session.tick(now);
  await assert.rejects(page, { code: 'no_answer' });
});

test('disconnect says when to come back', () => {
  const farewell = hear({ type: 'disconnect', code: 4503, reason: 'draining', retry: 'later', reconnect_after: 1_500 });
  assert.deepEqual([farewell.code, farewell.retry, farewell.retryAfter], ['draining', 'later', 1_500]);
});

/** What the server begins, with what it tells. */
function beginning() {
  const begun = [];
  const refused = [];
  session.subscriptions.beginner = {
    make: (channel) => new Subscription(channel, null, (left) => session.subscriptions.leave(left)),
    begun: (subscription) => {
      const told = [];
      for (const type of ['entry', 'subscribed', 'ended']) {
        subscription.addEventListener(type, ({ detail }) => told.push(type === 'entry' ? detail.seq : type));
      }
      begun.push({ subscription, told });
    },
    refused: (channel, error) => refused.push([channel, error.code]),
  };
  return { begun, refused };
}

const starts = (more) => hear({ type: 'subscribed', channel: 'room:1', durable: true, ...more });

test('what the server begins is told before its first entry, and resumes with connect', () => {
  const { begun, refused } = beginning();
  starts({ head: { epoch: 1, seq: 5 } });
  [6, 7].forEach((seq) => hear(entry(seq)));
  assert.deepEqual(begun[0].told, ['subscribed', 6, 7]);
  session.disconnected();
  const [{ id, channels }] = readFrames(session.greeting());
  assert.deepEqual(channels, [{ channel: 'room:1', since: { epoch: 1, seq: 7 } }]);
  answer(id, durable(8, { recovered: true, from: 8, to: 8 }));
  hear(entry(8));
  assert.deepEqual(begun[0].told, ['subscribed', 6, 7, 'subscribed', 8]);
  hear({ type: 'subscribed', channel: 'room:9', error: { code: 'too_many_subscriptions', message: '', retry: 'never' } });
  assert.deepEqual([begun.length, refused], [1, [['room:9', 'too_many_subscriptions']]]);
});

test('what begins from the first entry is replayed', () => {
  const { begun } = beginning();
  starts({ head: { epoch: 1, seq: 2 }, recovered: true, from: 1, to: 2 });
  [1, 2, 3].forEach((seq) => hear(entry(seq)));
  assert.deepEqual(begun[0].told, ['subscribed', 1, 2, 3]);
});

test('a membership that ends and begins is another subscription', () => {
  const { begun } = beginning();
  starts({ head: { epoch: 1, seq: 5 } });
  hear({ type: 'unsubscribed', channel: 'room:1', code: 'not_found', message: '', retry: 'never' });
  starts({ head: { epoch: 1, seq: 9 } });
  hear(entry(10));
  assert.deepEqual(
    begun.map(({ told }) => told),
    [
      ['subscribed', 'ended'],
      ['subscribed', 10],
    ],
  );
  begun[1].subscription.unsubscribe();
  assert.deepEqual(said()[0].channels, ['room:1']);
});

test('of what the program wants itself the server is told how, also if it was quicker', () => {
  const { begun } = beginning();
  const { told } = subscribe({ since: { epoch: 1, seq: 3 }, slow: 'latest' });
  const [{ id }] = said();
  starts({ head: { epoch: 1, seq: 5 } });
  hear({ type: 'reply', id, result: { channels: [{ channel: 'room:1', error: { code: 'already_subscribed', message: '', retry: 'never' } }] } });
  hear(entry(6));
  now += 60_000;
  session.tick(now);
  const [unsubscribe, again] = said();
  assert.deepEqual([unsubscribe.type, unsubscribe.channels], ['unsubscribe', ['room:1']]);
  assert.deepEqual(again.channels, [{ channel: 'room:1', since: { epoch: 1, seq: 3 }, slow: 'latest' }]);
  answer(again.id, durable(6, { recovered: true, from: 4, to: 6 }));
  [4, 5, 6].forEach((seq) => hear(entry(seq)));
  assert.deepEqual([told, begun.length], [['subscribed', 4, 5, 6], 0]);
});

test('who did not ask is told nothing', () => {
  starts({ head: { epoch: 1, seq: 5 } });
  assert.deepEqual(said(), []);
});
