/** The connection bar: says in words what the connection does, and offers what can be done about it. */

import { byId, say } from './dom.js';
import { forget } from './identity.js';
import { count } from './words.js';

const BY = { websocket: 'over WebSocket', sse: 'over server-sent events', polling: 'by polling' };

/** A publish is on its way without a word for this long, in ms. */
const LATE = 500;

/** Shows the state of `client` from now on. @param {import('/assets/hubbub/index.js').Client} client */
export function show(client) {
  const [bar, words, countdown, pending, action] = ['bar', 'bar-words', 'bar-countdown', 'bar-pending', 'bar-action'].map(byId);
  let timer;
  let late;

  action.addEventListener('click', () => {
    if (client.state.phase !== 'closed') return client.reconnect();
    forget();
    location.reload();
  });

  const tick = () => {
    const { phase, retryAt } = client.state;
    const seconds = phase === 'waiting' && retryAt !== null ? Math.ceil((retryAt - Date.now()) / 1_000) : 0;
    say(countdown, seconds > 0 ? `Next attempt in ${seconds} s.` : '');
  };

  const wait = () => {
    const { pending: number } = client.state;
    say(pending, number > 0 ? `${count(number, 'message')} on the way` : '');
  };

  const update = () => {
    const state = client.state;
    bar.dataset.phase = state.phase;
    bar.dataset.transport = state.transport ?? '';
    say(words, sentence(state));
    clearTimeout(late);
    late = setTimeout(wait, state.pending > 0 && pending.textContent === '' ? LATE : 0);
    action.hidden = state.phase !== 'waiting' && state.phase !== 'closed';
    say(action, state.phase === 'closed' ? 'Start over' : 'Try now');
    clearInterval(timer);
    if (state.phase === 'waiting') timer = setInterval(tick, 250);
    tick();
  };
  client.addEventListener('state', update);
  update();
}

function sentence({ phase, transport, reason }) {
  switch (phase) {
    case 'connecting':
      return transport ? `Connecting ${BY[transport]} …` : 'Connecting …';
    case 'online':
      return `Online ${BY[transport]}.`;
    case 'waiting':
      return `Not connected${reason ? `: ${reason}` : ''}.`;
    default:
      return `Refused${reason ? `: ${reason}` : ''}.`;
  }
}
