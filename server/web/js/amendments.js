/** Edits and deletions by the seq of their message, whether that is on the page or not: older pages are loaded after what changed them. */

/** Messages whose changes are remembered, at most. */
const LIMIT = 5_000;

export class Amendments {
  /** @type {Map<number, {edit?: {seq: number, payload: unknown, time: number}, deletion?: {publisher: string}}>} */
  #bySeq = new Map();

  /** @param {{kind: string, ref?: number, seq: number, payload: unknown, time: number, publisher: string}} entry */
  add(entry) {
    if (entry.ref === undefined) return;
    const known = this.#bySeq.get(entry.ref) ?? {};
    if (entry.kind === 'delete') known.deletion = entry;
    // A page of history may come after what is newer.
    if (entry.kind === 'edit' && entry.seq > (known.edit?.seq ?? 0)) known.edit = entry;
    this.#bySeq.set(entry.ref, known);
    if (this.#bySeq.size > LIMIT) this.#bySeq.delete(this.#bySeq.keys().next().value);
  }

  /** Brings a message up to date. @param {import('./message.js').Message} message */
  apply(message) {
    const { edit, deletion } = this.#bySeq.get(message.seq) ?? {};
    if (deletion) message.deleted(deletion);
    else if (edit) message.edited(edit);
  }
}
