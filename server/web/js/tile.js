/** One symbol at a glance: its price, where it goes, and its recent way. A button that chooses it for the chart. */

import { element, say, shape } from './dom.js';
import { extent, linear, path } from './scale.js';
import { price, share } from './words.js';

const [WIDTH, HEIGHT, PAD] = [132, 28, 3];
/** Points in the small line. */
const RECENT = 40;

export class Tile {
  #price = element('span', { class: 'price', 'data-testid': 'tile-price' }, '–');
  #change = element('span', { class: 'change', 'data-testid': 'tile-change' });
  #line = shape('path', { class: 'spark' });
  #dot = shape('circle', { class: 'dot', r: 2.4, cx: -9, cy: 0 });

  /** @param {import('./series.js').Series} series @param {() => void} choose */
  constructor(series, choose) {
    this.series = series;
    const spark = shape('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, 'aria-hidden': 'true' }, this.#line, this.#dot);
    this.#button = element(
      'button',
      { type: 'button', 'aria-pressed': 'false', onclick: choose },
      element('span', { class: 'symbol' }, series.symbol),
      this.#price,
      this.#change,
      spark,
    );
    this.node = element('li', { class: 'tile', 'data-testid': 'tile', 'data-symbol': series.symbol }, this.#button);
  }

  #button;

  choose(isChosen) {
    this.#button.setAttribute('aria-pressed', String(isChosen));
  }

  /** Shows the series as it is. */
  draw() {
    const { last, change, points } = this.series;
    if (!last) return;
    say(this.#price, price(last.price));
    const direction = change > 0 ? 'up' : change < 0 ? 'down' : 'even';
    this.node.dataset.direction = direction;
    this.node.dataset.seq = String(last.seq);
    say(this.#change, `${{ up: '▲', down: '▼', even: '■' }[direction]} ${share(change)}`);
    const recent = points.slice(-RECENT);
    const x = linear([0, RECENT - 1], [PAD, WIDTH - PAD]);
    const y = linear(extent(recent.map((point) => point.price)), [HEIGHT - PAD, PAD]);
    const places = recent.map((point, index) => [x(index + RECENT - recent.length), y(point.price)]);
    this.#line.setAttribute('d', path(places));
    const [cx, cy] = places.at(-1);
    this.#dot.setAttribute('cx', cx);
    this.#dot.setAttribute('cy', cy);
  }
}
