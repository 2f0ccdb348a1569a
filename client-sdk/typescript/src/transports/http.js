/** Requests of the transports that are not sockets (PROTOCOL.md section 9). */

import { jitter } from '../backoff.js';
import { HubbubError, broke, errorOf, saidSo } from '../errors.js';

/** @typedef {import('../errors.js').End} End */
/** @typedef {{method: 'GET' | 'POST', path: string, body?: string, timeout: number, repeats: number}} Ask times in ms */

/** One connection's requests; all of them end with it. */
export class Http {
  #url;
  #tokens;
  #control = new AbortController();

  /** @param {import('./transport.js').Settings} settings */
  constructor({ url, tokens }) {
    this.#url = url;
    this.#tokens = tokens;
  }

  /** Whether the connection is over. */
  get over() {
    return this.#control.signal.aborted;
  }

  abort() {
    this.#control.abort();
  }

  /**
   * One request, with the newest token. Rejects if there is no answer.
   * @param {string} method
   * @param {string} path
   * @param {string} [body]
   * @param {AbortSignal} [signal]
   */
  fetch(method, path, body, signal = this.#control.signal) {
    const headers = { authorization: `Bearer ${this.#tokens.current}` };
    return fetch(new URL(path, this.#url), { method, headers, body, signal, cache: 'no-store', credentials: 'omit' });
  }

  /**
   * Tells the server that the session is over, even if the page is going.
   * @param {string} path
   */
  leave(path) {
    const headers = { authorization: `Bearer ${this.#tokens.current}` };
    const request = fetch(new URL(path, this.#url), { method: 'DELETE', headers, keepalive: true, credentials: 'omit' });
    // Nobody waits for the answer: without it the server finds out by itself.
    request.catch(() => {});
  }

  /**
   * The JSON that answers `ask`, or the end that it is. It is asked again, at most `repeats` times in a row, when there was no answer,
   * or one that may change; and once with another token.
   * @param {Ask} ask
   * @returns {Promise<{json: any} | {end: End}>}
   */
  async insist(ask) {
    let renewed = false;
    for (let failures = 0; ; ) {
      const answer = await this.#attempt(ask);
      if ('json' in answer || this.over) return answer;
      const { error } = answer.end;
      if (error.retry === 'refresh' && !renewed) {
        renewed = true;
        this.#tokens.refused(error);
        try {
          await this.#tokens.renew();
        } catch (none) {
          return { end: saidSo(/** @type {HubbubError} */ (none)) };
        }
      } else if (error.retry === 'later' && failures < ask.repeats) {
        await this.#pause(error.retryAfter + jitter(failures++));
      } else return answer;
    }
  }

  /**
   * @param {Ask} ask
   * @returns {Promise<{json: any} | {end: End}>}
   */
  async #attempt({ method, path, body, timeout }) {
    const control = new AbortController();
    const stop = () => control.abort();
    const timer = setTimeout(stop, timeout);
    this.#control.signal.addEventListener('abort', stop);
    try {
      if (this.over) return { end: broke('the connection is over') };
      const response = await this.fetch(method, path, body, control.signal);
      return response.ok ? { json: await response.json() } : { end: await refusal(response) };
    } catch (error) {
      return { end: broke(`no answer by HTTP: ${error}`) };
    } finally {
      clearTimeout(timer);
      this.#control.signal.removeEventListener('abort', stop);
    }
  }

  /** @param {number} ms */
  #pause(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#control.signal.addEventListener('abort', () => {
        clearTimeout(timer);
        resolve(undefined);
      });
    });
  }
}

/**
 * What an answer that is not 200 says. Only a problem+json with a code is a Hubbub server's word.
 * @param {Response} response
 * @returns {Promise<End>}
 */
export async function refusal(response) {
  const after = Number(response.headers.get('retry-after')) * 1_000 || 0;
  const isProblem = response.headers.get('content-type')?.startsWith('application/problem+json');
  const problem = isProblem ? await response.json().catch(() => null) : null;
  // A server that does not know the path is an older one, which has WebSockets only.
  if (typeof problem?.code !== 'string' || problem.code === 'not_found') {
    const end = broke(`the answer was HTTP ${response.status}`);
    end.error.retryAfter = after;
    return end;
  }
  const error = errorOf(problem);
  error.retryAfter ||= after;
  return saidSo(error);
}
