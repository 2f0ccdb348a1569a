/** Every subscription of a client, and what is to be said about them on the wire. No I/O: frames in, frames out. */

import { pauseAfter } from './backoff.js';
import { HubbubError } from './errors.js';
import { Tracked, refusal } from './tracked.js';

/** Channels of one frame, at most (PROTOCOL.md section 4). */
const MAX_CHANNELS = 512;
/** A subscription, or a connection, that has lasted so many ms has no failures in a row behind it. */
export const STABLE_AFTER = 5_000;

/**
 * @typedef {object} Beginner
 * @property {'close' | 'latest'} [slow] the policy of each
 * @property {(channel: string) => import('./subscription.js').Subscription} make what the program gets
 * @property {(subscription: import('./subscription.js').Subscription) => void} begun tells it
 * @property {(channel: string, error: HubbubError) => void} refused tells it that there is none
 */

/**
 * The subscriptions by channel. Each is in exactly one phase (`Tracked`); what comes for one that is not live is ignored, which
 * is what makes unsubscribing and subscribing again in one breath safe.
 */
export class Subscriptions {
  /** @type {Map<string, Tracked>} */
  #tracked = new Map();
  /** Goes onto the wire before what is wanted. @type {string[]} */
  #unwanted = [];
  /** What each `subscribe` without an answer asked for, in its order. @type {Map<number, Tracked[]>} */
  #asked = new Map();
  /** What the program is told of subscriptions that the server begins; null if it wants none. @type {Beginner | null} */
  beginner = null;

  /**
   * @param {import('./subscription.js').Subscription} subscription
   * @param {import('./subscription.js').SubscribeOptions} options
   */
  add(subscription, options) {
    if (this.#tracked.has(subscription.channel)) {
      throw new HubbubError('already_subscribed', `this client is already subscribed to ${subscription.channel}`);
    }
    this.#tracked.set(subscription.channel, new Tracked(subscription, options));
  }

  /**
   * The program listens no longer.
   * @param {import('./subscription.js').Subscription} subscription
   */
  leave(subscription) {
    const tracked = this.#tracked.get(subscription.channel);
    if (tracked?.subscription !== subscription) return;
    this.#tracked.delete(subscription.channel);
    if (tracked.phase === 'asked' || tracked.phase === 'live') this.#unwanted.push(subscription.channel);
    tracked.phase = 'later';
  }

  /**
   * Packs what is to be said: first what is unwanted, then what is wanted, in the order of its beginning.
   * @param {import('./frames.js').Batch} batch
   * @param {import('./frames.js').Ids} ids
   */
  send(batch, ids) {
    while (this.#unwanted.length > 0) {
      const channels = this.#unwanted.slice(0, MAX_CHANNELS);
      if (batch.push(JSON.stringify({ type: 'unsubscribe', id: ids.next(), channels })) !== 'taken') return;
      this.#unwanted.splice(0, channels.length);
    }
    const wanted = [...this.#tracked.values()].filter((tracked) => tracked.phase === 'wanted');
    for (let at = 0; at < wanted.length; at += MAX_CHANNELS) {
      const some = wanted.slice(at, at + MAX_CHANNELS);
      const id = ids.next();
      const channels = some.map((tracked) => tracked.asking());
      if (batch.push(JSON.stringify({ type: 'subscribe', id, channels })) !== 'taken') return;
      for (const tracked of some) Object.assign(tracked, { phase: 'asked', request: id });
      this.#asked.set(id, some);
    }
  }

  /**
   * Takes the answer to request `id`, if it is one of these: each channel is answered by itself, in order.
   * @param {number} id
   * @param {any} result
   * @param {number} now ms
   */
  reply(id, result, now) {
    this.#answered(id).forEach((tracked, at) => {
      if (!this.#waits(tracked, id)) return;
      const answer = result.channels[at];
      const error = refusal(answer);
      if (error) this.#refused(tracked, error, now);
      else tracked.subscribed(answer, now);
    });
  }

  /**
   * Takes the error that answers request `id`, if it is one of these.
   * @param {number} id
   * @param {HubbubError} error
   * @param {number} now ms
   */
  refuse(id, error, now) {
    for (const tracked of this.#answered(id)) if (this.#waits(tracked, id)) this.#refused(tracked, error, now);
  }

  /**
   * The server has begun a subscription, or could not.
   * @param {any} answer `subscribed`
   * @param {number} now ms
   */
  begun(answer, now) {
    const { beginner } = this;
    const known = this.#tracked.get(answer.channel);
    const error = refusal(answer);
    if (!beginner || known?.phase === 'live' || (known && error)) return;
    if (error) return beginner.refused(answer.channel, error);
    // The program has one of its own, which the server was not asked for in time: it is, as the program wants it.
    if (known) return this.#repair(known, now);
    const subscription = beginner.make(answer.channel);
    if (answer.recovered && answer.from) subscription.cursor = { epoch: answer.head.epoch, seq: answer.from - 1 };
    const tracked = new Tracked(subscription, { slow: beginner.slow, presence: Boolean(answer.presence) });
    tracked.phase = 'live';
    this.#tracked.set(answer.channel, tracked);
    beginner.begun(subscription);
    if (this.#live(answer.channel) === tracked) tracked.subscribed(answer, now);
  }

  /**
   * Takes an `entry`, `skip`, `presence` or `unsubscribed`.
   * @param {any} frame
   * @param {number} now ms
   */
  frame(frame, now) {
    const tracked = this.#live(frame.channel);
    if (!tracked) return;
    const error = frame.type === 'unsubscribed' ? refusal({ error: frame }) : null;
    if (error) this.#refused(tracked, error, now);
    else if (tracked.frame(frame) === 'gap') this.#repair(tracked, now);
  }

  /**
   * @param {any[]} heads
   * @param {number} now ms
   */
  heads(heads, now) {
    for (const head of heads) {
      const tracked = this.#live(head.channel);
      if (tracked?.head(head) === 'gap') this.#repair(tracked, now);
    }
  }

  /** The connection is gone: everything is wanted again. */
  disconnected() {
    this.#unwanted = [];
    this.#asked.clear();
    for (const tracked of this.#tracked.values()) tracked.phase = 'wanted';
  }

  /** When `tick` has something to do, in ms; Infinity for never. */
  get deadline() {
    let first = Infinity;
    for (const { phase, due } of this.#tracked.values()) if (phase === 'later') first = Math.min(first, due);
    return first;
  }

  /**
   * Wants again what has waited long enough.
   * @param {number} now ms
   */
  tick(now) {
    for (const tracked of this.#tracked.values()) {
      if (tracked.phase === 'later' && tracked.due <= now) tracked.phase = 'wanted';
    }
  }

  /**
   * The client has ended.
   * @param {HubbubError} error
   */
  close(error) {
    const all = [...this.#tracked.values()];
    this.#tracked.clear();
    for (const { subscription } of all) subscription.tell('ended', error);
  }

  /** @param {string} channel */
  #live(channel) {
    const tracked = this.#tracked.get(channel);
    return tracked?.phase === 'live' ? tracked : undefined;
  }

  /**
   * What request `id` asked for; it is answered now.
   * @param {number} id
   */
  #answered(id) {
    const asked = this.#asked.get(id) ?? [];
    this.#asked.delete(id);
    return asked;
  }

  /**
   * Whether it is still this request that a subscription waits for.
   * @param {Tracked} tracked
   * @param {number} id
   */
  #waits(tracked, id) {
    return tracked.phase === 'asked' && tracked.request === id;
  }

  /**
   * Something is missing: the log has it, after the cursor.
   * @param {Tracked} tracked
   * @param {number} now
   */
  #repair(tracked, now) {
    this.#unwanted.push(tracked.subscription.channel);
    this.#refused(tracked, new HubbubError('resubscribe', 'entries are missing', 'now'), now);
  }

  /**
   * It was refused, or ended: it is tried again, or over.
   * @param {Tracked} tracked
   * @param {HubbubError} error
   * @param {number} now
   */
  #refused(tracked, error, now) {
    const { subscription } = tracked;
    if (this.#tracked.get(subscription.channel) !== tracked) return;
    if (tracked.phase === 'live' && now - tracked.since >= STABLE_AFTER) tracked.failures = 0;
    const pause = pauseAfter(error, tracked.failures++);
    if (pause === null) {
      this.#tracked.delete(subscription.channel);
      subscription.tell('ended', error);
    } else if (pause === 0) tracked.phase = 'wanted';
    else Object.assign(tracked, { phase: 'later', due: now + pause });
  }
}
