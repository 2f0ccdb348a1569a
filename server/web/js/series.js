/** The prices of one symbol as they came. Pure: what an entry says goes in, what a tile or a chart shows comes out. */

/** Prices that are held, at most: the newest. */
const LIMIT = 160;

/** @typedef {{seq: number, month: string, when: number, price: number}} Point `when` is the row's own date in Unix ms */

export class Series {
  /** @type {Point[]} Ascending by seq. */
  points = [];

  constructor(symbol) {
    this.symbol = symbol;
  }

  get last() {
    return this.points.at(-1) ?? null;
  }

  /** The newest price against the one before it, as a ratio; 0 if there is none. */
  get change() {
    const [before, last] = this.points.slice(-2);
    return before && last && before.when < last.when ? last.price / before.price - 1 : 0;
  }

  /** Takes an entry of `ticker:*` as `make demo` publishes it. False if it is something else, or here already. */
  add({ seq, payload }) {
    const { date, price: text } = payload?.data ?? {};
    const price = Number(text);
    if (typeof date !== 'string' || text === '' || !Number.isFinite(price)) return false;
    let at = this.points.length;
    while (at > 0 && this.points[at - 1].seq > seq) at -= 1;
    if (this.points[at - 1]?.seq === seq) return false;
    this.points.splice(at, 0, { seq, month: date.replace(/ 1 /, ' '), when: Date.parse(date), price });
    if (this.points.length > LIMIT) this.points.shift();
    return true;
  }

  /** The points in runs within which time goes on: the file is replayed again and again. @returns {Point[][]} */
  get runs() {
    const runs = [];
    let before = null;
    for (const point of this.points) {
      if (before === null || point.when < before.when) runs.push([]);
      runs.at(-1).push(point);
      before = point;
    }
    return runs;
  }
}
