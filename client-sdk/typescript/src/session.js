/** A client's whole state but its connection: what the program asks for and the server says goes in, frames come out. No I/O. */

import { disconnected, errorOf } from './errors.js';
import { Batch, Ids } from './frames.js';
import { ServerClock, uuid7 } from './ids.js';
import { Requests } from './requests.js';
import { Subscriptions } from './subscriptions.js';

/** Publishes, and reads, without an answer, at most. */
const MAX_PUBLISHES = 1_024;
const MAX_READS = 256;
/** How long a read may take, in ms. */
const READ_TIMEOUT = 30_000;
/** Bytes of a message before the server has said what it takes. */
const LIMIT = 1_048_576;

export class Session {
  #ids = new Ids();
  #limit = LIMIT;
  clock = new ServerClock();
  subscriptions = new Subscriptions();
  publishes = new Requests(MAX_PUBLISHES);
  reads = new Requests(MAX_READS);

  /** A number for a request of the connection itself. */
  nextId() {
    return this.#ids.next();
  }

  /**
   * Publishes a message; the answer, once there is one.
   * @param {string} channel
   * @param {string} payload JSON
   * @param {string | undefined} key
   * @param {string | undefined} messageId
   * @returns {Promise<any>}
   */
  publish(channel, payload, key, messageId) {
    let head = '';
    return this.publishes.add((id) => {
      // Made when it is first sent, since the server's clock is known by then; the same ever after.
      head ||= JSON.stringify({ channel, message_id: messageId ?? uuid7(this.clock.now()), key }).slice(1, -1);
      return `{"type":"publish","id":${id},${head},"payload":${payload}}`;
    });
  }

  /**
   * Asks for something that changes nothing; the answer, or `no_answer` after 30 s.
   * @param {object} request
   * @param {number} now ms
   * @returns {Promise<any>}
   */
  read(request, now) {
    return this.reads.add((id) => JSON.stringify({ id, ...request }), now + READ_TIMEOUT);
  }

  /**
   * The first message of a connection behind its `connect`: the subscriptions.
   * @returns {string} frames; may be empty
   */
  greeting() {
    const batch = new Batch(LIMIT / 2);
    this.subscriptions.send(batch, this.#ids);
    return batch.text;
  }

  /**
   * The next message for the server; empty if there is nothing to say.
   * @param {number} now ms
   */
  nextMessage(now) {
    const batch = new Batch(this.#limit);
    this.subscriptions.send(batch, this.#ids);
    this.reads.send(batch, this.#ids, now);
    this.publishes.send(batch, this.#ids, now);
    return batch.text;
  }

  /**
   * A connection stands.
   * @param {any} connected the result of `connect`
   */
  connected(connected) {
    this.clock.set(connected.time);
    this.#limit = connected.limits?.frame ?? LIMIT;
  }

  /** It is gone. */
  disconnected() {
    this.subscriptions.disconnected();
    this.reads.disconnected();
    this.publishes.disconnected();
  }

  /**
   * Takes a frame. Gives back what a `disconnect` says.
   * @param {any} frame
   * @param {number} now ms
   */
  frame(frame, now) {
    switch (frame.type) {
      case 'reply':
        this.publishes.reply(frame.id, frame.result);
        this.reads.reply(frame.id, frame.result);
        this.subscriptions.reply(frame.id, frame.result, now);
        break;
      case 'error': {
        const error = errorOf(frame);
        this.publishes.refuse(frame.id, error, now);
        this.reads.refuse(frame.id, error, now);
        this.subscriptions.refuse(frame.id, error, now);
        break;
      }
      case 'heads':
        this.clock.set(frame.time);
        this.subscriptions.heads(frame.channels, now);
        break;
      case 'subscribed':
        this.subscriptions.begun(frame, now);
        break;
      case 'disconnect':
        return disconnected(frame);
      default:
        this.subscriptions.frame(frame, now);
    }
    return null;
  }

  /**
   * When `tick` has something to do, in ms; Infinity for never.
   * @param {number} now ms
   */
  deadline(now) {
    return Math.min(this.subscriptions.deadline, this.publishes.deadline(now), this.reads.deadline(now));
  }

  /**
   * Does what is due.
   * @param {number} now ms
   */
  tick(now) {
    this.subscriptions.tick(now);
    this.reads.tick(now);
  }

  /**
   * The client has ended: everybody who waits is told.
   * @param {import('./errors.js').HubbubError} error
   */
  close(error) {
    this.reads.close(error);
    this.publishes.close(error);
    this.subscriptions.close(error);
  }
}
