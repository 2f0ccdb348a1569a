/** What can go wrong, and how a connection ends (PROTOCOL.md sections 6 and 7). */

/** @typedef {'never' | 'now' | 'later' | 'refresh'} Retry */

/** Why a request failed, a subscription ended, or a client is not connected. */
export class HubbubError extends Error {
  /**
   * @param {string} code one of PROTOCOL.md section 6, or of this module's own (README.md)
   * @param {string} message for people
   * @param {Retry} [retry] what a program should do
   * @param {number} [retryAfter] in ms: not sooner
   */
  constructor(code, message, retry = 'never', retryAfter = 0) {
    super(message);
    this.name = 'HubbubError';
    this.code = code;
    this.retry = retry;
    this.retryAfter = retryAfter;
  }
}

/**
 * How a connection ended.
 * @typedef {object} End
 * @property {HubbubError} error
 * @property {'server' | 'wire'} by who ended it: a Hubbub server by its word, or something on the way to it
 */

/**
 * The server said so: nothing is wrong with the way to it.
 * @param {HubbubError} error
 * @returns {End}
 */
export const saidSo = (error) => ({ error, by: 'server' });

/**
 * Something on the way broke: another transport may do better.
 * @param {string} message
 * @returns {End}
 */
export const broke = (message) => ({ error: new HubbubError('lost', message, 'later'), by: 'wire' });

/**
 * The error in an error frame, in a refused channel or in a problem+json.
 * @param {any} body
 */
export function errorOf(body) {
  const { code, message, detail, title, retry, retry_after: after } = body;
  return new HubbubError(code, message ?? detail ?? title ?? code, retry ?? 'never', Number(after) || 0);
}

/**
 * The error in a `disconnect` frame.
 * @param {any} frame
 */
export function disconnected({ code, reason, retry, reconnect_after: after }) {
  return new HubbubError(String(reason), `the server ended the connection: ${reason} (${code})`, retry, Number(after) || 0);
}

/** Close codes below 4000 after which to come back would change nothing. */
const FINAL = new Set([1000, 1002, 1003, 1007, 1009, 1010]);

/**
 * What a WebSocket's close code asks for.
 * @param {number} code
 * @returns {Retry}
 */
export function retryAfterClose(code) {
  if (code === 4401 || code === 4403 || code === 4501) return 'refresh';
  if (code === 4505) return 'now';
  return FINAL.has(code) || (code >= 4000 && code <= 4499) ? 'never' : 'later';
}
