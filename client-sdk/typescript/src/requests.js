/** Requests without an answer: sent in the order they came, and again until answered or out of time. No I/O. */

import { pauseAfter } from './backoff.js';
import { HubbubError } from './errors.js';

/**
 * @typedef {object} Request
 * @property {(id: number) => string} frame
 * @property {(result: any) => void} resolve
 * @property {(error: HubbubError) => void} reject
 * @property {number} expires in ms of the clock that `tick` is given; Infinity for never
 * @property {number} due when it may be sent; 0 for at once
 * @property {number} failures refusals in a row
 * @property {boolean} sent an answer may come
 */

/** Some requests of one sort, at most `bound` of them. */
export class Requests {
  /** In the order of their arrival. @type {Set<Request>} */
  #open = new Set();
  /** What this connection was asked and has not answered. @type {Map<number, Request>} */
  #sent = new Map();
  #bound;

  /** @param {number} bound */
  constructor(bound) {
    this.#bound = bound;
  }

  /** How many have no answer. */
  get size() {
    return this.#open.size;
  }

  /**
   * The answer to a request. Rejects with `buffer_full` if too many wait already.
   * @param {(id: number) => string} frame the request under a number, the same content each time
   * @param {number} [expires] ms
   * @returns {Promise<any>}
   */
  add(frame, expires = Infinity) {
    return new Promise((resolve, reject) => {
      if (this.#open.size >= this.#bound) {
        throw new HubbubError('buffer_full', `${this.#bound} requests wait for their answers; wait for one of them`, 'later');
      }
      this.#open.add({ frame, resolve, reject, expires, due: 0, failures: 0, sent: false });
    });
  }

  /**
   * Packs what is to be sent, as far as it fits.
   * @param {import('./frames.js').Batch} batch
   * @param {import('./frames.js').Ids} ids
   * @param {number} now ms
   */
  send(batch, ids, now) {
    for (const request of this.#open) {
      if (request.sent || request.due > now) continue;
      const id = ids.next();
      const taken = batch.push(request.frame(id));
      if (taken === 'full') return;
      if (taken === 'taken') {
        request.sent = true;
        this.#sent.set(id, request);
      } else this.#fail(request, new HubbubError('payload_too_large', 'the request is longer than the server takes'));
    }
  }

  /**
   * Takes the answer to request `id`, if it is one of these.
   * @param {number} id
   * @param {any} result
   */
  reply(id, result) {
    const request = this.#sent.get(id);
    if (!request) return;
    this.#sent.delete(id);
    this.#open.delete(request);
    request.resolve(result);
  }

  /**
   * Takes the error that answers request `id`, if it is one of these: it is sent again, or fails.
   * @param {number} id
   * @param {HubbubError} error
   * @param {number} now ms
   */
  refuse(id, error, now) {
    const request = this.#sent.get(id);
    if (!request) return;
    this.#sent.delete(id);
    request.sent = false;
    const pause = pauseAfter(error, request.failures++);
    if (pause === null) this.#fail(request, error);
    else request.due = now + pause;
  }

  /** The connection is gone: everything goes into the next one, in the old order. */
  disconnected() {
    this.#sent.clear();
    for (const request of this.#open) Object.assign(request, { due: 0, sent: false });
  }

  /**
   * When `tick` has something to do, or `send` will have, in ms; Infinity for never.
   * @param {number} now ms
   */
  deadline(now) {
    let first = Infinity;
    for (const { expires, due } of this.#open) first = Math.min(first, expires, due > now ? due : Infinity);
    return first;
  }

  /**
   * Fails what is out of time.
   * @param {number} now ms
   */
  tick(now) {
    for (const request of this.#open) {
      if (request.expires <= now) this.#fail(request, new HubbubError('no_answer', 'no answer in time; ask again', 'later'));
    }
  }

  /**
   * The client has ended.
   * @param {HubbubError} error
   */
  close(error) {
    for (const request of this.#open) this.#fail(request, error);
  }

  /**
   * @param {Request} request
   * @param {HubbubError} error
   */
  #fail(request, error) {
    this.#open.delete(request);
    request.reject(error);
  }
}
