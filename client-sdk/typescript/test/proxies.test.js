/** What stands between a browser and a real server: transports that are blocked or held back, answers that are lost. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clientOf, record, until } from '../testing/helpers.js';
import { Proxy } from '../testing/proxy.js';
import { Server } from '../testing/server.js';

const timeout = 60_000;

test('WebSocket, then events, then polling: whatever is let through', { timeout }, async (t) => {
  const server = await Server.start(t);
  const proxy = await Proxy.start(t, server);
  const client = clientOf(t, server, 'alice', { url: proxy.url });
  const room = record(client.subscribe('room:1'));
  const online = (transport) => until(() => client.state.phase === 'online' && client.state.transport === transport, transport);
  await online('websocket');
  proxy.blocked.add('websocket');
  for (const [transport, next] of [['sse', 'polling'], ['polling', null]]) {
    proxy.cut();
    await client.publish('room:1', transport);
    await online(transport);
    if (next) proxy.blocked.add(transport);
  }
  await until(() => room.of('entry').length === 2, 'two entries');
  assert.deepEqual(room.of('entry').map(({ payload }) => payload), ['sse', 'polling']);
  assert.equal(room.of('reset').length, 0);
});

test('a proxy that holds streams back is found out in some 4 s, and polled through', { timeout }, async (t) => {
  const server = await Server.start(t);
  const proxy = await Proxy.start(t, server);
  proxy.blocked.add('websocket');
  proxy.buffers = true;
  const client = clientOf(t, server, 'alice', { url: proxy.url });
  const began = Date.now();
  await until(() => client.state.phase === 'online', 'online');
  assert.equal(client.state.transport, 'polling');
  assert.ok(Date.now() - began >= 4_000 && Date.now() - began < 8_000);
});

test('a server that is down degrades nothing', { timeout }, async (t) => {
  const server = await Server.start(t);
  const client = clientOf(t, server, 'alice');
  await until(() => client.state.phase === 'online', 'online');
  const tried = new Set();
  client.addEventListener('state', () => tried.add(client.state.transport));
  await server.kill();
  await until(() => tried.has('polling'), 'every transport to be tried');
  await server.run();
  await until(() => client.state.phase === 'online', 'online again');
  assert.equal(client.state.transport, 'websocket');
});

for (const transport of ['sse', 'polling']) {
  test(`${transport}: answers to POSTs are lost, and nothing is doubled`, { timeout }, async (t) => {
    const server = await Server.start(t);
    const proxy = await Proxy.start(t, server);
    const bob = record(clientOf(t, server, 'bob', { transports: ['websocket'] }).subscribe('live:1'));
    const alice = clientOf(t, server, 'alice', { url: proxy.url, transports: [transport] });
    await until(() => bob.of('subscribed').length === 1 && alice.state.phase === 'online', 'both');
    let posts = 0;
    proxy.loses = (method, url) => method === 'POST' && url.includes('?n=') && posts++ % 2 === 0;
    for (let n = 0; n < 10; n++) await alice.publish('live:1', n);
    await until(() => bob.of('entry').length >= 10, 'ten entries');
    assert.deepEqual(bob.of('entry').map(({ payload }) => payload), [...Array(10).keys()]);
    const numbers = () => proxy.seen.filter((line) => line.includes('?n=')).map((line) => Number(line.split('?n=')[1]));
    await until(() => numbers().length >= 20, 'the last repeat');
    assert.deepEqual(numbers(), [...Array(10).keys()].flatMap((n) => [n + 1, n + 1]), 'each went twice, under its number');
  });
}

test('polling: a batch whose answer is lost comes again, and is handled once', { timeout }, async (t) => {
  const server = await Server.start(t);
  const proxy = await Proxy.start(t, server);
  const bob = clientOf(t, server, 'bob', { transports: ['websocket'] });
  const alice = clientOf(t, server, 'alice', { url: proxy.url, transports: ['polling'] });
  // An ephemeral channel has no seq by which a double could be told.
  const room = record(alice.subscribe('live:1'));
  await until(() => room.of('subscribed').length === 1 && bob.state.phase === 'online', 'both');
  let polls = 0;
  proxy.loses = (method) => method === 'GET' && polls++ % 2 === 0;
  for (let n = 0; n < 10; n++) {
    await bob.publish('live:1', n);
    await until(() => room.of('entry').length > n, `entry ${n}`);
  }
  assert.deepEqual(room.of('entry').map(({ payload }) => payload), [...Array(10).keys()]);
  assert.ok(polls > 10, `${polls} polls`);
  assert.equal(alice.state.phase, 'online');
});

test('polling: closing tells the server at once', { timeout }, async (t) => {
  const server = await Server.start(t, 'namespaces.room.presence=true');
  const proxy = await Proxy.start(t, server);
  const bob = clientOf(t, server, 'bob', { transports: ['websocket'] });
  const room = bob.subscribe('room:1', { presence: true });
  const alice = clientOf(t, server, 'alice', { url: proxy.url, transports: ['polling'] });
  alice.subscribe('room:1');
  await until(() => room.count === 2, 'two members');
  alice.close();
  await until(() => room.count === 1, 'one member', 5_000);
  assert.equal(proxy.seen.filter((line) => line.startsWith('DELETE /v1/poll/')).length, 1);
});

test('polling: a session that is gone is reopened, and resumed', { timeout }, async (t) => {
  const server = await Server.start(t);
  const proxy = await Proxy.start(t, server);
  const alice = clientOf(t, server, 'alice', { url: proxy.url, transports: ['polling'] });
  const room = record(alice.subscribe('room:1'));
  const seenPoll = () => proxy.seen.find((line) => line.startsWith('GET /v1/poll/'));
  await until(() => room.of('subscribed').length === 1 && seenPoll(), 'an answer, and a poll');
  const path = seenPoll().slice('GET '.length).split('?')[0];
  const headers = { authorization: `Bearer ${server.token('alice')}` };
  assert.equal((await fetch(server.url + path, { method: 'DELETE', headers })).status, 204);
  await until(() => room.of('subscribed').length === 2, 'a resume');
  assert.equal(room.of('subscribed')[1].recovered, true);
});
