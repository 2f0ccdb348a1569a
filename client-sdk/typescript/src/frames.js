/** Frames on their way: reading those of a message, and packing those that go up. */

/** Of one message to the server: frames at most, and bytes that it must stay under (PROTOCOL.md section 1). */
const MAX_FRAMES = 256;
const MAX_BYTES = 1_048_576;
/** Bytes after which a message takes no second frame: it is not to keep a slow line busy for long. */
const ENOUGH = 262_144;

const encoder = new TextEncoder();

/**
 * The JSON objects that stand back to back in `text`. Throws a SyntaxError where they are none.
 * @param {string} text
 * @returns {any[]}
 */
export function readFrames(text) {
  const frames = [];
  let depth = 0;
  let start = 0;
  let quoted = false;
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (quoted) {
      if (char === '\\') at++;
      else if (char === '"') quoted = false;
    } else if (char === '"') quoted = true;
    else if (char === '{') depth++;
    else if (char === '}' && --depth === 0) {
      frames.push(JSON.parse(text.slice(start, at + 1)));
      start = at + 1;
    }
  }
  if (text.slice(start).trim() !== '') throw new SyntaxError('a message ends within a frame');
  return frames;
}

/**
 * The length of `text` in UTF-8, in bytes.
 * @param {string} text
 */
const byteLength = (text) => encoder.encode(text).byteLength;

/** A message that is being packed. */
export class Batch {
  #text = '';
  #frames = 0;
  #bytes;
  #limit;

  /**
   * @param {number} limit bytes that the server takes
   * @param {string} [first] what stands in it already: one frame
   */
  constructor(limit, first = '') {
    this.#limit = Math.min(limit, MAX_BYTES);
    this.#text = first;
    this.#frames = first ? 1 : 0;
    this.#bytes = byteLength(first);
  }

  /**
   * Takes a frame, unless the message is full, or no message could ever hold it.
   * @param {string} frame
   * @returns {'taken' | 'full' | 'too large'}
   */
  push(frame) {
    const bytes = byteLength(frame);
    if (bytes >= this.#limit) return 'too large';
    const room = this.#bytes === 0 ? this.#limit : Math.min(this.#limit, ENOUGH);
    if (this.#frames === MAX_FRAMES || this.#bytes + bytes >= room) return 'full';
    this.#text += frame;
    this.#frames++;
    this.#bytes += bytes;
    return 'taken';
  }

  /** The message; empty if no frame was taken. */
  get text() {
    return this.#text;
  }
}

/** Numbers of requests: 1 to 2³²−1, and from the beginning again. */
export class Ids {
  #last = 0;

  next() {
    this.#last = this.#last >= 0xffff_ffff ? 1 : this.#last + 1;
    return this.#last;
  }
}
