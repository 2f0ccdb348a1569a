/** From values to places on a chart, and where its marks stand. Pure. */

/** Maps `from` linearly onto `to`; the middle of `to` where `from` is a single value. */
export function linear([low, high], [start, end]) {
  return low === high ? () => (start + end) / 2 : (value) => start + ((value - low) / (high - low)) * (end - start);
}

/** Lowest and highest of some numbers, `[0, 1]` of none. */
export function extent(values) {
  return values.length ? [Math.min(...values), Math.max(...values)] : [0, 1];
}

/** Round numbers that cover the range, some `wanted` of them. */
export function rounds([low, high], wanted) {
  const rough = Math.max((high - low) / wanted, 1e-9);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough);
  const marks = [];
  for (let mark = Math.floor(low / step) * step; mark < high + step; mark += step) marks.push(Number(mark.toPrecision(12)));
  return marks;
}

/** An SVG path through points. @param {[number, number][]} points */
export const path = (points) => points.map(([x, y], index) => `${index ? 'L' : 'M'}${x.toFixed(1)} ${y.toFixed(1)}`).join('');
