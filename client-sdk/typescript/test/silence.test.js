/** Connections that are dead without having ended, and attempts that somebody asks for. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HubbubError } from '../src/index.js';
import { clientOf, record, until } from '../testing/helpers.js';
import { Proxy } from '../testing/proxy.js';
import { Server } from '../testing/server.js';

const timeout = 60_000;

for (const transport of ['websocket', 'sse']) {
  test(`${transport}: a server that is silent for its heartbeat and grace is gone`, { timeout }, async (t) => {
    const server = await Server.start(t, 'session.heartbeat=500ms', 'session.grace=1s');
    const proxy = await Proxy.start(t, server);
    const client = clientOf(t, server, 'alice', { url: proxy.url, transports: [transport] });
    const room = record(client.subscribe('room:1'));
    await until(() => room.of('subscribed').length === 1, 'an answer');
    const states = [];
    client.addEventListener('state', () => states.push(client.state));
    const quiet = Date.now();
    await until(() => Date.now() > quiet + 3_000, '3 s in which only heartbeats come');
    assert.deepEqual(states, []);
    proxy.frozen = true;
    await until(() => client.state.phase !== 'online', 'the silence to be noticed', 4_000);
    proxy.frozen = false;
    await client.publish('room:1', 'heard');
    await until(() => room.of('entry').length === 1, 'an entry');
    assert.match(states[0].reason, /silent/);
  });
}

test('reconnect() finds out within 10 s that a connection is dead', { timeout }, async (t) => {
  const server = await Server.start(t);
  const proxy = await Proxy.start(t, server);
  const client = clientOf(t, server, 'alice', { url: proxy.url, transports: ['websocket'] });
  await until(() => client.state.phase === 'online', 'online');
  const states = [];
  client.addEventListener('state', () => states.push(client.state));
  const online = Date.now();
  await until(() => Date.now() > online + 5_500, 'what was heard lately to be old');
  client.reconnect();
  const asked = Date.now();
  await until(() => Date.now() > asked + 5_500, 'the answer to be old, too');
  assert.deepEqual(states, [], 'a live connection is left alone');
  proxy.frozen = true;
  client.reconnect();
  await until(() => client.state.phase !== 'online', 'the silence to be noticed', 11_000);
  proxy.frozen = false;
  await until(() => client.state.phase === 'online', 'online again');
});

test('reconnect() does not wait for retryAt', { timeout }, async (t) => {
  const server = await Server.start(t);
  let asked = 0;
  const token = () => {
    if (asked++ === 0) throw new HubbubError('unavailable', 'come back in a minute', 'later', 60_000);
    return server.token('alice');
  };
  const client = clientOf(t, server, 'alice', { token });
  await until(() => client.state.phase === 'waiting', 'waiting');
  assert.ok(client.state.retryAt > Date.now() + 55_000);
  assert.equal(client.state.reason, 'come back in a minute');
  client.reconnect();
  await until(() => client.state.phase === 'online', 'online', 5_000);
  assert.deepEqual([client.state.retryAt, client.state.reason], [null, null]);
});
