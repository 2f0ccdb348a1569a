/** Where a message is written: Enter sends, Shift and Enter begin a new line, Escape clears. */

import { byId } from './dom.js';

export class Composer {
  #form = byId('composer');
  #text = byId('text');
  #calls;

  /** @param {{send: (text: string) => void, typing: () => void}} calls */
  constructor(calls) {
    this.#calls = calls;
  }

  start() {
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#send();
    });
    this.#text.addEventListener('keydown', (event) => {
      // While an input method composes, Enter is its own.
      if (event.isComposing) return;
      if (event.key === 'Enter' && !event.shiftKey) {
        event.preventDefault();
        this.#send();
      } else if (event.key === 'Escape') {
        this.#text.value = '';
        this.#fit();
      }
    });
    this.#text.addEventListener('input', () => {
      this.#fit();
      if (this.#text.value.trim()) this.#calls.typing();
    });
  }

  #send() {
    const text = this.#text.value.trim();
    if (!text) return;
    this.#text.value = '';
    this.#fit();
    this.#calls.send(text);
    this.#text.focus();
  }

  /** As high as its lines, up to what the style allows. */
  #fit() {
    this.#text.rows = Math.min(this.#text.value.split('\n').length, 6);
  }
}
