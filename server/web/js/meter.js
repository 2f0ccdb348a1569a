/** What the dashboard's connection brings: how much, how fast, how late, and what was left out on the way. */

import { byId, say } from './dom.js';
import { whole } from './words.js';

/** Over how long the rate is taken, in ms, and how often the meter is read. */
const WINDOW = 3_000;
const READ_EVERY = 500;

export class Meter {
  /** When updates of the last while came, by the monotonic clock. @type {number[]} */
  #times = [];
  /** How late those were, in ms. @type {number[]} */
  #lags = [];
  #received = 0;
  #superseded = 0;
  #now;

  /** @param {() => number} now the server's clock, in Unix ms */
  constructor(now) {
    this.#now = now;
  }

  start() {
    setInterval(() => this.#read(), READ_EVERY);
  }

  /** An entry came live. @param {number} time when it was stored, in Unix ms of the server */
  entry(time) {
    this.#received += 1;
    this.#times.push(performance.now());
    this.#lags.push(Math.max(this.#now() - time, 0));
  }

  /** @param {{reason: string, count: number}} skip */
  skip({ reason, count }) {
    if (reason === 'superseded') this.#superseded += count;
  }

  #read() {
    const since = performance.now() - WINDOW;
    const old = this.#times.findIndex((time) => time >= since);
    const gone = old === -1 ? this.#times.length : old;
    this.#times.splice(0, gone);
    this.#lags.splice(0, gone);
    const middle = [...this.#lags].sort((a, b) => a - b)[this.#lags.length >> 1];
    say(byId('meter-rate'), (this.#times.length / (WINDOW / 1_000)).toFixed(1));
    say(byId('meter-received'), whole(this.#received));
    say(byId('meter-superseded'), whole(this.#superseded));
    say(byId('meter-lag'), middle === undefined ? '–' : `${whole(Math.round(middle))} ms`);
  }

  /** Whether anything came lately. */
  get isStill() {
    return this.#times.length === 0;
  }
}
