/** Frames in messages, message ids, payloads, pauses. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { jitter, pauseAfter } from '../src/backoff.js';
import { HubbubError, errorOf, retryAfterClose } from '../src/errors.js';
import { Batch, Ids, readFrames } from '../src/frames.js';
import { ServerClock, uuid7 } from '../src/ids.js';
import { encodePayload } from '../src/payload.js';

test('a message holds frames back to back', () => {
  const frames = [{ type: 'a', text: '}{ "\\' }, { b: { c: [{}, '{'] } }, { d: '\\"}' }];
  const texts = frames.map((frame) => JSON.stringify(frame));
  assert.deepEqual(readFrames(texts.join('')), frames);
  assert.deepEqual(readFrames(` ${texts.join(' \n\t')}\r\n`), frames);
  assert.deepEqual(readFrames(''), []);
  for (const broken of ['{', '{"a":1', '{}x', 'x{}', '[1]', '{"a":"}', '}', '{}}']) assert.throws(() => readFrames(broken), SyntaxError, broken);
});

test('a batch holds 256 frames, and stays under its limit', () => {
  const batch = new Batch(1_000_000);
  const taken = Array.from({ length: 257 }, () => batch.push('{}'));
  assert.equal(taken.filter((how) => how === 'taken').length, 256);
  assert.equal(taken.at(-1), 'full');
  assert.equal(batch.text, '{}'.repeat(256));
});

test('a batch counts bytes, not characters', () => {
  const batch = new Batch(10);
  assert.equal(batch.push('ééééé'), 'too large');
  assert.equal(batch.push('éééé'), 'taken');
  assert.equal(batch.push('é'), 'full');
  assert.equal(new Batch(2 ** 40).push('x'.repeat(1_048_576)), 'too large');
});

test('a frame that is long goes alone', () => {
  const batch = new Batch(1_048_576);
  assert.equal(batch.push('x'.repeat(300_000)), 'taken');
  assert.equal(batch.push('{}'), 'full');
});

test('requests are numbered from 1', () => {
  const ids = new Ids();
  assert.deepEqual([ids.next(), ids.next()], [1, 2]);
});

test("message ids are UUIDs of version 7 with the server's time", async () => {
  const clock = new ServerClock();
  clock.set(1_732_233_600_123);
  const id = uuid7(clock.now());
  assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  const unix = Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16);
  assert.ok(unix >= 1_732_233_600_123 && unix < 1_732_233_601_123, `${unix}`);
  assert.equal(uuid7(0xffff_ffff_ffff).slice(0, 13), 'ffffffff-ffff');
  assert.equal(new Set(Array.from({ length: 1_000 }, () => uuid7(unix))).size, 1_000);
});

test('a payload is what JSON can carry, 28 deep', () => {
  assert.equal(encodePayload(null), 'null');
  assert.equal(encodePayload({ a: ['"{[', '\\'] }), '{"a":["\\"{[","\\\\"]}');
  const deep = (n) => (n === 0 ? 'x' : [deep(n - 1)]);
  assert.equal(typeof encodePayload(deep(28)), 'string');
  const cyclic = {};
  cyclic.self = cyclic;
  for (const bad of [undefined, () => 1, cyclic, 1n, deep(29)]) assert.throws(() => encodePayload(bad), { code: 'payload_invalid' });
});

test('pauses have full jitter, between 0 and the bound of their attempt', () => {
  const bounds = [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 20_000, 20_000];
  bounds.forEach((bound, n) => {
    assert.equal(jitter(n, () => 0), 0);
    assert.equal(jitter(n, () => 0.5), bound / 2);
    const pauses = Array.from({ length: 1_000 }, () => jitter(n));
    assert.ok(pauses.every((pause) => pause >= 0 && pause < bound));
    assert.ok(Math.min(...pauses) < bound * 0.1 && Math.max(...pauses) > bound * 0.9);
  });
  assert.ok(jitter(5_000) < 20_000);
});

test('a pause follows what the error says', () => {
  const half = () => 0.5;
  const error = (retry, after) => new HubbubError('any', 'any', retry, after);
  assert.equal(pauseAfter(error('never'), 0), null);
  assert.deepEqual([0, 1, 2].map((n) => pauseAfter(error('now'), n, half)), [0, 125, 250]);
  assert.deepEqual([0, 1].map((n) => pauseAfter(error('later', 7_000), n, half)), [7_125, 7_250]);
  assert.equal(pauseAfter(error('refresh'), 0, half), 125);
});

test('close codes say whether to come back', () => {
  const expected = { 1000: 'never', 1001: 'later', 1005: 'later', 1006: 'later', 1009: 'never', 1010: 'never', 1011: 'later', 4400: 'never' };
  Object.assign(expected, { 4401: 'refresh', 4403: 'refresh', 4499: 'never', 4500: 'later', 4501: 'refresh', 4503: 'later', 4505: 'now', 4999: 'later' });
  for (const [code, retry] of Object.entries(expected)) assert.equal(retryAfterClose(Number(code)), retry, code);
});

test('an error frame and a problem are the same error', () => {
  const frame = errorOf({ type: 'error', code: 'overloaded', message: 'full', retry: 'later', retry_after: 5 });
  const problem = errorOf({ title: 'Service Unavailable', detail: 'full', code: 'overloaded', retry: 'later', retry_after: 5 });
  for (const error of [frame, problem]) assert.deepEqual([error.code, error.message, error.retry, error.retryAfter], ['overloaded', 'full', 'later', 5]);
});
