/** Frames from the client, where the transport only comes down: numbered POSTs, one at a time (PROTOCOL.md section 9, "Up"). */

/** How long one POST may take, in ms, and how often in a row it is repeated: half a minute in all, about. */
const TIMEOUT = 15_000;
const REPEATS = 8;

export class Upstream {
  #http;
  #path;
  #listener;
  #session = '';
  /** POSTs so far. */
  #n = 0;
  #busy = false;

  /**
   * @param {import('./http.js').Http} http
   * @param {string} path
   * @param {import('./transport.js').Listener} listener
   */
  constructor(http, path, listener) {
    this.#http = http;
    this.#path = path;
    this.#listener = listener;
  }

  /** @param {string} session */
  start(session) {
    this.#session = session;
  }

  /** Whether the one before has been taken. */
  get ready() {
    return this.#session !== '' && !this.#busy;
  }

  /**
   * POSTs a message under the next number, and again under the same one until it is known to be taken.
   * @param {string} body
   */
  async send(body) {
    this.#busy = true;
    const path = `${this.#path}/${encodeURIComponent(this.#session)}?n=${++this.#n}`;
    const answer = await this.#http.insist({ method: 'POST', path, body, timeout: TIMEOUT, repeats: REPEATS });
    if (this.#http.over) return;
    this.#busy = false;
    if ('end' in answer) this.#listener.ended(answer.end);
    else this.#listener.ready();
  }
}
