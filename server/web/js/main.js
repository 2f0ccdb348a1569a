/** The page's beginning: somebody comes in, a client connects, and the views live from it. */

import { Client } from '/assets/hubbub/index.js';
import * as bar from './bar.js';
import { Chat } from './chat.js';
import { Dashboard } from './dashboard.js';
import { byId } from './dom.js';
import * as door from './door.js';
import { remembered } from './identity.js';
import * as views from './views.js';

const TRANSPORTS = ['websocket', 'sse', 'polling'];

/** `?transport=sse` restricts the client to one way, to try it. */
function transports() {
  const asked = new URLSearchParams(location.search).get('transport');
  return TRANSPORTS.includes(asked) ? [asked] : TRANSPORTS;
}

views.theme();
views.follow();
const identity = remembered() ?? (await door.open());
const client = new Client({ token: identity.token, transports: transports(), name: 'hubbub-page' });
bar.show(client);
for (const id of ['chat-view', 'dashboard-view']) byId(id).hidden = false;
new Chat(client).start();
new Dashboard(client).start();
if (byId('main').dataset.view === 'chat' && matchMedia('(hover: hover)').matches) byId('text').focus();
