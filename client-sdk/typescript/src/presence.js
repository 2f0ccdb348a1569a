/** A channel's members as a subscriber holds them: what `subscribe` answered, and every change since. */

/** Members that a list has at most; above there is only a count (PROTOCOL.md section 4, `presence`). */
const MAX_MEMBERS = 1_000;

/** @typedef {{count: number, members: Map<string, number> | null}} Members users, and how many connections each has */

/**
 * Those of a whole list.
 * @param {number} count
 * @param {{user: string, connections: number}[] | null | undefined} list
 * @returns {Members}
 */
export function begin(count, list) {
  const held = list && count <= MAX_MEMBERS && list.length <= MAX_MEMBERS;
  return { count, members: held ? new Map(list.map(({ user, connections }) => [user, connections])) : null };
}

/**
 * Those after a `presence` frame.
 * @param {Map<string, number> | null} held
 * @param {any} frame
 * @returns {Members}
 */
export function apply(held, { count, members, left, joined }) {
  if (members || !held || count > MAX_MEMBERS) return begin(count, members);
  const next = new Map(held);
  for (const user of left ?? []) next.delete(user);
  for (const { user, connections } of joined ?? []) next.set(user, connections);
  // Only a server that miscounts gets beyond.
  return { count, members: next.size <= MAX_MEMBERS ? next : null };
}
