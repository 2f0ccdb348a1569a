/** When to try again: full jitter (PROTOCOL.md section 7; "Exponential Backoff And Jitter", AWS, 2015). */

/** In ms: the longest pause before the first attempt, and before any. */
const BASE = 250;
const CAP = 20_000;
/** In ms: no pause is longer, whatever the server says. */
const LONGEST = 24 * 3_600_000;

/**
 * A random pause, in ms, after the nth failure in a row, from 0.
 * @param {number} n
 * @param {() => number} [random] 0 up to, but not including, 1
 */
export function jitter(n, random = Math.random) {
  return random() * Math.min(CAP, BASE * 2 ** n);
}

/**
 * The pause that an error asks for after the nth failure in a row, in ms; null: not again. An error that wants another
 * token counts as `later`: whoever has none must say so first.
 * @param {import('./errors.js').HubbubError} error
 * @param {number} n
 * @param {() => number} [random]
 */
export function pauseAfter(error, n, random = Math.random) {
  if (error.retry === 'never') return null;
  let pause = jitter(n, random);
  if (error.retry === 'now') pause = n === 0 ? 0 : jitter(n - 1, random);
  return Math.min(LONGEST, error.retryAfter + pause);
}
