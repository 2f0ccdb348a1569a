/** What follows what in a channel, who is there, and which transport is tried. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HubbubError } from '../src/errors.js';
import { Ladder, PASSED_OVER } from '../src/ladder.js';
import { apply, begin } from '../src/presence.js';
import { behind, startOf, step } from '../src/sequence.js';
import { Tokens } from '../src/tokens.js';

const at = (epoch, seq) => ({ epoch, seq });
const span = (epoch, from, to = from) => ({ epoch, from, to });

test('the next seq follows, whatever its epoch', () => {
  for (const [cursor, next] of [[null, span(1, 77)], [at(0, 0), span(3, 1)], [at(1, 5), span(1, 6)], [at(1, 5), span(2, 6)], [at(1, 5), span(1, 6, 9)], [at(1, 5), span(1, 4, 9)]]) {
    assert.equal(step(cursor, next), 'next');
  }
});

test('a hole is a gap, and what was seen a duplicate', () => {
  for (const gap of [span(1, 7), span(1, 7, 9), span(2, 5), span(0, 6)]) assert.equal(step(at(1, 5), gap), 'gap');
  assert.equal(step(at(0, 0), span(1, 2)), 'gap');
  for (const seen of [span(1, 5), span(1, 1), span(1, 2, 5), span(0, 5)]) assert.equal(step(at(1, 5), seen), 'duplicate');
});

test('a head beyond the cursor proves a loss', () => {
  for (const [cursor, head] of [[at(1, 4), at(1, 5)], [at(0, 0), at(1, 5)], [at(1, 5), at(2, 3)]]) assert.ok(behind(cursor, head));
  for (const [cursor, head] of [[null, at(1, 5)], [at(1, 5), at(1, 5)], [at(1, 6), at(1, 5)]]) assert.ok(!behind(cursor, head));
});

test('an answer says where a subscription starts', () => {
  const head = at(2, 9);
  assert.equal(startOf(null, {}), null);
  assert.deepEqual(startOf(null, { head }), head);
  assert.deepEqual(startOf(at(1, 5), { head, recovered: true, from: 6 }), at(1, 5));
  assert.deepEqual(startOf(at(1, 5), { head, recovered: false, reason: 'expired', from: 8 }), at(1, 5));
  assert.deepEqual(startOf(at(1, 5), { head, recovered: false, reason: 'too_far' }), at(1, 5));
  assert.deepEqual(startOf(at(1, 5), { head, recovered: false, reason: 'epoch', from: 3 }), at(2, 2));
  assert.deepEqual(startOf(at(1, 5), { head, recovered: false, reason: 'epoch' }), head);
});

test('members leave before others join, and a whole list replaces them', () => {
  const held = begin(2, [{ user: 'a', connections: 1 }, { user: 'b', connections: 2 }]).members;
  const joined = [{ user: 'a', connections: 3 }, { user: 'c', connections: 1 }];
  assert.deepEqual(apply(held, { count: 2, left: ['a', 'b', 'nobody'], joined }), { count: 2, members: new Map([['a', 3], ['c', 1]]) });
  assert.deepEqual(held, new Map([['a', 1], ['b', 2]]), 'what the program holds is not changed under its hands');
  assert.deepEqual(apply(held, { count: 1, members: [{ user: 'd', connections: 1 }] }), { count: 1, members: new Map([['d', 1]]) });
});

test('above 1,000 members there is only a count, until a list comes', () => {
  const many = Array.from({ length: 1_000 }, (_, n) => ({ user: `${n}`, connections: 1 }));
  const held = begin(1_000, many).members;
  assert.equal(held.size, 1_000);
  assert.deepEqual(apply(held, { count: 1_001 }), { count: 1_001, members: null });
  assert.deepEqual(apply(null, { count: 999, left: ['1'] }), { count: 999, members: null });
  assert.equal(apply(null, { count: 1_000, members: many }).members.size, 1_000);
  assert.equal(apply(held, { count: 5, joined: [{ user: 'new', connections: 1 }] }).members, null, 'a server that miscounts');
  assert.deepEqual(begin(1_001, undefined), { count: 1_001, members: null });
});

test('a transport that fails where another works is passed over for a while', () => {
  const ladder = new Ladder(['websocket', 'sse', 'polling']);
  assert.deepEqual(ladder.round(0), ['websocket', 'sse', 'polling']);
  assert.equal(ladder.worked('sse', ['websocket'], 0), 'keep');
  assert.deepEqual(ladder.round(PASSED_OVER - 1), ['sse', 'polling', 'websocket']);
  assert.deepEqual(ladder.round(PASSED_OVER), ['websocket', 'sse', 'polling']);
  assert.equal(ladder.worked('polling', ['sse', 'websocket'], PASSED_OVER + 1), 'again', 'sse had worked');
  assert.equal(ladder.worked('polling', ['sse', 'websocket'], PASSED_OVER + 2), 'keep');
  assert.deepEqual(ladder.round(PASSED_OVER + 3), ['polling', 'websocket', 'sse']);
  assert.equal(ladder.worked('websocket', ['polling'], PASSED_OVER + 4), 'again');
  assert.equal(ladder.worked('polling', [], PASSED_OVER + 5), 'keep');
});

test('one that worked before is doubted once, in case the server was only starting', () => {
  const ladder = new Ladder(['websocket', 'sse']);
  assert.equal(ladder.worked('websocket', [], 0), 'keep');
  assert.equal(ladder.worked('sse', ['websocket'], 1), 'again');
  assert.deepEqual(ladder.round(2), ['websocket', 'sse']);
  assert.equal(ladder.worked('websocket', [], 3), 'keep');
  assert.equal(ladder.worked('sse', ['websocket'], 4), 'again');
  assert.equal(ladder.worked('sse', ['websocket'], 5), 'keep');
  assert.deepEqual(ladder.round(6), ['sse', 'websocket']);
});

test('a token that does not verify is not tried twice', async () => {
  let next = 'a';
  const tokens = new Tokens(() => next);
  await tokens.renew();
  tokens.refused(new HubbubError('token_expired', '', 'refresh'));
  await tokens.renew();
  tokens.refused(new HubbubError('unauthorized', '', 'refresh'));
  await assert.rejects(tokens.renew(), { code: 'unauthorized', retry: 'never' });
  next = 'b';
  await tokens.renew();
  assert.equal(tokens.current, 'b');
});

test('a program without a token says whether to ask again', async () => {
  const failing = (error) => new Tokens(() => Promise.reject(error)).renew();
  await assert.rejects(failing(new Error('offline')), { code: 'token', retry: 'later' });
  await assert.rejects(failing(new HubbubError('forbidden', 'go away')), { code: 'forbidden', retry: 'never' });
  await assert.rejects(new Tokens(() => '').renew(), { code: 'token', retry: 'never' });
});
