/** Against a real server, by each transport. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HubbubError } from '../src/index.js';
import { clientOf, record, until } from '../testing/helpers.js';
import { Server } from '../testing/server.js';

const TRANSPORTS = ['websocket', 'sse', 'polling'];

for (const transport of TRANSPORTS) {
  const options = { transports: [transport] };

  test(`${transport}: publishes, hears itself, reads history`, { timeout: 60_000 }, async (t) => {
    const server = await Server.start(t);
    const client = clientOf(t, server, 'alice', options);
    const room = client.subscribe('room:1');
    const heard = record(room);
    await until(() => heard.of('subscribed').length === 1, 'an answer');
    assert.deepEqual([client.state.phase, client.state.transport, client.state.user], ['online', transport, 'alice']);
    const messageId = client.newMessageId();
    const first = await client.publish('room:1', { text: 'hé "{}" 🙂' }, { messageId, key: 'k' });
    assert.deepEqual([first.message_id, first.seq], [messageId, 1]);
    const again = await client.publish('room:1', { text: 'hé "{}" 🙂' }, { messageId, key: 'k' });
    assert.deepEqual([again.duplicate, again.seq], [true, 1]);
    await client.publish('room:1', null);
    await until(() => heard.of('entry').length === 2, 'two entries');
    assert.deepEqual(heard.of('entry').map(({ seq, payload, key }) => [seq, payload, key]), [[1, { text: 'hé "{}" 🙂' }, 'k'], [2, null, undefined]]);
    assert.deepEqual(room.cursor, { epoch: 1, seq: 2 });
    const page = await client.history('room:1', { before: 2, limit: 5 });
    assert.deepEqual([page.entries.length, page.entries[0].message_id, page.head.seq], [1, messageId, 2]);
    await assert.rejects(client.publish('room:1', 'other', { messageId }), { code: 'id_reused', retry: 'never' });
    await assert.rejects(client.history('live:1'), { code: 'not_durable' });
    assert.throws(() => client.subscribe('room:1'), { code: 'already_subscribed' });
    room.unsubscribe();
    await client.publish('room:1', 'unheard');
    assert.equal(heard.of('entry').length, 2);
    const whole = record(client.subscribe('room:1', { since: { epoch: 0, seq: 0 } }));
    await until(() => whole.of('entry').length === 3, 'a replay');
    assert.equal(whole.of('subscribed')[0].recovered, true);
    const waiting = client.publish('room:1', 'never answered');
    client.close();
    await assert.rejects(waiting, { code: 'closed' });
    assert.equal(whole.of('ended').length, 1);
  });

  test(`${transport}: sees members come and go`, { timeout: 60_000 }, async (t) => {
    const server = await Server.start(t, 'namespaces.room.presence=true');
    const alice = clientOf(t, server, 'alice', options);
    const bob = clientOf(t, server, 'bob', options);
    const room = alice.subscribe('room:1', { presence: true });
    const theirs = bob.subscribe('room:1');
    await until(() => room.count === 2 && room.members?.get('bob') === 1, 'two members');
    assert.deepEqual((await bob.presence('room:1')).members.map(({ user }) => user), ['alice', 'bob']);
    theirs.unsubscribe();
    await until(() => room.count === 1 && !room.members?.has('bob'), 'one member');
  });

  test(`${transport}: what the server begins survives it, and ends with the membership`, { timeout: 120_000 }, async (t) => {
    const server = await Server.start(t);
    const ask = async (user, method, path, body) => {
      const headers = { authorization: `Bearer ${server.token(user)}`, 'content-type': 'application/json' };
      const answer = await fetch(server.url + path, { method, headers, body: body && JSON.stringify(body) });
      assert.ok(answer.ok, `${method} ${path}: ${answer.status}`);
    };
    const alice = clientOf(t, server, 'alice', options);
    const bob = clientOf(t, server, 'bob', { ...options, auto: { presence: true } });
    const begun = new Map();
    bob.addEventListener('begun', ({ detail }) => begun.set(detail.channel, { room: detail, heard: record(detail) }));
    await until(() => begun.has('user:bob'), 'his own channel');
    await ask('alice', 'POST', '/v1/channels', { name: 'chat:tea', title: 'Tea', visibility: 'public' });
    await ask('bob', 'PUT', '/v1/channels/chat:tea/membership');
    await until(() => begun.has('chat:tea'), 'the room');
    const { room, heard } = begun.get('chat:tea');
    await until(() => room.count === 1, 'he is there');
    const published = [];
    for (let n = 0; n < 40; n += 1) {
      published.push(alice.publish('chat:tea', n));
      if (n === 20) {
        await published[10];
        await server.kill();
        await server.run();
      }
    }
    await Promise.all(published);
    await until(() => heard.of('entry').length === 40, 'everything');
    assert.deepEqual(heard.of('entry').map(({ seq }) => seq), Array.from({ length: 40 }, (_, n) => n + 1));
    assert.equal(begun.size, 2);
    assert.equal(begun.get('chat:tea').room, room);
    await ask('bob', 'DELETE', '/v1/channels/chat:tea/members/bob');
    await until(() => heard.of('ended').length === 1, 'the end');
    assert.equal(heard.of('ended')[0].code, 'forbidden');
  });

  test(`${transport}: nothing is lost or doubled when the server is killed under load`, { timeout: 120_000 }, async (t) => {
    const server = await Server.start(t);
    const alice = clientOf(t, server, 'alice', options);
    const bob = clientOf(t, server, 'bob', options);
    const rooms = ['room:1', 'room:2'].map((name) => record(bob.subscribe(name, { since: { epoch: 0, seq: 0 } })));
    const answers = [];
    let n = 0;
    const load = setInterval(() => {
      for (let i = 0; i < 5; i++, n++) answers.push(alice.publish(`room:${1 + (n % 2)}`, n));
    }, 10);
    t.after(() => clearInterval(load));
    for (let kills = 0; kills < 3; kills++) {
      const before = n;
      await until(
        () => n > before + 300 && alice.state.phase === 'online' && rooms.every((room) => room.of('subscribed').length === kills + 1),
        'load, a connection and subscriptions',
      );
      await server.kill();
      await server.run();
    }
    const before = n;
    await until(() => n > before + 200, 'load after the last kill');
    clearInterval(load);
    const published = await Promise.all(answers);
    await until(() => rooms.reduce((sum, room) => sum + room.of('entry').length, 0) >= n, `${n} entries`, 30_000);
    rooms.forEach((room, at) => {
      const entries = room.of('entry');
      const theirs = [...Array(n).keys()].filter((i) => i % 2 === at);
      assert.deepEqual(entries.map(({ seq }) => seq), theirs.map((_, i) => i + 1));
      assert.deepEqual(entries.map(({ payload }) => payload).sort((a, b) => a - b), theirs);
      assert.deepEqual(new Map(entries.map(({ message_id, seq }) => [message_id, seq])), new Map(theirs.map((i) => [published[i].message_id, published[i].seq])));
      assert.deepEqual([room.of('reset').length, room.of('skip').length], [0, 0]);
      assert.equal(room.of('subscribed').length, 4);
    });
    assert.equal(alice.state.pending, 0);
  });

  test(`${transport}: waits as long as a draining server says, and comes back`, { timeout: 60_000 }, async (t) => {
    const server = await Server.start(t, 'drain.notice=0s', 'drain.window=1s');
    const client = clientOf(t, server, 'alice', options);
    const room = record(client.subscribe('room:1'));
    const reasons = new Set();
    client.addEventListener('state', () => reasons.add(client.state.reason));
    await until(() => room.of('subscribed').length === 1, 'an answer');
    await server.drain();
    await server.run();
    await until(() => room.of('subscribed').length === 2, 'a resume', 30_000);
    assert.equal(room.of('subscribed')[1].recovered, true);
    assert.ok([...reasons].some((reason) => reason?.includes('draining')), [...reasons].join());
  });

  test(`${transport}: renews its token before it is over, and lasts`, { timeout: 60_000 }, async (t) => {
    const server = await Server.start(t);
    let asked = 0;
    const token = () => server.token('alice', { seconds: asked++ === 0 ? 4 : 3_600 });
    const client = clientOf(t, server, 'alice', { ...options, token });
    const phases = [];
    client.addEventListener('state', () => phases.push(client.state.phase));
    await until(() => client.state.phase === 'online', 'online');
    const online = Date.now();
    await until(() => asked === 2, 'a renewal');
    await until(() => Date.now() > online + 6_000, 'the first token to be over');
    await client.publish('room:1', 'after the first token');
    assert.ok(!phases.includes('waiting'), phases.join());
  });

  test(`${transport}: comes back with a new token when it had none in time`, { timeout: 60_000 }, async (t) => {
    const server = await Server.start(t);
    let asked = 0;
    const token = () => {
      if (asked++ === 0) return server.token('alice', { seconds: 2 });
      if (client.state.phase === 'online') throw new Error('not now');
      return server.token('alice');
    };
    const client = clientOf(t, server, 'alice', { ...options, token });
    const room = record(client.subscribe('room:1'));
    await until(() => room.of('subscribed').length === 2, 'a resume');
    assert.equal((await client.publish('room:1', 1)).seq, 1);
  });

  test(`${transport}: ends when the token becomes another user's`, { timeout: 60_000 }, async (t) => {
    const server = await Server.start(t);
    let asked = 0;
    const token = () => (asked++ === 0 ? server.token('alice', { seconds: 3 }) : server.token('mallory'));
    const client = clientOf(t, server, 'alice', { ...options, token });
    const room = record(client.subscribe('room:1'));
    await until(() => client.state.phase === 'closed', 'the end');
    assert.equal(room.of('ended')[0].code, 'identity_changed');
  });

  test(`${transport}: ends when no other token can help`, { timeout: 60_000 }, async (t) => {
    const server = await Server.start(t);
    const client = clientOf(t, server, 'alice', { ...options, token: () => 'not.a.token' });
    const ended = record(client.subscribe('room:1'));
    await until(() => client.state.phase === 'closed', 'the end');
    assert.equal(ended.of('ended')[0].code, 'unauthorized');
    await assert.rejects(client.publish('room:1', 1), HubbubError);
  });

  test(`${transport}: a refused channel ends, its neighbour does not`, { timeout: 60_000 }, async (t) => {
    const server = await Server.start(t);
    const token = server.token('alice', { grants: [{ channels: ['room:1'], actions: ['subscribe'] }] });
    const client = clientOf(t, server, 'alice', { ...options, token: () => token });
    const [one, two] = ['room:1', 'room:2'].map((name) => record(client.subscribe(name)));
    await until(() => one.of('subscribed').length === 1 && two.of('ended').length === 1, 'two answers');
    assert.deepEqual([two.of('ended')[0].code, one.of('ended').length], ['forbidden', 0]);
  });
}
