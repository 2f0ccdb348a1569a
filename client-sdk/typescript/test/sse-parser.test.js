/** The stream of events, in whatever pieces it comes. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SseParser } from '../src/sse-parser.js';

const STREAM = [
  'retry: 1000',
  '',
  ': a comment',
  'data: {"text":"é 🙂 漢"}',
  '',
  'event: expired',
  'data:one',
  'data',
  'data:  two',
  '',
  'id: sealed',
  '',
  'unknown: field',
  'event: no data',
  '',
  'data: last',
  '',
  'data: without an end',
];
const EVENTS = [
  { event: 'message', data: '{"text":"é 🙂 漢"}' },
  { event: 'expired', data: 'one\n\n two' },
  { event: 'message', data: 'last' },
];

const read = (pieces) => {
  const parser = new SseParser();
  return pieces.flatMap((piece) => parser.push(piece));
};

for (const [name, end] of [['LF', '\n'], ['CR', '\r'], ['CRLF', '\r\n']]) {
  const bytes = new TextEncoder().encode(`\ufeff${STREAM.join(end)}`);

  test(`${name}: whole, and byte by byte`, () => {
    assert.deepEqual(read([bytes]), EVENTS);
    assert.deepEqual(read([...bytes].map((byte) => Uint8Array.of(byte))), EVENTS);
  });

  test(`${name}: cut anywhere`, () => {
    for (let at = 0; at <= bytes.length; at++) {
      assert.deepEqual(read([bytes.subarray(0, at), new Uint8Array(), bytes.subarray(at)]), EVENTS, `cut at ${at}`);
    }
  });
}

test('line ends may be mixed, and an event is told as soon as its line has ended', () => {
  const parser = new SseParser();
  const push = (text) => parser.push(new TextEncoder().encode(text)).map(({ data }) => data);
  assert.deepEqual(push('data: 1\r\n\r'), ['1']);
  assert.deepEqual(push('\ndata: 2\r\rdata: 3\n'), ['2']);
  assert.deepEqual(push('\n'), ['3']);
});
