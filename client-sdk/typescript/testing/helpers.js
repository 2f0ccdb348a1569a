/** What the tests with a real server share. */

import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { Client } from '../src/index.js';

/** A client of `user` at `server`, closed after the test `t`. */
export function clientOf(t, server, user, options = {}) {
  const token = server.token(user);
  const client = new Client({ url: server.url, token: () => token, WebSocket, ...options });
  t.after(() => client.close());
  return client;
}

/** Resolves when `holds()`; fails after `ms`. */
export async function until(holds, what, ms = 15_000) {
  const end = Date.now() + ms;
  while (!holds()) {
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
    await sleep(5);
  }
}

/** Everything that a subscription tells, in order, as `{type, detail}`. */
export function record(subscription) {
  const events = [];
  for (const type of ['entry', 'skip', 'presence', 'subscribed', 'reset', 'ended']) {
    subscription.addEventListener(type, ({ detail }) => events.push({ type, detail }));
  }
  return { events, of: (type) => events.filter((event) => event.type === type).map((event) => event.detail) };
}
