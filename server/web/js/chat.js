/** The chat: one durable channel, one ephemeral one beside it for typing, and how the two become a log, a list and a composer. */

import { Composer } from './composer.js';
import { Log } from './log.js';
import { People } from './people.js';
import { Typing } from './typing.js';
import { Unread } from './unread.js';
import { count } from './words.js';

const CHANNEL = 'demo:lobby';
/** Messages in a page of history. */
const PAGE = 50;

const LOST = {
  epoch: 'the server’s database has gone back in time. What follows is what it holds now.',
  too_far: 'too many were missed while this page was away. What follows are the newest.',
  expired: 'the history does not go back that far any more.',
};

export class Chat {
  #client;
  #log;
  #people = new People();
  #unread = new Unread();
  #typing;
  /** The next answer to `subscribe` begins the log anew. */
  #fresh = true;
  #loads = false;
  /** Counts beginnings: a page of history that was asked for before the last one is of no use. */
  #beginnings = 0;
  /** Why a resume was not whole, until the skip that counts what is missing. @type {string | null} */
  #told = null;

  /** @param {import('/assets/hubbub/index.js').Client} client */
  constructor(client) {
    this.#client = client;
    this.#log = new Log({ older: () => this.#older(), again: (message) => this.#send(message) });
    this.#typing = new Typing(client, `live:${CHANNEL}`);
  }

  start() {
    const lobby = this.#client.subscribe(CHANNEL, { presence: true });
    lobby.addEventListener('subscribed', ({ detail }) => this.#joined(detail));
    lobby.addEventListener('entry', ({ detail }) => this.#heard(detail));
    lobby.addEventListener('skip', ({ detail }) => this.#skipped(detail));
    lobby.addEventListener('presence', () => this.#people.show(lobby, this.#client.state.user));
    lobby.addEventListener('reset', ({ detail }) => this.#reset(detail.reason));
    lobby.addEventListener('ended', ({ detail }) => this.#log.note(`The server ended the subscription: ${detail.message}.`));
    this.#client.addEventListener('state', () => this.#log.belongsTo(this.#client.state.user));
    this.#typing.start();
    new Composer({ send: (text) => this.#compose(text), typing: () => this.#typing.tell() }).start();
  }

  /** Subscribed first; now the page of history that ends where the live entries begin. */
  #joined({ head }) {
    this.#log.belongsTo(this.#client.state.user);
    if (!this.#fresh) return;
    this.#fresh = false;
    this.#beginnings += 1;
    this.#load(head.seq + 1);
  }

  #heard(entry) {
    this.#typing.done(entry.publisher);
    if (!this.#log.add(entry)) return;
    if (entry.publisher !== this.#client.state.user) this.#unread.add();
  }

  #skipped({ reason, count: number }) {
    if (reason !== this.#told) this.#log.note(`${count(number, 'message')} left out here: ${reason}.`);
    this.#told = null;
  }

  #reset(reason) {
    this.#told = reason;
    if (reason !== 'expired') {
      this.#log.clear();
      this.#fresh = true;
    }
    this.#log.note(`Some messages could not be recovered: ${LOST[reason] ?? reason}`);
  }

  #older() {
    if (this.#log.oldest !== null) this.#load(this.#log.oldest);
  }

  /** Adds a page of what came before the entry `before`. */
  async #load(before) {
    if (this.#loads) return;
    this.#loads = true;
    const beginning = this.#beginnings;
    try {
      const page = before > 1 ? await this.#client.history(CHANNEL, { before, limit: PAGE }) : { entries: [], more: false };
      if (beginning === this.#beginnings) this.#log.prepend(page.entries, page.more);
    } catch (error) {
      this.#log.failed(`Older messages could not be read: ${error.message}.`);
    }
    this.#loads = false;
    if (beginning !== this.#beginnings) this.#older();
  }

  /** A message of our own is seen at once, and known by its id when it comes back. */
  #compose(text) {
    this.#send({ id: this.#client.newMessageId(), text, time: Date.now() });
  }

  async #send(message) {
    this.#log.pending(message);
    try {
      const { seq, epoch, time } = await this.#client.publish(CHANNEL, { text: message.text }, { messageId: message.id });
      this.#log.stored(message.id, { seq, epoch, time });
    } catch (error) {
      // Too old to be sent under its id: the next try is a message of its own.
      this.#log.refused(message.id, error.message, error.code === 'too_old' ? this.#client.newMessageId() : message.id);
    }
  }
}
