import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

export const BINARY =
  process.env.SERVER_BINARY ??
  fileURLToPath(new URL('../../target/debug/notification-server', import.meta.url));
const READY_DEADLINE_MS = 30_000;
const STOP_DEADLINE_MS = 10_000;
const POLL_MS = 20;

/** A loopback port that is free now, for a server that must come back on the same one. */
export async function freePort() {
  const probe = net.createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  probe.close();
  await once(probe, 'close');
  return port;
}

/**
 * The real server binary on one port and one data directory, which it keeps
 * however often it is stopped, killed and started again.
 */
export class NotificationServer {
  #port;
  #dir;
  #arguments = [];
  #adminKey;
  #process;
  #stderr;

  /** Starts a server with an empty data directory; both are gone when the test `t` ends. */
  static async start(t, port) {
    const server = await NotificationServer.#make(t, port);
    await server.start();
    return server;
  }

  /** Likewise, with these settings (TOML). */
  static async startWith(t, settings) {
    const server = await NotificationServer.#make(t);
    const config = join(server.#dir, 'settings.toml');
    await writeFile(config, settings);
    server.#arguments = ['--config', config];
    await server.start();
    return server;
  }

  /** Likewise, with these settings (TOML, without a table `[auth]`), and everybody has to say who they are. */
  static async startSecured(t, settings = '', { port, auth = '' } = {}) {
    const server = await NotificationServer.#make(t, port);
    server.#adminKey = randomBytes(32).toString('base64url');
    const [config, adminKey] = ['settings.toml', 'admin.key'].map((name) => join(server.#dir, name));
    await writeFile(adminKey, server.#adminKey, { mode: 0o600 });
    await writeFile(config, `${settings}\n[auth]\nadmin_key_file = ${JSON.stringify(adminKey)}\n${auth}`);
    server.#arguments = ['--config', config];
    await server.start();
    return server;
  }

  static async #make(t, port) {
    const server = new NotificationServer();
    server.#port = port ?? (await freePort());
    server.#dir = await mkdtemp(join(tmpdir(), 'notification-browser-'));
    t.after(async () => {
      if (server.#process) await server.kill();
      await rm(server.#dir, { recursive: true, force: true });
    });
    return server;
  }

  get origin() {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** What it has logged since it was started. */
  get log() {
    return this.#stderr;
  }

  /** Resolves once `GET /readyz` answers 200. */
  async start() {
    this.#stderr = '';
    this.#process = spawn(
      BINARY,
      ['--bind', `127.0.0.1:${this.#port}`, '--data-dir', join(this.#dir, 'data'), ...this.#arguments],
      { env: environment(), stdio: ['ignore', 'ignore', 'pipe'] },
    );
    this.#process.stderr.setEncoding('utf8').on('data', (text) => (this.#stderr += text));
    await once(this.#process, 'spawn');
    await this.#ready();
  }

  /** Stops as an operator would, with SIGTERM; throws unless it exits with 0 in time. */
  async stop() {
    const { signal, code } = await this.#end('SIGTERM');
    if (code !== 0) throw this.#failure(`ended with ${signal ?? code} after SIGTERM`);
  }

  /** `kill -9`: the server gets no chance to finish anything. */
  async kill() {
    await this.#end('SIGKILL');
  }

  /** Publishes one notification; resolves to what the 201 said of it. */
  async publish(message) {
    const response = await this.#post('/v1/events', { type: 'notification', message });
    if (response.status !== 201) throw new Error(await described(response));
    return response.json();
  }

  /** Calls a tool on the plain lane; resolves to its structured content. */
  async callTool(name, args) {
    const response = await this.#post('/mcp', {
      jsonrpc: '2.0',
      method: 'tools/call',
      params: { name, arguments: args },
      id: '1',
    });
    if (response.status !== 200) throw new Error(await described(response));
    const { result, error } = await response.json();
    if (error || result.isError) {
      throw new Error(`${name} failed: ${JSON.stringify(error ?? result.content)}`);
    }
    return result.structuredContent;
  }

  /** One request with a bearer credential, which is the administrator's unless another is given. */
  ask(method, path, body, credential = this.#adminKey) {
    return fetch(this.origin + path, {
      method,
      headers: {
        ...(body !== undefined && { 'Content-Type': 'application/json' }),
        ...(credential && { Authorization: `Bearer ${credential}` }),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  }

  /** Creates a key with these grants, and whatever `more` says of it. */
  async createKey(name, allow, more = {}) {
    const response = await this.ask('POST', '/v1/keys', { name, allow, ...more });
    if (response.status !== 201) throw new Error(await described(response));
    return (await response.json()).key;
  }

  /** The messages of all that was published. */
  async messages() {
    const response = await this.ask('GET', '/v1/events?limit=1000');
    if (response.status !== 200) throw new Error(await described(response));
    return (await response.json()).events.map(({ message }) => message);
  }

  #post(path, body) {
    return this.ask('POST', path, body);
  }

  async #ready() {
    const deadline = AbortSignal.timeout(READY_DEADLINE_MS);
    while (!(await this.#answersReady(deadline))) {
      if (this.#ended) throw this.#failure('ended before it was ready');
      if (deadline.aborted) throw this.#failure(`not ready after ${READY_DEADLINE_MS} ms`);
      await delay(POLL_MS);
    }
  }

  async #answersReady(signal) {
    try {
      const response = await fetch(`${this.origin}/readyz`, { signal });
      await response.body?.cancel();
      return response.status === 200;
    } catch {
      return false;
    }
  }

  get #ended() {
    return this.#process.exitCode !== null || this.#process.signalCode !== null;
  }

  async #end(signal) {
    if (!this.#ended) {
      const exit = once(this.#process, 'exit');
      process.kill(this.#process.pid, signal);
      const stuck = setTimeout(() => this.#process.kill('SIGKILL'), STOP_DEADLINE_MS);
      await exit;
      clearTimeout(stuck);
    }
    return { signal: this.#process.signalCode, code: this.#process.exitCode };
  }

  #failure(what) {
    return new Error(`${BINARY} ${what}; it wrote:\n${this.#stderr}`);
  }
}

/** Ours without the server's own settings, which would reach it from the machine it is tested on. */
function environment() {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith('NOTIFICATION_SERVER_')),
  );
}

async function described(response) {
  return `${response.url} answered ${response.status}: ${await response.text()}`;
}
