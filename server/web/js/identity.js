/**
 * Who this page speaks for: a guest, whose token it gets and renews by itself, or whoever's token was pasted.
 * Kept in this tab's sessionStorage, so that a reload asks nothing.
 */

import { HubbubError } from '/assets/hubbub/index.js';

const KEY = 'hubbub.identity';
/** A guest's token is renewed when it is good for less, in ms. */
const RENEW_BEFORE = 20 * 60_000;

/** Why there is no token: `status` is HTTP's, 0 if the server did not answer. */
export class Refused extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** @typedef {{token: string, name?: string, expires_at?: number}} Stored */

/** The identity of this tab, or null. @returns {Identity | null} */
export function remembered() {
  try {
    const stored = JSON.parse(sessionStorage.getItem(KEY) ?? 'null');
    return typeof stored?.token === 'string' ? new Identity(stored) : null;
  } catch {
    return null;
  }
}

/** A new guest's. Rejects with `Refused`. @param {string} name */
export async function guest(name) {
  const given = await ask({ name });
  return remember({ token: given.token, expires_at: given.expires_at, name });
}

/** That of a token from elsewhere. @param {string} token */
export const pasted = (token) => remember({ token: token.trim() });

/** Nobody, from now on. */
export function forget() {
  try {
    sessionStorage.removeItem(KEY);
  } catch {
    // Nothing was kept.
  }
}

export class Identity {
  #stored;

  /** @param {Stored} stored */
  constructor(stored) {
    this.#stored = stored;
  }

  /** A token that is good now, as far as can be told from here. What the client asks for. */
  token = async () => {
    const { token, name, expires_at: expires } = this.#stored;
    if (name === undefined || expires - Date.now() > RENEW_BEFORE) return token;
    try {
      this.#keep(await ask({}, token));
    } catch (error) {
      if (error.status === 401) await this.#anew(name);
      else if (error.status === 403) throw new HubbubError(error.code, error.message);
      // The server does not answer: it will be asked again, and until then the old one may do.
    }
    return this.#stored.token;
  };

  /** The old token is over: a new guest of the same name. */
  async #anew(name) {
    try {
      this.#keep(await ask({ name }));
    } catch (error) {
      if (error.status === 403) throw new HubbubError(error.code, error.message);
    }
  }

  #keep({ token, expires_at }) {
    this.#stored = { ...this.#stored, token, expires_at };
    remember(this.#stored);
  }
}

function remember(stored) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(stored));
  } catch {
    // Without storage a reload asks again.
  }
  return new Identity(stored);
}

async function ask(body, token) {
  const headers = { 'content-type': 'application/json', ...(token ? { authorization: `Bearer ${token}` } : {}) };
  let response;
  try {
    response = await fetch('/v1/guests', { method: 'POST', headers, body: JSON.stringify(body) });
  } catch {
    throw new Refused(0, 'unavailable', 'The server does not answer. Is it running?');
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, answer.code ?? 'internal', answer.detail ?? `The server answered ${response.status}.`);
  return answer;
}
