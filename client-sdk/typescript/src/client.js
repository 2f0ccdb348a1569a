/** The client: what a program holds, and the loop that keeps a connection. */

import { pauseAfter } from './backoff.js';
import { Connection } from './connection.js';
import { HubbubError, broke, saidSo } from './errors.js';
import { uuid7 } from './ids.js';
import { Ladder } from './ladder.js';
import { watchPage } from './page.js';
import { encodePayload } from './payload.js';
import { Session } from './session.js';
import { Subscription } from './subscription.js';
import { STABLE_AFTER } from './subscriptions.js';
import { Tokens } from './tokens.js';
import { PollingTransport } from './transports/polling.js';
import { SseTransport } from './transports/sse.js';
import { WebSocketTransport } from './transports/websocket.js';

/** @typedef {import('./ladder.js').Name} TransportName */
/** @typedef {import('./subscription.js').SubscribeOptions} SubscribeOptions */
/** @typedef {import('./sequence.js').Cursor} Cursor */

/**
 * @typedef {object} Options
 * @property {() => string | Promise<string>} token asked at each connect, and before the token expires. A HubbubError with `retry: 'never'` ends the client
 * @property {string} [url] the server's http(s) origin; the page's if absent
 * @property {TransportName[]} [transports] the best first
 * @property {string} [name] of the program, at most 128 bytes, for the server's logs
 * @property {boolean | Auto} [auto] the server subscribes by itself to the user's channels: each is an event `begun`
 * @property {any} [WebSocket] an implementation, where the platform has none
 */

/**
 * @typedef {object} Auto
 * @property {'close' | 'latest'} [slow] as for `subscribe`, of each
 * @property {boolean} [presence] see members come and go, where that can be
 */

/**
 * @typedef {object} State
 * @property {'connecting' | 'online' | 'waiting' | 'closed'} phase
 * @property {TransportName | null} transport in use, or being tried
 * @property {number | null} retryAt when the next attempt follows, in Unix ms of this machine
 * @property {string | null} reason why there is no connection, for people
 * @property {string | null} user who the server says this is; kept while there is no connection
 * @property {number} pending publishes without an answer
 */

/** @typedef {{message_id: string, epoch?: number, seq?: number, time: number, duplicate?: boolean}} Published */

const TRANSPORTS = { websocket: WebSocketTransport, sse: SseTransport, polling: PollingTransport };
/** Why a connection that stands is given up: see `Ladder.worked`. */
const AGAIN = new HubbubError('again', 'a better way is tried once more', 'now');
/** No timer is set for longer, in ms: browsers take 32 bits. */
const LONGEST_TIMER = 2 ** 31 - 1;

/**
 * Connects, stays connected, and ends with `close` or when the server's word forbids to come back. `state` events tell.
 *
 * With `auto`, `begun` (detail: a Subscription) tells of each subscription that the server begins: listen to it at once, its `subscribed` and
 * its entries follow. It resumes by itself, and has `ended` when the user is no member any more. `refused` (detail: `{channel, error}`)
 * tells of one that it could not begin.
 */
export class Client extends EventTarget {
  #session = new Session();
  #ladder;
  #tokens;
  #settings;
  #name;
  /** @type {Auto | undefined} */
  #auto;
  /** @type {Connection | null} */
  #connection = null;
  /** @type {Omit<State, 'pending'>} */
  #state = { phase: 'connecting', transport: null, retryAt: null, reason: null, user: null };
  #told = '';
  /** Since when it is online, by the monotonic clock; null in a round that has not led there. @type {number | null} */
  #onlineSince = null;
  /** Ends the wait for the next attempt. */
  #wake = () => {};
  /** Before that the server wants no attempt, by the monotonic clock. */
  #notBefore = 0;
  /** The page is in a browser's cache. */
  #away = false;
  #stirred = false;
  /** @type {{at: number, id: any} | null} */
  #timer = null;
  #unwatch;

  /** @param {Options} options */
  constructor({
    token,
    url = globalThis.location?.origin,
    transports = ['websocket', 'sse', 'polling'],
    name,
    auto,
    WebSocket = globalThis.WebSocket,
  }) {
    super();
    if (typeof token !== 'function') throw new TypeError('token is a function that returns a token');
    for (const transport of transports) if (!(transport in TRANSPORTS)) throw new TypeError(`there is no transport ${transport}`);
    this.#tokens = new Tokens(token);
    this.#ladder = new Ladder(transports);
    this.#settings = { url: new URL(url).origin, tokens: this.#tokens, WebSocket };
    this.#name = name;
    if (auto) this.#begin(auto === true ? {} : auto);
    this.#unwatch = watchPage({ hint: () => this.#hint(), leaving: () => this.#leave(), back: () => this.#back() });
    this.#run();
  }

  /** How it is now. @returns {State} */
  get state() {
    return { ...this.#state, pending: this.#session.publishes.size };
  }

  /**
   * Listens to a channel, from `since` or from now. Throws `already_subscribed`, and `closed`.
   * @param {string} channel
   * @param {SubscribeOptions} [options]
   */
  subscribe(channel, options = {}) {
    this.#usable(channel);
    const subscription = this.#subscription(channel, options.since);
    this.#session.subscriptions.add(subscription, options);
    this.#stir();
    return subscription;
  }

  /**
   * Publishes; the answer says where it is stored. It is sent until it is answered, always under one message id. Rejects with the server's
   * refusal, with `buffer_full` at 1,024 publishes without an answer, and when the client ends.
   * @param {string} channel
   * @param {unknown} payload what JSON can carry
   * @param {{key?: string, messageId?: string}} [options]
   * @returns {Promise<Published>}
   */
  async publish(channel, payload, { key, messageId } = {}) {
    this.#usable(channel);
    const answer = this.#session.publish(channel, encodePayload(payload), key, messageId);
    this.#changed();
    this.#stir();
    try {
      return await answer;
    } finally {
      this.#changed();
    }
  }

  /** An id for `publish`, to know one's own message by: a UUIDv7 of the server's time. */
  newMessageId() {
    return uuid7(this.#session.clock.now());
  }

  /**
   * A page of a durable channel, oldest first. Rejects with `no_answer` after 30 s.
   * @param {string} channel
   * @param {{after?: number, before?: number, limit?: number}} [options]
   * @returns {Promise<{entries: any[], head: Cursor, first: number, more: boolean}>}
   */
  history(channel, { after, before, limit } = {}) {
    return this.#read(channel, { type: 'history', channel, after, before, limit });
  }

  /**
   * A page of a channel's members, in byte order. Rejects with `no_answer` after 30 s.
   * @param {string} channel
   * @param {{after?: string, limit?: number}} [options]
   * @returns {Promise<{members: {user: string, connections: number}[], count: number, more: boolean}>}
   */
  presence(channel, { after, limit } = {}) {
    return this.#read(channel, { type: 'presence', channel, after, limit });
  }

  /** While it waits: tries now, whatever `retryAt` says. While it is online: asks the server for a sign of life. */
  reconnect() {
    this.#wake();
    this.#connection?.check();
  }

  /** Ends it. What has no answer is rejected with `closed`. */
  close() {
    this.#end(new HubbubError('closed', 'the client was closed'));
  }

  /**
   * @param {string} channel
   * @param {Cursor} [since]
   */
  #subscription(channel, since) {
    return new Subscription(channel, since ?? null, (left) => {
      this.#session.subscriptions.leave(left);
      this.#stir();
    });
  }

  /**
   * The server begins subscriptions.
   * @param {Auto} auto
   */
  #begin({ slow, presence }) {
    this.#auto = { slow, presence };
    this.#session.subscriptions.beginner = {
      slow,
      make: (channel) => this.#subscription(channel),
      begun: (subscription) => this.dispatchEvent(new CustomEvent('begun', { detail: subscription })),
      refused: (channel, error) => this.dispatchEvent(new CustomEvent('refused', { detail: { channel, error } })),
    };
  }

  /** @param {string} channel */
  #usable(channel) {
    if (this.#state.phase === 'closed') throw new HubbubError('closed', 'the client has ended');
    if (typeof channel !== 'string' || channel === '' || channel.length > 128) {
      throw new HubbubError('channel_invalid', 'a channel has a name of 1 to 128 bytes');
    }
  }

  /**
   * @param {string} channel
   * @param {object} request
   */
  async #read(channel, request) {
    this.#usable(channel);
    const answer = this.#session.read(request, performance.now());
    this.#stir();
    return answer;
  }

  async #run() {
    let failures = 0;
    while (this.#state.phase !== 'closed') {
      let { error } = await this.#round();
      if (error === AGAIN) ({ error } = await this.#round());
      if (this.#onlineSince !== null && performance.now() - this.#onlineSince >= STABLE_AFTER) failures = 0;
      this.#tokens.refused(error);
      const pause = pauseAfter(error, failures++);
      if (pause === null) return this.#end(error);
      await this.#wait(pause, error);
    }
  }

  /** Tries each transport until one works, and returns how that one's connection ended; or why none worked. */
  async #round() {
    this.#onlineSince = null;
    this.#become({ phase: 'connecting', transport: null, retryAt: null });
    try {
      await this.#tokens.renew();
    } catch (error) {
      return saidSo(/** @type {HubbubError} */ (error));
    }
    /** @type {TransportName[]} */
    const failed = [];
    let end = broke('there is no transport to try');
    for (const name of this.#ladder.round(performance.now())) {
      if (this.#state.phase === 'closed') break;
      this.#become({ transport: name });
      end = await this.#connect(name, failed);
      if (end.by === 'server' || this.#onlineSince !== null) break;
      failed.push(name);
    }
    return end;
  }

  /**
   * Connects by one transport, and returns how that ended.
   * @param {TransportName} name
   * @param {TransportName[]} failed those that did not work in this round
   * @returns {Promise<import('./errors.js').End>}
   */
  #connect(name, failed) {
    return new Promise((resolve) => {
      const connection = new Connection((listener) => new TRANSPORTS[name](this.#settings, listener), this.#session, this.#tokens, {
        online: ({ user }) => {
          const now = performance.now();
          if (this.#ladder.worked(name, failed, now) === 'again') {
            return connection.leave(AGAIN);
          }
          this.#onlineSince = now;
          this.#become({ phase: 'online', reason: null, user });
        },
        stirred: () => this.#stir(),
        over: (end) => {
          this.#connection = null;
          this.#session.disconnected();
          resolve(end);
        },
      });
      this.#connection = connection;
      connection.open(this.#name, this.#auto);
      this.#stir();
    });
  }

  /**
   * @param {number} pause ms
   * @param {HubbubError} error
   */
  async #wait(pause, error) {
    if (this.#state.phase === 'closed') return;
    this.#notBefore = performance.now() + error.retryAfter;
    const { message: reason } = error;
    this.#become({ phase: 'waiting', transport: null, retryAt: this.#away ? null : Date.now() + Math.round(pause), reason });
    await new Promise((resolve) => {
      const timer = this.#away ? undefined : setTimeout(resolve, Math.min(pause, LONGEST_TIMER));
      this.#wake = () => {
        clearTimeout(timer);
        resolve(undefined);
      };
    });
    this.#wake = () => {};
  }

  #hint() {
    if (performance.now() >= this.#notBefore) this.#wake();
    this.#connection?.check();
  }

  #leave() {
    this.#away = true;
    this.#connection?.leave(new HubbubError('away', 'the page was left', 'now'));
  }

  #back() {
    this.#away = false;
    this.#wake();
  }

  /** Something is to be said, or a deadline has moved: once the program, or the server, has finished. */
  #stir() {
    if (this.#stirred) return;
    this.#stirred = true;
    queueMicrotask(() => {
      this.#stirred = false;
      this.#connection?.flush();
      this.#schedule();
    });
  }

  #schedule() {
    const at = Math.min(this.#session.deadline(performance.now()), this.#connection?.deadline ?? Infinity);
    if (this.#state.phase === 'closed' || at === Infinity || (this.#timer && this.#timer.at <= at)) return;
    clearTimeout(this.#timer?.id);
    const delay = Math.min(Math.max(at - performance.now(), 0), LONGEST_TIMER);
    this.#timer = { at, id: setTimeout(() => this.#tick(), delay) };
  }

  #tick() {
    this.#timer = null;
    const now = performance.now();
    this.#session.tick(now);
    this.#connection?.tick(now);
    this.#stir();
  }

  /** @param {Partial<State>} change */
  #become(change) {
    if (this.#state.phase === 'closed') return;
    Object.assign(this.#state, change);
    this.#changed();
  }

  #changed() {
    const told = JSON.stringify(this.state);
    if (told === this.#told) return;
    this.#told = told;
    this.dispatchEvent(new Event('state'));
  }

  /** @param {HubbubError} error */
  #end(error) {
    if (this.#state.phase === 'closed') return;
    this.#become({ phase: 'closed', transport: null, retryAt: null, reason: error.message });
    this.#unwatch();
    clearTimeout(this.#timer?.id);
    this.#connection?.leave(error);
    this.#session.close(error);
    this.#wake();
  }
}
