/** Whether what comes is what comes next: in a durable channel every seq is accounted for (PROTOCOL.md section 4, `skip`). */

/** @typedef {{epoch: number, seq: number}} Cursor how far a subscriber has come */
/** @typedef {{epoch: number, from: number, to: number}} Span one entry, or several that are skipped */

/**
 * How `span` relates to `cursor`; without a cursor anything follows. A cursor before the first entry has no epoch.
 * @param {Cursor | null} cursor
 * @param {Span} span
 * @returns {'next' | 'duplicate' | 'gap'}
 */
export function step(cursor, span) {
  if (!cursor) return 'next';
  const epochs = cursor.seq > 0 ? span.epoch - cursor.epoch : 0;
  if (span.to <= cursor.seq) return epochs > 0 ? 'gap' : 'duplicate';
  return span.from > cursor.seq + 1 || epochs < 0 ? 'gap' : 'next';
}

/**
 * Whether `head`, up to which everything was sent, proves that something did not arrive.
 * @param {Cursor | null} cursor
 * @param {Cursor} head
 */
export function behind(cursor, head) {
  return cursor !== null && (head.seq > cursor.seq || (cursor.seq > 0 && head.epoch > cursor.epoch));
}

/**
 * The cursor that the first entry after an answer to `subscribe` follows.
 * @param {Cursor | null} cursor what was held
 * @param {any} answer
 * @returns {Cursor | null}
 */
export function startOf(cursor, { head, recovered, reason, from }) {
  if (!head) return null;
  // Of an expired history, or one that is too far away, a skip follows and moves the cursor.
  const held = recovered !== false || reason === 'expired' || reason === 'too_far';
  if (held) return cursor ?? head;
  return from === undefined || from === null ? head : { epoch: head.epoch, seq: from - 1 };
}
