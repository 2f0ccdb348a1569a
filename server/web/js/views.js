/** Which view is up front, by the address's hash; and the theme. Where there is room both views are seen, one of them larger. */

import { byId, say } from './dom.js';

const VIEWS = ['chat', 'dashboard'];

/** Follows the hash from now on. */
export function follow() {
  const main = byId('main');
  const turn = () => {
    const view = VIEWS.find((name) => location.hash === `#${name}`) ?? main.dataset.view;
    main.dataset.view = view;
    for (const name of VIEWS) {
      const link = document.querySelector(`.views a[href="#${name}"]`);
      if (name === view) link.setAttribute('aria-current', 'page');
      else link.removeAttribute('aria-current');
    }
  };
  addEventListener('hashchange', turn);
  turn();
}

/** Offers the other theme. */
export function theme() {
  const button = byId('theme');
  const system = matchMedia('(prefers-color-scheme: dark)');
  const isDark = () => (document.documentElement.dataset.theme ?? (system.matches ? 'dark' : 'light')) === 'dark';
  const name = () => {
    say(button, isDark() ? 'Light' : 'Dark');
    button.setAttribute('aria-label', `Use the ${isDark() ? 'light' : 'dark'} theme`);
  };
  button.addEventListener('click', () => {
    const chosen = isDark() ? 'light' : 'dark';
    document.documentElement.dataset.theme = chosen;
    try {
      localStorage.setItem('hubbub.theme', chosen);
    } catch {
      // It holds until the page is left.
    }
    name();
  });
  system.addEventListener('change', name);
  name();
}
