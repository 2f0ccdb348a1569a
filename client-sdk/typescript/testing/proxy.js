/** A proxy that does to a server's answers what proxies and networks do. */

import { once } from 'node:events';
import { createServer, request } from 'node:http';
import { connect } from 'node:net';
import { Transform } from 'node:stream';

const KINDS = [
  ['sse', /^\/v1\/sse$/],
  ['polling', /^\/v1\/poll$/],
];

export class Proxy {
  /** Transports that it does not let through: `websocket`, `sse`, `polling`. */
  blocked = new Set();
  /** It holds streams of events back. */
  buffers = false;
  /** What the server sends gets lost, and every connection stays. */
  frozen = false;
  /** The answer to each request that this accepts is lost, though the server has done what it asked. */
  loses = () => false;
  /** What went through: `METHOD PATH`. */
  seen = [];
  #target;
  #server = createServer((incoming, outgoing) => this.#request(incoming, outgoing));
  #sockets = new Set();

  /** Starts one before `server`, and stops it after the test `t`. */
  static async start(t, server) {
    const proxy = new Proxy();
    proxy.#target = new URL(server.url);
    proxy.#server.on('upgrade', (incoming, socket, head) => proxy.#upgrade(incoming, socket, head));
    proxy.#server.on('connection', (socket) => proxy.#keep(socket));
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    proxy.url = `http://127.0.0.1:${proxy.#server.address().port}`;
    t.after(() => {
      proxy.cut();
      proxy.#server.close();
    });
    return proxy;
  }

  /** Breaks every connection. */
  cut() {
    for (const socket of this.#sockets) socket.destroy();
  }

  #keep(socket) {
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('error', () => socket.destroy());
  }

  #headers(incoming) {
    return { ...incoming.headers, host: this.#target.host };
  }

  #request(incoming, outgoing) {
    const { method, url } = incoming;
    this.seen.push(`${method} ${url}`);
    if (KINDS.some(([kind, path]) => this.blocked.has(kind) && path.test(url))) return outgoing.writeHead(403).end('not here');
    const { hostname: host, port } = this.#target;
    const forwarded = request({ host, port, method, path: url, headers: this.#headers(incoming) }, (answer) => {
      const isLost = this.loses(method, url);
      const isStream = answer.headers['content-type']?.startsWith('text/event-stream');
      if (isLost) return answer.resume().on('end', () => outgoing.destroy());
      outgoing.writeHead(answer.statusCode, answer.headers).flushHeaders();
      if (isStream && this.buffers) return answer.resume();
      return answer.on('error', () => outgoing.destroy()).pipe(this.#gate()).pipe(outgoing);
    });
    forwarded.on('error', () => outgoing.destroy());
    outgoing.on('close', () => forwarded.destroy());
    return incoming.pipe(forwarded);
  }

  #upgrade(incoming, socket, head) {
    if (this.blocked.has('websocket')) {
      socket.destroy();
      return;
    }
    const { hostname: host, port } = this.#target;
    const forwarded = connect(port, host);
    this.#keep(forwarded);
    const lines = Object.entries(this.#headers(incoming)).map(([name, value]) => `${name}: ${value}\r\n`);
    forwarded.write(`GET ${incoming.url} HTTP/1.1\r\n${lines.join('')}\r\n`);
    forwarded.write(head);
    socket.on('close', () => forwarded.destroy());
    forwarded.on('close', () => socket.destroy());
    socket.pipe(forwarded);
    forwarded.pipe(this.#gate()).pipe(socket);
  }

  #gate() {
    return new Transform({ transform: (chunk, _, done) => done(null, this.frozen ? undefined : chunk) });
  }
}
