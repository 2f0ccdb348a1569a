/** The door: asks for a name, or for a token where guests get none, and hands on the identity. */

import { byId, say } from './dom.js';
import { guest, pasted } from './identity.js';

/** Shows the door until somebody came in. @returns {Promise<import('./identity.js').Identity>} */
export function open() {
  const [door, names, tokens, trouble] = ['door', 'name-form', 'token-form', 'door-trouble'].map(byId);
  door.hidden = false;
  byId('name').focus();
  return new Promise((resolve) => {
    const enter = (identity) => {
      door.hidden = true;
      byId('token').value = '';
      resolve(identity);
    };
    names.addEventListener('submit', async (event) => {
      event.preventDefault();
      const button = names.querySelector('button');
      button.disabled = true;
      say(trouble, '');
      try {
        enter(await guest(byId('name').value));
      } catch (error) {
        if (error.status === 403) {
          names.hidden = true;
          tokens.hidden = false;
          byId('token').focus();
        }
        say(trouble, sentence(error.message));
      }
      button.disabled = false;
    });
    tokens.addEventListener('submit', (event) => {
      event.preventDefault();
      enter(pasted(byId('token').value));
    });
  });
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.?!]$/.test(text) ? '' : '.');
