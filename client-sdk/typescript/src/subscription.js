/** One subscription as the program sees it. */

/** @typedef {import('./sequence.js').Cursor} Cursor */
/**
 * An entry, as it came. Without a `kind` it is a message. `edit` and `delete` change the message whose seq is `ref`: the payload of an edit takes the place of
 * the message's, and after a deletion both read null. Other kinds are to be ignored.
 * @typedef {{channel: string, epoch?: number, seq?: number, ordinal?: number, kind?: 'edit' | 'delete' | string, ref?: number,
 *   message_id?: string, publisher: string, key?: string, time: number, payload: any}} Entry
 */
/** @typedef {{since?: Cursor, slow?: 'close' | 'latest', presence?: boolean}} SubscribeOptions */

/**
 * What is heard of one channel, across all connections. Its events are CustomEvents:
 *
 * `entry` (detail: {@link Entry}) and `skip` (detail: the frame), each once and in order; `subscribed` (detail: the server's answer), at the first and at
 * each resume; `reset` (detail: `{reason}`), before it, when not everything after the cursor is to follow; `presence`, after
 * `count` or `members` changed; `ended` (detail: HubbubError), the last.
 */
export class Subscription extends EventTarget {
  #leave;
  #over = false;

  /**
   * @param {string} channel
   * @param {Cursor | null} since
   * @param {(subscription: Subscription) => void} leave
   */
  constructor(channel, since, leave) {
    super();
    /** Its name. */
    this.channel = channel;
    /** How far it has come: what `subscribe` takes as `since`. Null before the first answer, and in an ephemeral channel. */
    this.cursor = since;
    /** How many members the channel has; null until it is known, and where it was not asked for. @type {number | null} */
    this.count = null;
    /** The connections of each member; null above 1,000 members, and while they are not known. @type {Map<string, number> | null} */
    this.members = null;
    this.#leave = leave;
  }

  /** Ends it, at once and without another event. */
  unsubscribe() {
    this.#over = true;
    this.#leave(this);
  }

  /**
   * Tells whoever listens. For the client only.
   * @param {string} type
   * @param {unknown} [detail]
   */
  tell(type, detail) {
    if (this.#over) return;
    this.#over = type === 'ended';
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
