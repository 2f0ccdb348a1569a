/** The dashboard: a channel a symbol, of which the newest price counts. */

import { Chart } from './chart.js';
import { byId, everyFrame, say } from './dom.js';
import { Meter } from './meter.js';
import { Series } from './series.js';
import { Tile } from './tile.js';

/** What `make demo` replays. */
const SYMBOLS = ['MSFT', 'AMZN', 'IBM', 'GOOG', 'AAPL'];
/** Prices of the past that a chart begins with. */
const PAST = 123;
/** How often it is looked whether prices have come to stand still, in ms. */
const LOOK_EVERY = 2_000;

export class Dashboard {
  #client;
  #meter;
  #tiles;
  #chart;
  #chosen;
  #draw = everyFrame(() => this.#show());
  /** Tiles whose series has changed since the last frame. @type {Set<Tile>} */
  #changed = new Set();
  #trouble = '';

  /** @param {import('/assets/hubbub/index.js').Client} client */
  constructor(client) {
    this.#client = client;
    this.#meter = new Meter(() => serverTime(client));
    this.#chart = new Chart(this.#draw);
    this.#tiles = SYMBOLS.map((symbol) => {
      const tile = new Tile(new Series(symbol), () => this.#choose(tile));
      return tile;
    });
    this.#chosen = this.#tiles[0];
  }

  start() {
    byId('tiles').append(...this.#tiles.map((tile) => tile.node));
    for (const tile of this.#tiles) this.#follow(tile);
    this.#choose(this.#chosen);
    this.#meter.start();
    setInterval(() => this.#look(), LOOK_EVERY);
  }

  #follow(tile) {
    const channel = `ticker:${tile.series.symbol}`;
    const subscription = this.#client.subscribe(channel, { slow: 'latest' });
    let past = false;
    subscription.addEventListener('subscribed', ({ detail }) => {
      if (!past) this.#past(tile, channel, detail.head);
      past = true;
    });
    subscription.addEventListener('entry', ({ detail }) => {
      this.#meter.entry(detail.time);
      this.#take(tile, [detail]);
    });
    subscription.addEventListener('skip', ({ detail }) => this.#meter.skip(detail));
    subscription.addEventListener('reset', ({ detail }) => {
      if (detail.reason !== 'epoch') return;
      tile.series.points = [];
      past = false;
    });
    subscription.addEventListener('ended', ({ detail }) => {
      this.#trouble = `No prices: ${detail.message}.`;
      this.#look();
    });
  }

  /** What a chart begins with: the prices up to where the live ones begin. */
  async #past(tile, channel, head) {
    try {
      const { entries } = head.seq > 0 ? await this.#client.history(channel, { before: head.seq + 1, limit: PAST }) : { entries: [] };
      this.#take(tile, entries);
    } catch {
      // The chart begins with what comes.
    }
    this.#look();
  }

  #take(tile, entries) {
    for (const entry of entries) if (tile.series.add(entry)) this.#changed.add(tile);
    if (this.#changed.size) this.#draw();
  }

  #choose(chosen) {
    this.#chosen = chosen;
    for (const tile of this.#tiles) tile.choose(tile === chosen);
    this.#chart.choose(chosen.series);
    this.#draw();
  }

  #show() {
    for (const tile of this.#changed) tile.draw();
    this.#changed.clear();
    this.#chart.draw();
  }

  /** Says so when there are no prices, or no new ones, and what to do. */
  #look() {
    const hint = byId('no-prices');
    const none = this.#tiles.every((tile) => tile.series.last === null);
    const text = none ? 'No prices yet.' : 'The prices stand still.';
    hint.hidden = !this.#trouble && !none && !this.#meter.isStill;
    byId('dashboard-view').toggleAttribute('data-empty', none);
    say(hint, this.#trouble || `${text} Run “make demo” in a second terminal: it replays ten years of real ones, over and over.`);
  }
}

/** The server's clock: a message id begins with it, in ms. */
const serverTime = (client) => parseInt(client.newMessageId().replaceAll('-', '').slice(0, 12), 16);
