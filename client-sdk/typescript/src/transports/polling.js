/** Long polling down, numbered POSTs up (PROTOCOL.md section 9): for what lets no stream through. */

import { broke } from '../errors.js';
import { Http, refusal } from './http.js';
import { Upstream } from './upstream.js';

/** How often in a row a poll is repeated before the server counts as gone. */
const REPEATS = 3;
/** How long a poll may take, in ms: longer than any heartbeat, since the connection itself watches over silence. */
const TIMEOUT = 900_000;

/** @implements {Transport} */
export class PollingTransport {
  #http;
  #up;
  #listener;
  #session = '';
  /** The batch that was handled last. */
  #batch = -1;

  /**
   * @param {Settings} settings
   * @param {Listener} listener
   */
  constructor(settings, listener) {
    this.#http = new Http(settings);
    this.#up = new Upstream(this.#http, '/v1/poll', listener);
    this.#listener = listener;
  }

  /**
   * @param {object} connect
   * @param {string} rest
   */
  open(connect, rest) {
    this.#poll(JSON.stringify(connect) + rest).then(
      (end) => this.#ended(end),
      (error) => this.#ended(broke(`polling broke: ${error}`)),
    );
  }

  /** @param {string} session */
  connected(session) {
    this.#session = session;
    this.#up.start(session);
  }

  get ready() {
    return this.#up.ready;
  }

  /** @param {string} message */
  send(message) {
    this.#up.send(message);
  }

  close() {
    const open = this.#session !== '' && !this.#http.over;
    this.#http.abort();
    if (open) this.#http.leave(this.#path());
  }

  abort() {
    // Whoever is not polled any more is a member for another half minute otherwise.
    this.close();
  }

  #path() {
    return `/v1/poll/${encodeURIComponent(this.#session)}`;
  }

  /** @param {string} body */
  async #poll(body) {
    const response = await this.#http.fetch('POST', '/v1/poll', body);
    if (!response.ok) return refusal(response);
    this.#listener.opened();
    this.#take(await response.json());
    if (this.#session === '') return broke('the first batch did not begin with an answer to `connect`');
    while (!this.#http.over) {
      const path = `${this.#path()}?ack=${this.#batch}`;
      const answer = await this.#http.insist({ method: 'GET', path, timeout: TIMEOUT, repeats: REPEATS });
      if ('end' in answer) return answer.end;
      this.#take(answer.json);
    }
    return broke('the connection is over');
  }

  /**
   * Handles a batch, unless it was handled before: the next poll acknowledges it.
   * @param {{batch: number, frames: any[]}} answer
   */
  #take({ batch, frames }) {
    this.#listener.life();
    if (batch <= this.#batch) return;
    this.#batch = batch;
    for (const frame of frames) this.#listener.frame(frame);
  }

  /** @param {import('../errors.js').End} end */
  #ended(end) {
    if (!this.#http.over) this.#listener.ended(end);
  }
}

/** @typedef {import('./transport.js').Settings} Settings */
/** @typedef {import('./transport.js').Listener} Listener */
/** @typedef {import('./transport.js').Transport} Transport */
