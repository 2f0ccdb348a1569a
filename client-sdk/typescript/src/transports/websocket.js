/** The WebSocket, in JSON (PROTOCOL.md section 1). */

import { HubbubError, broke, retryAfterClose } from '../errors.js';
import { readFrames } from '../frames.js';

/** Bytes that wait in the socket before it takes no more, and how often it is asked again, in ms. */
const HIGH_WATER = 1_048_576;
const ASK_AGAIN = 50;

/** @implements {Transport} */
export class WebSocketTransport {
  #settings;
  #listener;
  /** @type {WebSocket | undefined} */
  #socket;

  /**
   * @param {Settings} settings
   * @param {Listener} listener
   */
  constructor(settings, listener) {
    this.#settings = settings;
    this.#listener = listener;
  }

  /**
   * @param {object} connect
   * @param {string} rest
   */
  open(connect, rest) {
    const { url, tokens, WebSocket } = this.#settings;
    const listener = this.#listener;
    if (!WebSocket) return listener.ended(broke('there are no WebSockets here'));
    const address = new URL('/v1/ws', url);
    address.protocol = address.protocol.replace('http', 'ws');
    let socket;
    try {
      socket = new WebSocket(address, 'hubbub.v1.json');
    } catch (error) {
      return listener.ended(broke(`the WebSocket cannot be opened: ${error}`));
    }
    this.#socket = socket;
    socket.onopen = () => {
      listener.opened();
      socket.send(JSON.stringify({ ...connect, token: tokens.current }) + rest);
    };
    socket.onmessage = ({ data }) => this.#message(data);
    socket.onclose = ({ code, reason }) => {
      const said = code >= 4000 ? reason : reason || 'the WebSocket was closed';
      const error = new HubbubError('lost', `${said} (${code})`, retryAfterClose(code));
      listener.ended({ error, by: code >= 4000 ? 'server' : 'wire' });
    };
    // What follows is a close, which says as much.
    socket.onerror = () => {};
  }

  connected() {}

  get ready() {
    return this.#socket?.readyState === 1 && this.#socket.bufferedAmount < HIGH_WATER;
  }

  /** @param {string} message */
  send(message) {
    this.#socket?.send(message);
    this.#whenReady();
  }

  close() {
    const socket = this.#socket;
    if (!socket) return;
    socket.onopen = () => socket.close(1000);
    socket.onmessage = socket.onclose = null;
    if (socket.readyState === 1) socket.close(1000);
    else socket.close();
  }

  abort() {
    this.close();
  }

  /** @param {unknown} data */
  #message(data) {
    this.#listener.life();
    let frames;
    try {
      frames = readFrames(String(data));
    } catch {
      return this.#listener.ended(broke('the server sent what is not a frame'));
    }
    for (const frame of frames) this.#listener.frame(frame);
  }

  #whenReady() {
    if (this.#socket?.readyState !== 1) return;
    if (this.ready) this.#listener.ready();
    else setTimeout(() => this.#whenReady(), ASK_AGAIN);
  }
}

/** @typedef {import('./transport.js').Settings} Settings */
/** @typedef {import('./transport.js').Listener} Listener */
/** @typedef {import('./transport.js').Transport} Transport */
