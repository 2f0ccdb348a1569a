// The server's REST API, from outside the browser.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { url } from './run.js';

/** A channel, for whoever has this token. */
export class Channel {
  #url;
  #headers;

  constructor(name, token) {
    this.#url = `${url}/v1/channels/${encodeURIComponent(name)}/entries`;
    this.#headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  }

  /** Publishes, and tries again under the same message id while nobody answers. Returns the answer. */
  async publish(payload) {
    const body = JSON.stringify({ payload, message_id: uuid7() });
    for (const until = Date.now() + 20_000; ; ) {
      try {
        const response = await fetch(this.#url, { method: 'POST', headers: this.#headers, body });
        assert.ok(response.ok, await response.clone().text());
        return await response.json();
      } catch (error) {
        if (error instanceof assert.AssertionError || Date.now() > until) throw error;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }

  /** Up to 256 at once. */
  async publishAll(payloads) {
    const body = JSON.stringify({ messages: payloads.map((payload) => ({ payload })) });
    const response = await fetch(this.#url, { method: 'POST', headers: this.#headers, body });
    assert.ok(response.ok, await response.clone().text());
  }

  /** Its whole history, oldest first; at most 1,000 entries. */
  async history() {
    const response = await fetch(`${this.#url}?after=0&limit=1000`, { headers: this.#headers });
    assert.equal(response.status, 200);
    const { entries, more } = await response.json();
    assert.ok(!more, 'there are more than a page of them');
    return entries;
  }
}

/** RFC 9562, section 5.7. */
function uuid7() {
  const bytes = randomBytes(16);
  bytes.writeUIntBE(Date.now(), 0, 6);
  bytes[6] = 0x70 | (bytes[6] & 0x0f);
  bytes[8] = 0x80 | (bytes[8] & 0x3f);
  return bytes.toString('hex').replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, '$1-$2-$3-$4-$5');
}
