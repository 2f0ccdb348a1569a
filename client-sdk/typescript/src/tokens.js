/** Where the token comes from. Nothing here is ever shown. */

import { HubbubError } from './errors.js';

/** Asks the program, and remembers the answer. */
export class Tokens {
  #ask;
  /** The newest; empty before the first. */
  current = '';
  /** One that the server refused. */
  #refused = '';

  /** @param {() => string | Promise<string>} ask */
  constructor(ask) {
    this.#ask = ask;
  }

  /** Asks for a token. Rejects with a HubbubError: with the program's own, if it threw one, or when what it gives was refused already. */
  async renew() {
    let token;
    try {
      token = await this.#ask();
    } catch (error) {
      if (error instanceof HubbubError) throw error;
      throw new HubbubError('token', `there is no token: ${error instanceof Error ? error.message : error}`, 'later');
    }
    if (typeof token !== 'string' || token === '') throw new HubbubError('token', 'there is no token');
    if (token === this.#refused) throw new HubbubError('unauthorized', 'the server refused the token, and there is no other');
    this.current = token;
  }

  /**
   * The server refused the newest. One that does not verify, or was called in, is not tried again; one that is over might be, by a clock that is slow.
   * @param {HubbubError} error
   */
  refused(error) {
    if (error.code === 'unauthorized' || error.code === 'revoked') this.#refused = this.current;
  }
}
