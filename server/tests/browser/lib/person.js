// Somebody at the page: what a person does and sees there, by the ids that `server/web/README.md` lists.

import assert from 'node:assert/strict';
import { ask, eventually } from './run.js';

export class Person {
  constructor(name, page) {
    this.name = name;
    this.page = page;
  }

  /** Opens the page, with `query` behind its address, and comes in. */
  static async enters(open, name, { query = '', ...options } = {}) {
    const page = await open(`/${query}`, options);
    await page.getByTestId('name-input').fill(name);
    await page.getByTestId('name-submit').click();
    await page.getByTestId('composer').waitFor();
    return new Person(name, page);
  }

  /** The same where guests are refused, as behind a proxy: the page asks for a token then. */
  static async pastes(open, name) {
    const page = await open('/');
    const person = new Person(name, page);
    await person.at('name-input').fill(name);
    await person.at('name-submit').click();
    await person.at('token-input').fill(await ask(`token ${name} 600`));
    assert.match(await person.at('door-trouble').textContent(), /proxy/);
    await person.at('token-submit').click();
    await person.at('composer').waitFor();
    return person;
  }

  at(id) {
    return this.page.getByTestId(id);
  }

  /** Waits until the bar says that the page is online over this transport. */
  online(transport, patience) {
    return eventually(
      `${this.name} is online: ${transport}`,
      async () => {
        const { phase, transport: over } = await this.at('connection-bar').evaluate((bar) => ({ ...bar.dataset }));
        return phase === 'online' && over === transport;
      },
      patience,
    );
  }

  async write(text) {
    await this.at('composer').fill(text);
    await this.at('composer').press('Enter');
  }

  /** The messages in the log, from the top: `{seq, state, own, text}`. */
  messages() {
    return this.at('message').evaluateAll((nodes) =>
      nodes.map((node) => ({
        seq: Number(node.dataset.seq),
        state: node.dataset.state,
        own: 'own' in node.dataset,
        text: node.querySelector('[data-testid=message-text]').textContent,
      })),
    );
  }

  /** Waits until this message is there, and stored; there is one of it. */
  async sees(text) {
    const found = await eventually(`${this.name} sees ${JSON.stringify(text)}`, async () => {
      const same = (await this.messages()).filter((message) => message.text === text && message.state === 'stored');
      return same.length && same;
    });
    assert.equal(found.length, 1, `${text} is there more than once`);
    return found[0];
  }

  /** The names in the list of who is there. */
  members() {
    return this.at('member').evaluateAll((nodes) => nodes.map((node) => node.querySelector('bdi').textContent));
  }
}

/** Both write, and both see both. */
export async function talk(ada, ben) {
  await ada.write('hello, Ben');
  await ben.sees('hello, Ben');
  await ben.write('hello, Ada');
  const [there, here] = [await ada.sees('hello, Ada'), await ben.sees('hello, Ada')];
  assert.equal(there.seq, here.seq);
  assert.ok(here.own && !there.own, 'whose message it is');
}
