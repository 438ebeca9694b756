import { once } from 'node:events';
import net from 'node:net';

import * as next from '@modelcontextprotocol/client';
import * as nextStdio from '@modelcontextprotocol/client/stdio';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
  LoggingMessageNotificationSchema,
  ResourceUpdatedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';

import { BINARY } from '../browser/server.mjs';

const INFO = { name: 'test', version: '1' };

/** The official client of the revisions up to 2025-11-25, what it was told, and the resources that changed. */
export function connectSdk(t, url, options = {}) {
  return connectSdkBy(t, new StreamableHTTPClientTransport(new URL(url), options));
}

/** Likewise, with a process that it starts. */
export function connectSdkStdio(t, args) {
  return connectSdkBy(t, new StdioClientTransport(process(args)));
}

async function connectSdkBy(t, transport) {
  const client = new Client(INFO);
  const [told, updated] = [[], []];
  client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => told.push(params));
  client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) =>
    updated.push(params.uri),
  );
  client.onerror = () => {}; // a broken connection, which it mends
  await client.connect(transport);
  t.after(() => client.close());
  return { client, told, updated, transport };
}

/** The official client of all revisions: it begins with the newest, or in `legacy` mode with `initialize`. */
export function connectClient(t, url, mode = 'auto') {
  return connectClientBy(t, new next.StreamableHTTPClientTransport(new URL(url)), mode);
}

/** Likewise, with a process that it starts. */
export function connectClientStdio(t, args, mode = 'auto') {
  return connectClientBy(t, new nextStdio.StdioClientTransport(process(args)), mode);
}

const process = (args) => ({ command: BINARY, args: ['stdio', ...args], stderr: 'ignore' });

async function connectClientBy(t, transport, mode) {
  const client = new next.Client(INFO, { versionNegotiation: { mode } });
  const [told, updated] = [[], []];
  client.setNotificationHandler('notifications/message', ({ params }) => told.push(params));
  client.setNotificationHandler('notifications/resources/updated', ({ params }) =>
    updated.push(params.uri),
  );
  await client.connect(transport);
  t.after(() => client.close());
  return { client, told, updated };
}

/** A proxy that cuts every connection that is open. */
export class Cutter {
  #server;
  #open = new Set();

  static async start(t, origin) {
    const it = new Cutter();
    const { port } = new URL(origin);
    it.#server = net.createServer((near) => {
      const far = net.connect(port, '127.0.0.1');
      for (const [from, to] of [[near, far], [far, near]]) {
        it.#open.add(from);
        from.pipe(to);
        from.on('error', () => to.destroy());
        from.on('close', () => {
          it.#open.delete(from);
          to.destroy();
        });
      }
    });
    it.#server.listen(0, '127.0.0.1');
    await once(it.#server, 'listening');
    t.after(() => {
      it.cut();
      it.#server.close();
    });
    return it;
  }

  get origin() {
    return `http://127.0.0.1:${this.#server.address().port}`;
  }

  cut() {
    for (const socket of this.#open) socket.destroy();
  }
}
