/** One message on the page: an element that tells its state, and knows how to change it. */

import { element, say } from './dom.js';
import { clock, day, nameOf } from './words.js';

/** Messages of one author that follow each other within this are one block, in ms. */
const BLOCK = 5 * 60_000;

/** What is to be read in a payload: a chat's text, or whatever else somebody published here. */
function textOf(payload) {
  if (typeof payload === 'string') return payload;
  return typeof payload?.text === 'string' ? payload.text : JSON.stringify(payload);
}

/** A line that nobody said. */
export const note = (text) => element('li', { class: 'note', 'data-testid': 'note' }, text);

export class Message {
  #day = element('p', { class: 'day', hidden: true });
  #author;
  #clock = element('time');
  #text = element('p', { class: 'text', dir: 'auto', 'data-testid': 'message-text' });
  #mark = element('span', { class: 'mark', hidden: true, 'data-testid': 'message-mark' }, 'edited');
  #place = element('span', { class: 'place', title: 'Its place in the channel: 1, 2, 3 … without holes' });
  #status = element('p', { class: 'status', hidden: true });

  /** @param {{message_id: string, publisher: string | null, time: number, seq?: number, payload: unknown}} entry */
  constructor(entry, isOwn) {
    this.id = entry.message_id;
    this.publisher = entry.publisher;
    this.text = textOf(entry.payload);
    this.time = entry.time;
    /** Its place in the channel; null while it has none. @type {number | null} */
    this.seq = null;
    this.#author = element('bdi', { class: 'author' }, nameOf(entry.publisher ?? 'You'));
    this.node = element(
      'li',
      { class: 'message', 'data-testid': 'message', 'data-message-id': this.id },
      this.#day,
      element('p', { class: 'who' }, this.#author, this.#clock),
      this.#text,
      this.#mark,
      this.#place,
      this.#status,
    );
    say(this.#text, this.text);
    this.own(isOwn);
    if (entry.seq === undefined) this.#tell();
    else this.is(entry.seq, entry.time);
  }

  /** Whether it is ours. */
  own(isOwn) {
    this.node.toggleAttribute('data-own', isOwn);
  }

  /** It is stored. @param {number} seq @param {number} time Unix ms */
  is(seq, time) {
    this.seq = seq;
    this.time = time;
    this.node.dataset.seq = String(seq);
    say(this.#place, String(seq));
    this.becomes('stored');
    this.#tell();
  }

  /** Its author changed it. @param {{payload: unknown, time: number}} edit */
  edited({ payload, time }) {
    if (this.node.hasAttribute('data-deleted')) return;
    this.text = textOf(payload);
    say(this.#text, this.text);
    this.#mark.hidden = false;
    this.#mark.title = `Edited ${day(time)}, ${clock(time)}`;
    this.node.toggleAttribute('data-edited', true);
  }

  /** It is gone. @param {{publisher: string}} deletion by whom */
  deleted({ publisher }) {
    this.text = publisher === this.publisher ? 'This message was deleted.' : `This message was deleted by ${nameOf(publisher)}.`;
    say(this.#text, this.text);
    this.#mark.hidden = true;
    this.node.removeAttribute('data-edited');
    this.node.toggleAttribute('data-deleted', true);
  }

  /** @param {'sending' | 'stored' | 'refused'} state */
  becomes(state) {
    this.node.dataset.state = state;
    this.#status.hidden = state === 'stored';
    this.#status.replaceChildren(state === 'sending' ? 'Sending …' : '');
  }

  /** It will not be stored: says why, and offers another try. */
  refused(reason, again) {
    this.becomes('refused');
    const button = element('button', { type: 'button', class: 'quiet', 'data-testid': 'again', onclick: again }, 'Try again');
    this.#status.replaceChildren(`Not sent: ${reason}. `, button);
  }

  /** What stands above it depends on the message before. @param {Message | null} before */
  after(before) {
    const name = day(this.time);
    this.#day.hidden = before !== null && day(before.time) === name;
    say(this.#day, name);
    const follows = before?.publisher === this.publisher && this.time - before.time < BLOCK && this.#day.hidden;
    this.node.toggleAttribute('data-follows', follows);
  }

  #tell() {
    say(this.#clock, clock(this.time));
    this.#clock.dateTime = new Date(this.time).toISOString();
  }
}
