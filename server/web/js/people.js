/** Who is there: the members of the channel, by name, ourselves first. */

import { byId, element, say } from './dom.js';
import { count, nameOf, whole } from './words.js';

/** Names on the page, at most. */
const LIMIT = 200;

export class People {
  #list = byId('people-list');

  constructor() {
    // A phone shows the number, and the names when asked.
    byId('people').open = matchMedia('(min-width: 48rem)').matches;
  }

  /**
   * @param {{count: number | null, members: Map<string, number> | null}} subscription
   * @param {string | null} self
   */
  show({ count: number, members }, self) {
    if (number === null) return;
    say(byId('people-count'), number === 1 ? '1 person here' : `${whole(number)} people here`);
    const users = [...(members?.keys() ?? [])].sort((a, b) => (b === self) - (a === self) || nameOf(a).localeCompare(nameOf(b)));
    const lines = users.slice(0, LIMIT).map((user) => this.#line(user, members.get(user), user === self));
    const left = number - lines.length;
    if (left > 0) lines.push(element('li', { class: 'rest' }, lines.length ? `and ${whole(left)} more` : 'Too many to name'));
    this.#list.replaceChildren(...lines);
  }

  #line(user, connections, isSelf) {
    const name = nameOf(user);
    return element(
      'li',
      { 'data-testid': 'member', 'data-user': user },
      element('span', { class: 'initial', 'aria-hidden': 'true' }, [...name][0]?.toUpperCase() ?? '?'),
      element('bdi', {}, name),
      isSelf ? element('span', { class: 'you' }, ' (you)') : null,
      connections > 1 ? element('span', { class: 'times', title: count(connections, 'connection') }, ` ×${connections}`) : null,
    );
  }
}
