/** Server-Sent Events as a stream of bytes (WHATWG HTML, section 9.2.6). */

/** @typedef {{event: string, data: string}} ServerEvent */

/** Reads a stream in whatever pieces it comes. `id` and `retry` are for a native EventSource, and passed by. */
export class SseParser {
  #decoder = new TextDecoder();
  /** A line that has not ended. */
  #rest = '';
  /** The last piece ended with CR: an LF at the start of the next belongs to it. */
  #afterCr = false;
  #event = '';
  /** @type {string[]} */
  #data = [];

  /**
   * The events that are complete with this piece.
   * @param {Uint8Array} bytes
   */
  push(bytes) {
    let text = this.#decoder.decode(bytes, { stream: true });
    if (text === '') return [];
    if (this.#afterCr && text[0] === '\n') text = text.slice(1);
    this.#afterCr = text === '' ? false : text.endsWith('\r');
    const lines = text.split(/\r\n|\r|\n/);
    lines[0] = this.#rest + lines[0];
    this.#rest = /** @type {string} */ (lines.pop());
    /** @type {ServerEvent[]} */
    const events = [];
    for (const line of lines) this.#line(line, events);
    return events;
  }

  /**
   * @param {string} line
   * @param {ServerEvent[]} events
   */
  #line(line, events) {
    if (line === '') {
      if (this.#data.length > 0) events.push({ event: this.#event || 'message', data: this.#data.join('\n') });
      this.#event = '';
      this.#data = [];
      return;
    }
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'data') this.#data.push(value);
    else if (field === 'event') this.#event = value;
  }
}
