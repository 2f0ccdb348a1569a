/** One connection, from its opening to its end: `connect`, the watch over silence, the token's renewal. */

import { HubbubError, broke, disconnected, errorOf, saidSo } from './errors.js';

/** In ms: how long the way to the server may take to open, and then `connect`'s reply to come through. */
const OPEN_TIMEOUT = 6_000;
const REPLY_TIMEOUT = 4_000;
/** In ms: a server that was heard so lately is not asked for a sign of life, and how long one that is asked may take. */
const LATELY = 5_000;
const SIGN_TIMEOUT = 10_000;
/** A refresh that failed is not tried again sooner, in ms. */
const SHORTEST_RENEWAL = 1_000;

/**
 * @typedef {object} Events
 * @property {(connected: any) => void} online `connect` was answered
 * @property {() => void} stirred something came, or can go: flush, and look at the deadline
 * @property {(end: import('./errors.js').End) => void} over the last
 */

export class Connection {
  /** @type {'opening' | 'online' | 'over'} */
  #phase = 'opening';
  #session;
  #tokens;
  #events;
  /** @type {import('./transports/transport.js').Transport} */
  #transport;
  #connectId;
  #heard = performance.now();
  /** The end of the server's patience, or of ours. */
  #silentAt = this.#heard + OPEN_TIMEOUT;
  #silence = OPEN_TIMEOUT;
  #renewAt = Infinity;
  /** When the token is over, by the monotonic clock. */
  #expires = Infinity;
  #refreshId = 0;
  /** Frames of the connection itself: they go first. */
  #own = '';

  /**
   * @param {(listener: import('./transports/transport.js').Listener) => import('./transports/transport.js').Transport} make
   * @param {import('./session.js').Session} session
   * @param {import('./tokens.js').Tokens} tokens has a token
   * @param {Events} events
   */
  constructor(make, session, tokens, events) {
    this.#session = session;
    this.#tokens = tokens;
    this.#events = events;
    this.#connectId = session.nextId();
    this.#transport = make({
      opened: () => this.#opened(),
      frame: (frame) => this.#frame(frame),
      life: () => this.#alive(),
      ready: () => events.stirred(),
      ended: (end) => this.#end(end),
    });
  }

  /**
   * What is subscribed to goes with `connect`, so that the server, if it begins subscriptions, begins none of these.
   * @param {string} [name] of the program, for the server's logs
   * @param {object} [auto] how the server is to subscribe by itself
   */
  open(name, auto) {
    this.#transport.open({ type: 'connect', id: this.#connectId, client: name, auto }, this.#session.greeting());
  }

  /** Hands on what the session has to say, as far as the transport takes it. */
  flush() {
    while (this.#phase === 'online' && this.#transport.ready) {
      const message = this.#own || this.#session.nextMessage(performance.now());
      if (!message) return;
      this.#own = '';
      this.#transport.send(message);
    }
  }

  /** When `tick` has something to do, in ms of the monotonic clock. */
  get deadline() {
    return Math.min(this.#silentAt, this.#renewAt);
  }

  /** @param {number} now ms */
  tick(now) {
    if (this.#phase === 'over') return;
    if (now >= this.#silentAt) {
      this.#end(broke(this.#phase === 'opening' ? 'the server did not answer in time' : 'the server has fallen silent'));
    } else if (now >= this.#renewAt) this.#renew();
  }

  /** Asks the server for a sign of life, if it was not heard lately: the machine may have slept, or changed networks. */
  check() {
    const now = performance.now();
    if (this.#phase !== 'online' || now - this.#heard < LATELY) return;
    this.#own += JSON.stringify({ type: 'ping', id: this.#session.nextId() });
    this.#silentAt = Math.min(this.#silentAt, now + SIGN_TIMEOUT);
    this.#events.stirred();
  }

  /**
   * Leaves, and says so to the server.
   * @param {HubbubError} why
   */
  leave(why) {
    this.#transport.close();
    this.#end(saidSo(why));
  }

  #opened() {
    this.#silentAt = performance.now() + REPLY_TIMEOUT;
    this.#events.stirred();
  }

  #alive() {
    this.#heard = performance.now();
    if (this.#phase !== 'online') return;
    this.#silentAt = this.#heard + this.#silence;
    this.#events.stirred();
  }

  /** @param {any} frame */
  #frame(frame) {
    if (this.#phase === 'over') return;
    try {
      if (this.#phase === 'opening') this.#greeted(frame);
      else this.#heardOf(frame);
    } catch (error) {
      this.#end(broke(`the server said what the protocol does not allow: ${error}`));
    }
  }

  /** @param {any} frame */
  #greeted(frame) {
    if (frame.type === 'disconnect') this.#end(saidSo(disconnected(frame)));
    else if (frame.id !== this.#connectId) return;
    else if (frame.type === 'error') this.#end(saidSo(errorOf(frame)));
    else this.#connected(frame.result);
  }

  /** @param {any} frame */
  #heardOf(frame) {
    if (this.#refreshId === 0 || frame.id !== this.#refreshId) {
      const farewell = this.#session.frame(frame, performance.now());
      if (farewell) this.#end(saidSo(farewell));
    } else if (frame.type === 'reply') this.#refreshed(frame.result);
    else this.#notRefreshed(errorOf(frame));
  }

  /** @param {any} connected */
  #connected(connected) {
    this.#phase = 'online';
    this.#silence = connected.heartbeat + connected.grace;
    this.#session.connected(connected);
    this.#lives(connected.expires_at);
    this.#alive();
    this.#transport.connected(connected.session);
    this.#events.online(connected);
  }

  /**
   * The token is good until `expires`: a new one is asked for when three quarters of that are over.
   * @param {number} expires Unix ms, by the server's clock
   */
  #lives(expires) {
    const life = expires - this.#session.clock.now();
    this.#expires = performance.now() + life;
    this.#renewAt = performance.now() + Math.max((life * 3) / 4, SHORTEST_RENEWAL);
  }

  async #renew() {
    this.#renewAt = Infinity;
    try {
      await this.#tokens.renew();
    } catch {
      return this.#renewLater();
    }
    this.#refreshId = this.#session.nextId();
    this.#own += JSON.stringify({ type: 'refresh', id: this.#refreshId, token: this.#tokens.current });
    this.#events.stirred();
  }

  /** @param {any} result */
  #refreshed(result) {
    this.#refreshId = 0;
    this.#lives(result.expires_at);
  }

  /** @param {HubbubError} error */
  #notRefreshed(error) {
    this.#refreshId = 0;
    if (error.code === 'identity_changed') this.#end(saidSo(error));
    else this.#renewLater();
  }

  /** The old token still holds for a while. */
  #renewLater() {
    const now = performance.now();
    this.#renewAt = now + Math.max(((this.#expires - now) * 3) / 4, SHORTEST_RENEWAL);
    this.#events.stirred();
  }

  /** @param {import('./errors.js').End} end */
  #end(end) {
    if (this.#phase === 'over') return;
    this.#phase = 'over';
    this.#transport.abort();
    this.#events.over(end);
  }
}
