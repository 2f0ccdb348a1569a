/** How names, times and numbers read. */

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' });
const WHOLE = new Intl.NumberFormat();
const PRICE = new Intl.NumberFormat(undefined, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const SHARE = new Intl.NumberFormat(undefined, { style: 'percent', minimumFractionDigits: 1, maximumFractionDigits: 1, signDisplay: 'exceptZero' });

/** `14:05`, of Unix ms. */
export const clock = (ms) => CLOCK.format(ms);

/** `1,204`. */
export const whole = (number) => WHOLE.format(number);

/** `39.81`. */
export const price = (number) => PRICE.format(number);

/** `+1.2%`, of a ratio. */
export const share = (ratio) => SHARE.format(ratio);

/** A day by its name: today, yesterday, or the date. */
export function day(ms) {
  const midnight = new Date().setHours(0, 0, 0, 0);
  if (ms >= midnight) return 'Today';
  return ms >= midnight - 86_400_000 ? 'Yesterday' : DAY.format(ms);
}

/** A guest's name without the tail that tells two of a name apart (`Ada~x7k2`); another user's as it is. */
export const nameOf = (user) => user.replace(/~[a-z2-9]{4}$/, '');

/** `1 message`, `2 messages`. */
export const count = (number, noun) => `${whole(number)} ${noun}${number === 1 ? '' : 's'}`;

/** Names as a sentence has them: `Ada`, `Ada and Ben`, `Ada, Ben and 3 more`. */
export function names(list) {
  if (list.length <= 1) return list.join('');
  if (list.length === 2) return list.join(' and ');
  return list.length === 3 ? `${list[0]}, ${list[1]} and ${list[2]}` : `${list[0]}, ${list[1]} and ${list.length - 2} more`;
}
