/** How many messages came while nobody looked, in the window's title. */

const TITLE = document.title;

export class Unread {
  #count = 0;

  constructor() {
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden) this.#set(0);
    });
  }

  /** Another message came. */
  add() {
    if (document.hidden) this.#set(this.#count + 1);
  }

  #set(count) {
    this.#count = count;
    document.title = count > 0 ? `(${count}) ${TITLE}` : TITLE;
  }
}
