/** The larger chart of one symbol: an SVG with axes, what is under the pointer in words, and the newest prices as a table. */

import { byId, element, say, shape } from './dom.js';
import { extent, linear, path, rounds } from './scale.js';
import { price, share } from './words.js';

const MARGIN = { top: 14, right: 14, bottom: 26, left: 50 };
/** Rows of the table. */
const ROWS = 12;
/** The description that a screen reader has of the picture changes at most this often, in ms. */
const DESCRIBE_EVERY = 5_000;
/** Px between two marks of time, at least. */
const APART = 46;

export class Chart {
  #svg = byId('chart-svg');
  #table = byId('chart-rows').closest('details');
  #width = 600;
  #height = 280;
  /** @type {import('./series.js').Series | null} */
  #series = null;
  /** Where each point stands, for the pointer. @type {{x: number, y: number, point: import('./series.js').Point}[]} */
  #places = [];
  #pointer = null;
  #described = -DESCRIBE_EVERY;

  /** @param {() => void} redraw asks for another `draw` */
  constructor(redraw) {
    new ResizeObserver(([{ contentRect }]) => {
      this.#width = Math.max(contentRect.width, 240);
      this.#height = Math.max(contentRect.height, 160);
      redraw();
    }).observe(this.#svg);
    const look = (x) => {
      this.#pointer = x;
      redraw();
    };
    this.#svg.addEventListener('pointermove', (event) => look(event.offsetX));
    this.#svg.addEventListener('pointerleave', () => look(null));
    this.#table.addEventListener('toggle', redraw);
  }

  /** @param {import('./series.js').Series} series */
  choose(series) {
    this.#series = series;
    this.#described = -DESCRIBE_EVERY;
  }

  /** Shows the series as it is. */
  draw() {
    const series = this.#series;
    if (!series?.last) return;
    const [width, height] = [this.#width, this.#height];
    const marks = rounds(extent(series.points.map((point) => point.price)), 4);
    const x = linear([0, Math.max(series.points.length - 1, 1)], [MARGIN.left, width - MARGIN.right]);
    const y = linear(extent(marks), [height - MARGIN.bottom, MARGIN.top]);
    this.#places = series.points.map((point, index) => ({ x: x(index), y: y(point.price), point }));
    this.#svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
    this.#svg.replaceChildren(...this.#levels(marks, y, width), ...this.#years(), ...this.#lines(series), ...this.#cross());
    say(byId('chart-caption'), `${series.symbol}, monthly, as it is replayed`);
    this.#describe(series);
    if (this.#table.open) this.#fill(series);
  }

  #levels(marks, y, width) {
    return marks.flatMap((mark) => [
      shape('line', { class: 'level', x1: MARGIN.left, x2: width - MARGIN.right, y1: y(mark), y2: y(mark) }),
      shape('text', { class: 'mark', x: MARGIN.left - 8, y: y(mark) + 4, 'text-anchor': 'end' }, String(mark)),
    ]);
  }

  /** A mark where a year begins, as far as there is room. */
  #years() {
    const shapes = [];
    let [free, before] = [MARGIN.left, null];
    for (const { x, point } of this.#places) {
      const year = new Date(point.when).getFullYear();
      if (before !== null && year !== before && x >= free) {
        const end = this.#height - MARGIN.bottom;
        shapes.push(shape('line', { class: 'tick', x1: x, x2: x, y1: end, y2: end + 5 }));
        shapes.push(shape('text', { class: 'mark', x, y: this.#height - 6, 'text-anchor': 'middle' }, String(year)));
        free = x + APART;
      }
      before = year;
    }
    return shapes;
  }

  /** A line for each run; where the replay begins again there is a break. */
  #lines(series) {
    const shapes = [];
    let from = 0;
    for (const run of series.runs) {
      const places = this.#places.slice(from, from + run.length).map(({ x, y }) => [x, y]);
      const base = this.#height - MARGIN.bottom;
      shapes.push(shape('path', { class: 'area', d: `${path(places)}L${places.at(-1)[0].toFixed(1)} ${base}L${places[0][0].toFixed(1)} ${base}Z` }));
      shapes.push(shape('path', { class: 'line', d: path(places) }));
      if (from > 0) shapes.push(shape('line', { class: 'again', x1: places[0][0], x2: places[0][0], y1: MARGIN.top, y2: base }));
      from += run.length;
    }
    const { x, y } = this.#places.at(-1);
    return [...shapes, shape('circle', { class: 'dot', cx: x, cy: y, r: 4 })];
  }

  #cross() {
    const pointer = this.#pointer;
    const place = pointer === null ? this.#places.at(-1) : this.#places.reduce((a, b) => (Math.abs(b.x - pointer) < Math.abs(a.x - pointer) ? b : a));
    say(byId('chart-readout'), `${place.point.month}: ${price(place.point.price)}`);
    if (pointer === null) return [];
    return [
      shape('line', { class: 'cross', x1: place.x, x2: place.x, y1: MARGIN.top, y2: this.#height - MARGIN.bottom }),
      shape('circle', { class: 'dot', cx: place.x, cy: place.y, r: 4 }),
    ];
  }

  #describe({ symbol, points, last }) {
    const now = performance.now();
    if (now - this.#described < DESCRIBE_EVERY) return;
    this.#described = now;
    const [low, high] = extent(points.map((point) => point.price));
    const text = `${symbol}, ${points.length} prices, lowest ${price(low)}, highest ${price(high)}, newest ${price(last.price)} for ${last.month}`;
    this.#svg.setAttribute('aria-label', text);
  }

  #fill({ points }) {
    const from = Math.max(points.length - ROWS, 0);
    const row = (point, index) => {
      const before = points[from + index - 1];
      const change = before && before.when < point.when ? share(point.price / before.price - 1) : '–';
      return element('tr', {}, element('th', { scope: 'row' }, point.month), element('td', {}, price(point.price)), element('td', {}, change));
    };
    byId('chart-rows').replaceChildren(...points.slice(from).map(row).reverse());
  }
}
