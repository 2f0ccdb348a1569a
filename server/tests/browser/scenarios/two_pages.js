// Two pages chat: names, messages, who is there, who is writing; and a message of one's own goes from sending to stored in its place.

import assert from 'node:assert/strict';
import { Person, talk } from '../lib/person.js';
import { complaints, eventually, scenario } from '../lib/run.js';

await scenario(async (open) => {
  const ada = await Person.enters(open, 'Ada');
  await ada.online('websocket');
  const ben = await Person.enters(open, 'Ben');
  await ben.online('websocket');

  for (const person of [ada, ben]) {
    await eventually(`${person.name} sees both names`, async () => (await person.members()).sort().join() === 'Ada,Ben');
  }
  assert.match(await ada.at('member-count').textContent(), /2/);
  await talk(ada, ben);

  await ben.at('composer').pressSequentially('I am still wr');
  await eventually('Ada sees that Ben is writing', async () => /Ben/.test(await ada.at('typing').textContent()));
  await ben.write('done');
  await ada.sees('done');
  await eventually('Ben is not writing any more', async () => (await ada.at('typing').textContent()) === '');
  await ben.at('composer').pressSequentially('and now I forget');
  await eventually('Ada sees it again', async () => /Ben/.test(await ada.at('typing').textContent()));
  await eventually('and for a while only', async () => (await ada.at('typing').textContent()) === '');

  // What an element of the log went through, while there was one of it.
  await ada.page.evaluate(() => {
    window.went = [];
    const look = () => {
      const same = [...document.querySelectorAll('[data-testid=message]')].filter((node) => node.textContent.includes('an echo'));
      if (same.length) window.went.push(`${same.length} ${same.map((node) => node.dataset.state)}`);
    };
    const log = document.querySelector('[data-testid=messages]');
    new MutationObserver(look).observe(log, { childList: true, subtree: true, attributeFilter: ['data-state'] });
  });
  await ada.write('an echo');
  await ada.sees('an echo');
  await ben.sees('an echo');
  const went = (await ada.page.evaluate(() => window.went)).filter((state, index, all) => state !== all[index - 1]);
  assert.deepEqual(went, ['1 sending', '1 stored']);

  const late = await Person.enters(open, 'Cleo');
  await late.online('websocket');
  for (const text of ['hello, Ben', 'hello, Ada', 'done', 'an echo']) await late.sees(text);
  await late.page.reload();
  await late.online('websocket');
  await late.sees('an echo');
  await late.page.context().close();
  await eventually('Cleo is gone', async () => (await ada.members()).sort().join() === 'Ada,Ben');

  for (const person of [ada, ben, late]) assert.deepEqual(complaints(person.page), [], `${person.name}'s console`);
});
