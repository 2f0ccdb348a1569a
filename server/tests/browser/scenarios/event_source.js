// A native EventSource, in a page without any script of ours, resumes by itself when the server is killed and started again; and gives up
// when its token has expired, whether it is connected then or not.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { Channel } from '../lib/rest.js';
import { ask, eventually, say, scenario } from '../lib/run.js';

const ROOM = 'room:native';
/** Between two messages, in ms. */
const PAUSE = 20;
/** Entries that have to arrive before each kill, and after the last one. */
const BETWEEN = 40;

/** Opens an EventSource in the page, as a page without a client module would. Returns a handle on what it sees. */
const watch = async (page, token, channel) =>
  page.evaluateHandle(
    async ([token, channel]) => {
      const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
      const body = JSON.stringify({ channels: [{ channel, since: { epoch: 0, seq: 0 } }] });
      const answer = await fetch('/v1/tickets', { method: 'POST', headers, body });
      if (answer.status !== 201) throw new Error(`${answer.status} ${await answer.text()}`);
      const { ticket } = await answer.json();
      const source = new EventSource(`/v1/sse?ticket=${encodeURIComponent(ticket)}`);
      const seen = { source, ticket, frames: [], expired: 0, opened: 0 };
      source.onopen = () => (seen.opened += 1);
      source.onmessage = ({ data }) => seen.frames.push(JSON.parse(data));
      source.addEventListener('expired', () => (seen.expired += 1));
      return seen;
    },
    [token, channel],
  );

const frames = (seen) => seen.evaluate(({ frames }) => frames);
const count = (seen) => seen.evaluate(({ frames }) => frames.filter(({ type }) => type === 'entry').length);
const state = (seen) => seen.evaluate(({ source, expired, opened }) => ({ readyState: source.readyState, expired, opened }));

await scenario(async (open) => {
  const page = await open('/healthz');
  const seen = await watch(page, await ask('token native 600'), ROOM);

  const room = new Channel(ROOM, await ask('token publisher 600'));
  let over = false;
  const publishing = (async () => {
    let published = 0;
    while (!over) {
      await room.publish({ text: `${(published += 1)}` });
      await sleep(PAUSE);
    }
    return published;
  })();
  let enough = 0;
  const more = async () => {
    enough = (await count(seen)) + BETWEEN;
    await eventually(`it has ${enough} entries`, async () => (await count(seen)) >= enough, 30_000);
  };
  for (const time of ['first', 'second']) {
    await more();
    await ask('kill');
    say(`killed for the ${time} time`);
    await eventually('it is reconnecting', async () => (await state(seen)).readyState === 0);
    await ask('start');
  }
  await more();
  over = true;
  const published = await publishing;
  const last = (await room.history()).at(-1).seq;
  assert.equal(last, published, 'a retry doubles nothing');
  await eventually(
    'it has the last one',
    async () => (await frames(seen)).some(({ type, seq }) => type === 'entry' && seq === last),
  );
  resumed(await frames(seen), last);
  assert.equal((await state(seen)).opened, 3, 'by the browser itself');

  const again = await page.evaluate((ticket) => fetch(`/v1/sse?ticket=${ticket}`).then(({ status }) => status), await seen.evaluate(({ ticket }) => ticket));
  assert.equal(again, 401, 'a ticket is good once');

  await expires(page);
  await expiresMeanwhile(page);
});

/** Each entry up to `last` came in order; twice only behind a reconnect, and then without a hole. */
function resumed(frames, last) {
  let sessions = 0;
  let cursor = 0;
  let isFirst = true;
  let doubled = 0;
  for (const frame of frames) {
    if (frame.type === 'reply' && frame.id === 1) {
      sessions += 1;
      isFirst = true;
    } else if (frame.type === 'entry') {
      if (isFirst) {
        assert.ok(frame.seq <= cursor + 1, `a gap at a reconnect: ${frame.seq} after ${cursor}`);
        doubled += cursor + 1 - frame.seq;
      } else assert.equal(frame.seq, cursor + 1, 'one after the other');
      assert.equal(frame.payload.text, String(frame.seq));
      cursor = frame.seq;
      isFirst = false;
    }
  }
  assert.equal(cursor, last);
  assert.equal(sessions, 3);
  const subscribed = frames.filter(({ type, id }) => type === 'reply' && id === 2);
  assert.deepEqual(subscribed.map(({ result }) => result.channels[0].recovered), [true, true, true]);
  say(`${last} entries in ${sessions} sessions, ${doubled} of them twice`);
}

/** While it is connected: the stream says so, and the reconnect is answered with 204. */
async function expires(page) {
  const seen = await watch(page, await ask('token brief 4'), ROOM);
  await eventually('a source with a brief token is open', async () => (await state(seen)).opened === 1);
  await eventually('it gives up', async () => (await state(seen)).readyState === 2);
  const { expired, opened } = await state(seen);
  assert.deepEqual({ expired, opened }, { expired: 1, opened: 1 });
  const end = (await frames(seen)).at(-1);
  assert.equal(end.type, 'disconnect');
  assert.equal(end.code, 4501);
}

/** While it is reconnecting: its credential is as good as its token was. */
async function expiresMeanwhile(page) {
  const seen = await watch(page, await ask('token brief 3'), ROOM);
  await eventually('another one is open', async () => (await state(seen)).opened === 1);
  await ask('kill');
  await sleep(3_500);
  await ask('start');
  await eventually('it gives up, too', async () => (await state(seen)).readyState === 2);
  assert.equal((await state(seen)).opened, 1, 'no other session');
}
