/** Message ids: UUIDs of version 7 (RFC 9562), by the server's clock as far as it is known. */

/** The server's clock. Until it has said what time it is, this machine's. */
export class ServerClock {
  #unix = Date.now();
  #at = performance.now();

  /**
   * The server says that it is `time` now.
   * @param {number} time Unix ms
   */
  set(time) {
    this.#unix = time;
    this.#at = performance.now();
  }

  /** Unix ms. A change of this machine's clock does not move it. */
  now() {
    return Math.round(this.#unix + performance.now() - this.#at);
  }
}

/**
 * A UUIDv7 of the time `unix`, in Unix ms.
 * @param {number} unix
 */
export function uuid7(unix) {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const view = new DataView(bytes.buffer);
  view.setUint32(0, Math.floor(unix / 0x10000));
  view.setUint16(4, unix % 0x10000);
  bytes[6] = 0x70 | (bytes[6] & 0x0f);
  bytes[8] = 0x80 | (bytes[8] & 0x3f);
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}
