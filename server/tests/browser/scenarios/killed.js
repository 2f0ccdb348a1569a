// The server is killed and started again, twice, while both pages write without a pause. Each message is on both pages once, in one order,
// which is the history's.
// killed.js TRANSPORT

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { Person } from '../lib/person.js';
import { Channel } from '../lib/rest.js';
import { ask, eventually, say, scenario } from '../lib/run.js';

const [transport] = process.argv.slice(2);
/** Between two messages of one person, in ms. */
const PAUSE = 60;
/** Messages that have to be stored before each kill, and after the last one. */
const BETWEEN = 15;
/** For coming back, in ms: the pause between two attempts has grown while nobody answered. */
const COMING_BACK = 40_000;

await scenario(async (open) => {
  const token = await ask('token historian 600');
  const people = [];
  for (const name of ['Ada', 'Ben']) {
    const person = await Person.enters(open, name, { query: `?transport=${transport}` });
    await person.online(transport);
    people.push(person);
  }

  let over = false;
  const typing = people.map(async (person) => {
    const written = [];
    while (!over) {
      written.push(`${person.name} ${written.length + 1}`);
      await person.write(written.at(-1));
      await sleep(PAUSE);
    }
    return written;
  });

  const stored = async (person) => (await person.messages()).filter((message) => message.state === 'stored').length;
  let enough = 0;
  const more = async () => {
    enough += BETWEEN;
    for (const person of people) {
      enough = await eventually(`${person.name} has more than ${enough}`, async () => ((await stored(person)) > enough ? stored(person) : 0), COMING_BACK);
    }
  };
  for (const time of ['first', 'second']) {
    await more();
    await ask('kill');
    say(`killed for the ${time} time`);
    // Both have noticed, and go on writing.
    for (const person of people) {
      await eventually(
        `${person.name} is offline, and has written`,
        async () =>
          (await person.at('connection-bar').getAttribute('data-phase')) !== 'online' &&
          (await person.messages()).filter((message) => message.state === 'sending').length >= 3,
        COMING_BACK,
      );
    }
    await ask('start');
  }
  await more();
  over = true;
  const written = (await Promise.all(typing)).flat();
  say(`${written.length} messages were written`);

  const seen = [];
  for (const person of people) {
    await eventually(
      `${person.name} has nothing on its way`,
      async () => {
        const messages = await person.messages();
        return messages.length >= written.length && messages.every((message) => message.state === 'stored');
      },
      COMING_BACK,
    );
    assert.equal(await person.at('connection-bar').getAttribute('data-transport'), transport);
    seen.push((await person.messages()).map(({ seq, text }) => ({ seq, text })));
    assert.equal(await person.at('note').count(), 0, `${person.name} was told of something that could not be recovered`);
  }
  const history = (await new Channel('demo:lobby', token).history()).map(({ seq, payload }) => ({ seq, text: payload.text }));
  assert.deepEqual(history.map(({ text }) => text).sort(), written.sort(), 'each is stored once');
  assert.deepEqual(history.map(({ seq }) => seq), history.map((_, index) => index + 1), 'without a hole');
  for (const [index, person] of people.entries()) assert.deepEqual(seen[index], history, `${person.name} sees what is stored`);
  for (const { name } of people) {
    const own = history.filter(({ text }) => text.startsWith(name)).map(({ text }) => Number(text.split(' ')[1]));
    assert.deepEqual(own, own.map((_, index) => index + 1), `in the order in which ${name} wrote`);
  }
});
