/** A real server for the tests: `hubbub serve` on a free port, with a database of its own. */

import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const BIN = process.env.HUBBUB_BIN && resolve(process.env.HUBBUB_BIN);

const SECRET = 'a secret of the tests, and of nothing else';

/** The server takes every HUBBUB_… for a key of its configuration. */
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('HUBBUB_')));

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

export class Server {
  #directory;
  #set;
  #process = null;

  /** Starts one, and stops it after the test `t`. Further arguments are keys of the configuration, `key=value`. */
  static async start(t, ...set) {
    if (!BIN) throw new Error('HUBBUB_BIN is to be the path of a hubbub binary');
    const server = new Server();
    server.#directory = await mkdtemp(join(tmpdir(), 'hubbub-client-'));
    const port = await freePort();
    server.url = `http://127.0.0.1:${port}`;
    server.#set = [`http.listen=127.0.0.1:${port}`, `auth.secret=${SECRET}`, ...set].flatMap((key) => ['--set', key]);
    t.after(async () => {
      await server.kill();
      await rm(server.#directory, { recursive: true, force: true });
    });
    await server.run();
    return server;
  }

  /** Starts the process, on the same port and database, and waits until it is ready. */
  async run() {
    const log = process.env.HUBBUB_LOG ? 'inherit' : 'ignore';
    this.#process = spawn(BIN, ['serve', ...this.#set], { cwd: this.#directory, env, stdio: ['ignore', 'ignore', log] });
    for (;;) {
      const answer = await fetch(`${this.url}/readyz`).catch(() => null);
      if (answer?.ok) return;
      if (this.#process.exitCode !== null) throw new Error(`hubbub ended with ${this.#process.exitCode}`);
      await sleep(20);
    }
  }

  /** SIGKILL. */
  async kill() {
    await this.#stop('SIGKILL');
  }

  /** SIGTERM, and the time to say goodbye. */
  async drain() {
    await this.#stop('SIGTERM');
  }

  async #stop(signal) {
    const child = this.#process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await once(child, 'exit');
  }

  /** A token for `user`, good for so many seconds, with everything granted unless `grants` says otherwise. */
  token(user, { seconds = 3_600, grants } = {}) {
    const all = [{ channels: ['*'], actions: ['subscribe', 'publish', 'history', 'presence'] }];
    const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const claims = { sub: user, aud: 'hubbub', exp: Math.ceil(Date.now() / 1_000) + seconds, grants: grants ?? all };
    const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`;
    return `${signed}.${createHmac('sha256', SECRET).update(signed).digest('base64url')}`;
  }
}
