// What the page prefers is blocked: it takes TRANSPORT by itself, says so, and the chat works.
// blocked.js TRANSPORT WORDS

import assert from 'node:assert/strict';
import { Person, talk } from '../lib/person.js';
import { eventually, scenario } from '../lib/run.js';

const [transport, words] = process.argv.slice(2);
/** For finding out, in ms: a stream that is silent after its 200 is believed for some seconds. */
const FINDING_OUT = 40_000;

await scenario(async (open) => {
  const ada = await Person.pastes(open, 'Ada');
  await ada.online(transport, FINDING_OUT);
  assert.ok((await ada.at('connection-bar').innerText()).includes(words), 'the bar says it in words');
  const ben = await Person.pastes(open, 'Ben');
  await ben.online(transport, FINDING_OUT);
  await eventually('Ada sees both names', async () => (await ada.members()).sort().join() === 'Ada,Ben');
  await talk(ada, ben);
  await ben.at('composer').pressSequentially('I am');
  await eventually('Ada sees that Ben is writing', async () => /Ben/.test(await ada.at('typing').textContent()));
});
