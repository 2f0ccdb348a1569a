/** What a browser knows that a client wants to know. Elsewhere there is nothing to hear. */

/**
 * @typedef {object} Hints
 * @property {() => void} hint there may be a network again, or somebody looks: now is a good time to connect
 * @property {() => void} leaving the page goes, perhaps to come back
 * @property {() => void} back it has come back
 */

/**
 * Listens until the returned function is called.
 * @param {Hints} hints
 */
export function watchPage({ hint, leaving, back }) {
  if (typeof window === 'undefined' || typeof document === 'undefined') return () => {};
  const control = new AbortController();
  const { signal } = control;
  window.addEventListener('online', hint, { signal });
  document.addEventListener('visibilitychange', () => document.visibilityState === 'visible' && hint(), { signal });
  window.addEventListener('pagehide', leaving, { signal });
  window.addEventListener('pageshow', (event) => event.persisted && back(), { signal });
  return () => control.abort();
}
