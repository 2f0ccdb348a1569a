/** What may be published (PROTOCOL.md section 5). */

import { HubbubError } from './errors.js';

/** How deep a payload may nest. */
const MAX_DEPTH = 28;

/**
 * A payload as JSON, as it is now: a retry sends the same. Throws `payload_invalid` for what JSON cannot carry.
 * @param {unknown} payload
 */
export function encodePayload(payload) {
  let json;
  try {
    json = JSON.stringify(payload);
  } catch (error) {
    throw new HubbubError('payload_invalid', `the payload cannot be JSON: ${error instanceof Error ? error.message : error}`);
  }
  if (json === undefined) throw new HubbubError('payload_invalid', 'the payload cannot be JSON');
  if (depth(json) > MAX_DEPTH) throw new HubbubError('payload_invalid', `the payload nests deeper than ${MAX_DEPTH}`);
  return json;
}

/**
 * How deep a JSON text nests.
 * @param {string} json
 */
function depth(json) {
  let now = 0;
  let most = 0;
  let quoted = false;
  for (let at = 0; at < json.length; at++) {
    const char = json[at];
    if (char === '"') quoted = !quoted;
    else if (quoted) at += char === '\\' ? 1 : 0;
    else if (char === '{' || char === '[') most = Math.max(most, ++now);
    else if (char === '}' || char === ']') now--;
  }
  return most;
}
