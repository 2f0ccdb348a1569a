/** Who is writing: told through an ephemeral channel, where what is lost is no loss. */

import { byId, say } from './dom.js';
import { nameOf, names } from './words.js';

/** We tell it at most once in this time, in ms. */
const EVERY = 2_000;
/** It is believed for this long, in ms. */
const GOOD_FOR = 4_000;
/** Bytes of a key, at most (PROTOCOL.md section 3). */
const KEY = 64;

export class Typing {
  #client;
  #channel;
  #told = -EVERY;
  /** A timer for each who is writing. @type {Map<string, number>} */
  #writers = new Map();

  /** @param {import('/assets/hubbub/index.js').Client} client */
  constructor(client, channel) {
    this.#client = client;
    this.#channel = channel;
  }

  start() {
    const subscription = this.#client.subscribe(this.#channel);
    subscription.addEventListener('entry', ({ detail }) => this.#heard(detail.publisher));
  }

  /** We are. Nothing is said while there is no connection: it would be told too late. */
  tell() {
    const { phase, user } = this.#client.state;
    if (phase !== 'online' || performance.now() - this.#told < EVERY) return;
    this.#told = performance.now();
    // With a key each a slow reader still hears of everybody.
    const key = new TextEncoder().encode(user).length <= KEY ? user : undefined;
    this.#client.publish(this.#channel, { typing: true }, { key }).catch(() => {
      // Whoever did not hear it sees the message itself.
    });
  }

  /** What they wrote is here. */
  done(user) {
    clearTimeout(this.#writers.get(user));
    this.#writers.delete(user);
    if (user === this.#client.state.user) this.#told = -EVERY;
    this.#show();
  }

  #heard(user) {
    if (user === this.#client.state.user) return;
    clearTimeout(this.#writers.get(user));
    this.#writers.set(user, setTimeout(() => this.done(user), GOOD_FOR));
    this.#show();
  }

  #show() {
    const list = [...this.#writers.keys()].map(nameOf);
    say(byId('typing'), list.length ? `${names(list)} ${list.length === 1 ? 'is' : 'are'} writing …` : '');
  }
}
