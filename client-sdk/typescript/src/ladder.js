/** Which transport is tried when: the best first, unless it was found not to work here. No I/O. */

/** How long a transport that did not work, where another did, is tried last, in ms. */
export const PASSED_OVER = 60_000;

/** @typedef {'websocket' | 'sse' | 'polling'} Name */

export class Ladder {
  #order;
  /** Until when each is passed over. @type {Map<Name, number>} */
  #passed = new Map();
  /** Those that have worked. @type {Set<Name>} */
  #proven = new Set();
  /** The last round is being repeated. */
  #doubting = false;

  /** @param {Name[]} order the best first */
  constructor(order) {
    this.#order = order;
  }

  /**
   * The order of the next round.
   * @param {number} now ms
   */
  round(now) {
    /** @param {Name} name */
    const passed = (name) => (this.#passed.get(name) ?? 0) > now;
    return [...this.#order.filter((name) => !passed(name)), ...this.#order.filter(passed)];
  }

  /**
   * In this round `name` worked, and `failed` did not. `again`: one of those had worked before, and may have failed only because the
   * server was just starting; try the round once more, and believe it then.
   * @param {Name} name
   * @param {Name[]} failed
   * @param {number} now ms
   * @returns {'keep' | 'again'}
   */
  worked(name, failed, now) {
    if (!this.#doubting && failed.some((other) => this.#proven.has(other))) {
      this.#doubting = true;
      return 'again';
    }
    this.#doubting = false;
    for (const other of failed) {
      this.#passed.set(other, now + PASSED_OVER);
      this.#proven.delete(other);
    }
    this.#passed.delete(name);
    this.#proven.add(name);
    return 'keep';
  }
}
