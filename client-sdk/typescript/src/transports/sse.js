/** Server-Sent Events down, read from a fetch; numbered POSTs up (PROTOCOL.md section 9). */

import { broke } from '../errors.js';
import { readFrames } from '../frames.js';
import { SseParser } from '../sse-parser.js';
import { Http, refusal } from './http.js';
import { Upstream } from './upstream.js';

/** @implements {Transport} */
export class SseTransport {
  #http;
  #up;
  #listener;

  /**
   * @param {Settings} settings
   * @param {Listener} listener
   */
  constructor(settings, listener) {
    this.#http = new Http(settings);
    this.#up = new Upstream(this.#http, '/v1/sse', listener);
    this.#listener = listener;
  }

  /**
   * @param {object} connect
   * @param {string} rest
   */
  open(connect, rest) {
    this.#read(JSON.stringify(connect) + rest).then(
      (end) => this.#ended(end),
      (error) => this.#ended(broke(`the stream broke: ${error}`)),
    );
  }

  /** @param {string} session */
  connected(session) {
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
    this.#http.abort();
  }

  abort() {
    this.#http.abort();
  }

  /** @param {string} body */
  async #read(body) {
    const response = await this.#http.fetch('POST', '/v1/sse', body);
    if (!response.ok) return refusal(response);
    const type = response.headers.get('content-type');
    if (!type?.startsWith('text/event-stream') || !response.body) return broke(`the answer is not a stream of events but ${type}`);
    this.#listener.opened();
    const parser = new SseParser();
    const reader = response.body.getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return broke('the stream ended');
      this.#listener.life();
      for (const { event, data } of parser.push(value)) if (event === 'message') this.#event(data);
    }
  }

  /** @param {string} data */
  #event(data) {
    for (const frame of readFrames(data)) this.#listener.frame(frame);
  }

  /** @param {import('../errors.js').End} end */
  #ended(end) {
    if (!this.#http.over) this.#listener.ended(end);
  }
}

/** @typedef {import('./transport.js').Settings} Settings */
/** @typedef {import('./transport.js').Listener} Listener */
/** @typedef {import('./transport.js').Transport} Transport */
