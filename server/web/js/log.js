/**
 * The messages on the page, in the order of their seqs, each once; at the end our own that have no seq yet.
 * Knows nothing of connections: `Chat` tells what came.
 */

import { byId, say } from './dom.js';
import { Amendments } from './amendments.js';
import { Message, note } from './message.js';
import { count } from './words.js';

/** Messages on the page, at most: while its end is read, older ones leave and can be loaded again. */
const LIMIT = 1_000;
/** The log follows new messages while its end is closer than this, in px. */
const NEAR = 80;
/** Older messages are loaded when the beginning is closer than this, in px. */
const EARLY = 120;

export class Log {
  #root = byId('log');
  #list = byId('messages');
  #fresh = byId('fresh');
  #olderButton = byId('older');
  /** Every message on the page by its message id. @type {Map<string, Message>} */
  #byId = new Map();
  /** Those with a seq, ascending. @type {Message[]} */
  #stored = [];
  /** What became of messages, here or not. */
  #amendments = new Amendments();
  #again;
  #user = null;
  #unseen = 0;
  /** Whether the end was in sight, and is to stay so. */
  #follows = true;

  /** @param {{older: () => void, again: (message: {id: string, text: string, time: number}) => void}} calls */
  constructor({ older, again }) {
    this.#again = again;
    this.#olderButton.addEventListener('click', older);
    this.#fresh.addEventListener('click', () => this.#toEnd());
    this.#root.addEventListener('scroll', () => {
      this.#follows = this.#isAtEnd();
      if (this.#follows) this.#seen();
      if (this.#root.scrollTop < EARLY && !this.#olderButton.hidden) older();
    });
    // A line more in the composer, a turned phone: the end stays in sight.
    const resized = new ResizeObserver(() => this.#follows && this.#toEnd());
    for (const node of [this.#root, this.#list]) resized.observe(node);
  }

  /** The seq of the first message on the page; null if there is none. */
  get oldest() {
    return this.#stored[0]?.seq ?? null;
  }

  /** Whose messages are our own. @param {string | null} user */
  belongsTo(user) {
    if (user === null || user === this.#user) return;
    this.#user = user;
    for (const message of this.#byId.values()) message.own(message.publisher === user);
  }

  /** What was published. False if it was there already: our own, or one that came twice. */
  add(entry) {
    if (entry.kind) {
      this.#amend(entry);
      return false;
    }
    const known = this.#byId.get(entry.message_id);
    if (known) {
      this.stored(entry.message_id, entry);
      return false;
    }
    const follows = this.#follows;
    this.#place(this.#made(entry));
    this.#say();
    if (follows) this.#toEnd();
    else this.#missed();
    if (follows) this.#trim();
    return true;
  }

  /** A page of history, ascending, that ends before the first message here. `more` says whether there is anything before it. */
  prepend(entries, more) {
    // A screen reader hears what is new, not what is read again.
    this.#root.setAttribute('aria-live', 'off');
    const follows = this.#follows;
    const fromEnd = this.#root.scrollHeight - this.#root.scrollTop;
    for (const entry of entries) {
      if (entry.kind) this.#amend(entry);
      else if (!this.#byId.has(entry.message_id)) this.#place(this.#made(entry));
    }
    this.#olderButton.hidden = !more;
    this.#say();
    this.#root.scrollTop = follows ? this.#root.scrollHeight : this.#root.scrollHeight - fromEnd;
    requestAnimationFrame(() => this.#root.setAttribute('aria-live', 'polite'));
  }

  /** Our own, on its way. @param {{id: string, text: string, time: number}} message */
  pending({ id, text, time }) {
    const known = this.#byId.get(id);
    if (known) return known.becomes('sending');
    const message = this.#made({ message_id: id, payload: { text }, publisher: this.#user, time });
    message.becomes('sending');
    this.#list.append(message.node);
    this.#dress(message);
    this.#say();
    this.#toEnd();
  }

  /** It has its place. @param {string} id @param {{seq?: number, time: number}} place */
  stored(id, { seq, time }) {
    const message = this.#byId.get(id);
    if (!message || message.seq !== null || seq === undefined) return;
    const follows = this.#follows;
    message.is(seq, time);
    this.#place(message);
    if (follows) this.#toEnd();
  }

  /** The server will not have it; `next` is the id under which it can be tried again. */
  refused(id, reason, next) {
    const message = this.#byId.get(id);
    if (!message || message.seq !== null) return;
    message.refused(reason, () => {
      if (next !== id) {
        this.#byId.delete(id);
        message.node.remove();
      }
      this.#again({ id: next, text: message.text, time: Date.now() });
    });
  }

  /** A line that nobody said. */
  note(text) {
    const follows = this.#follows;
    this.#settle(note(text));
    if (follows) this.#toEnd();
  }

  /** Loading did not work; the button tries again. */
  failed(text) {
    this.#olderButton.hidden = false;
    this.note(text);
  }

  /** Forgets what is stored; our own that are on their way stay. */
  clear() {
    for (const message of this.#stored) {
      this.#byId.delete(message.id);
      message.node.remove();
    }
    for (const line of this.#list.querySelectorAll('.note')) line.remove();
    this.#stored = [];
    this.#amendments = new Amendments();
    this.#olderButton.hidden = true;
  }

  #made(entry) {
    const message = new Message(entry, entry.publisher === this.#user);
    this.#byId.set(message.id, message);
    return message;
  }

  /** An edit or a deletion. Its message may be loaded later. */
  #amend(entry) {
    this.#amendments.add(entry);
    const message = this.#stored.find(({ seq }) => seq === entry.ref);
    if (message) this.#amendments.apply(message);
  }

  /** Puts a message with a seq where it belongs: nearly always at the end, or at the beginning. */
  #place(message) {
    let at = this.#stored.length;
    while (at > 0 && this.#stored[at - 1].seq > message.seq) at -= 1;
    const after = this.#stored[at];
    this.#stored.splice(at, 0, message);
    this.#amendments.apply(message);
    if (after) after.node.before(message.node);
    else this.#settle(message.node);
    for (const one of [message, after]) if (one) this.#dress(one);
  }

  /** Puts a node behind all but our own that are on their way. Where it is already it stays: moved, it would be read out again. */
  #settle(node) {
    let last = this.#list.lastElementChild;
    while (last && (last === node || last.matches('.message:not([data-seq])'))) last = last.previousElementSibling;
    if (node.parentNode && node.previousElementSibling === last) return;
    if (last) last.after(node);
    else this.#list.prepend(node);
  }

  /** Day and author stand above a message only where they change. */
  #dress(message) {
    const before = this.#byId.get(message.node.previousElementSibling?.dataset.messageId);
    message.after(before ?? null);
  }

  #trim() {
    if (this.#stored.length <= LIMIT) return;
    for (const message of this.#stored.splice(0, this.#stored.length - LIMIT)) {
      this.#byId.delete(message.id);
      message.node.remove();
    }
    this.#dress(this.#stored[0]);
    this.#olderButton.hidden = false;
  }

  #say() {
    byId('log-empty').hidden = this.#byId.size > 0;
  }

  #isAtEnd() {
    return this.#root.scrollHeight - this.#root.scrollTop - this.#root.clientHeight < NEAR;
  }

  #toEnd() {
    this.#follows = true;
    this.#root.scrollTop = this.#root.scrollHeight;
    this.#seen();
  }

  #missed() {
    this.#unseen += 1;
    this.#fresh.hidden = false;
    say(this.#fresh, `${count(this.#unseen, 'new message')} ↓`);
  }

  #seen() {
    this.#unseen = 0;
    this.#fresh.hidden = true;
  }
}
