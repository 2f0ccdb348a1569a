/** One subscription as its client sees it: what it is on the wire, and what the program has been given. */

import { errorOf } from './errors.js';
import { apply, begin } from './presence.js';
import { behind, startOf, step } from './sequence.js';

/** @typedef {import('./subscription.js').Subscription} Subscription */
/** @typedef {import('./subscription.js').SubscribeOptions} SubscribeOptions */
/** @typedef {'kept' | 'gap'} Outcome whether something is missing before what came */

export class Tracked {
  /**
   * What it is on the wire: to be asked for; asked for (what comes before the answer belongs to an earlier one); answered; or to be
   * asked for at `due`.
   * @type {'wanted' | 'asked' | 'live' | 'later'}
   */
  phase = 'wanted';
  /** The `subscribe` that asked for it last. */
  request = 0;
  /** When it is wanted again, in ms of the clock that `Subscriptions` is given. */
  due = 0;
  /** Since when it is live, on that clock. */
  since = 0;
  /** Failures in a row. */
  failures = 0;

  /**
   * @param {Subscription} subscription
   * @param {SubscribeOptions} options
   */
  constructor(subscription, { slow, presence }) {
    this.subscription = subscription;
    this.slow = slow;
    this.presence = presence === true || undefined;
  }

  /** Its part of a `subscribe`. */
  asking() {
    const { channel, cursor } = this.subscription;
    return { channel, since: cursor ?? undefined, slow: this.slow, presence: this.presence };
  }

  /**
   * Takes the server's answer, which is no refusal.
   * @param {any} answer
   * @param {number} now
   */
  subscribed(answer, now) {
    this.phase = 'live';
    this.since = now;
    const { subscription } = this;
    subscription.cursor = startOf(subscription.cursor, answer);
    if (answer.recovered === false) subscription.tell('reset', { reason: answer.reason });
    subscription.tell('subscribed', answer);
    if (this.presence && answer.presence) this.#told(begin(answer.presence.count, answer.presence.members));
  }

  /**
   * Takes a frame about the channel.
   * @param {any} frame
   * @returns {Outcome}
   */
  frame(frame) {
    switch (frame.type) {
      case 'entry':
        return this.#next(frame, frame.seq, frame.seq);
      case 'skip':
        return this.#next(frame, frame.from, frame.to);
      case 'presence':
        if (this.presence) this.#told(apply(this.subscription.members, frame));
        return 'kept';
      default:
        return 'kept';
    }
  }

  /**
   * Takes the server's word that everything up to `head` was sent.
   * @param {any} head
   * @returns {Outcome}
   */
  head(head) {
    return behind(this.subscription.cursor, head) ? 'gap' : 'kept';
  }

  /**
   * @param {any} frame
   * @param {number | null | undefined} from absent in an ephemeral channel, as `to` is
   * @param {number | null | undefined} to
   * @returns {Outcome}
   */
  #next(frame, from, to) {
    const { subscription } = this;
    if (typeof from === 'number' && typeof to === 'number') {
      const how = step(subscription.cursor, { epoch: frame.epoch, from, to });
      if (how !== 'next') return how === 'gap' ? 'gap' : 'kept';
      subscription.cursor = { epoch: frame.epoch, seq: to };
    }
    this.failures = 0;
    subscription.tell(frame.type, frame);
    return 'kept';
  }

  /** @param {import('./presence.js').Members} members */
  #told({ count, members }) {
    this.subscription.count = count;
    this.subscription.members = members;
    this.subscription.tell('presence');
  }
}

/**
 * The error in one channel's part of an answer.
 * @param {any} answer
 */
export const refusal = (answer) => (answer.error ? errorOf(answer.error) : null);
