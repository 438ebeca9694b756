import { once } from 'node:events';
import net from 'node:net';

import * as next from '@modelcontextprotocol/client';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { LoggingMessageNotificationSchema } from '@modelcontextprotocol/sdk/types.js';

const INFO = { name: 'test', version: '1' };

/** The official client of the revisions up to 2025-11-25, and what it was told. */
export async function connectSdk(t, url, options = {}) {
  const client = new Client(INFO);
  const told = [];
  client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => told.push(params));
  client.onerror = () => {}; // a broken connection, which it mends
  const transport = new StreamableHTTPClientTransport(new URL(url), options);
  await client.connect(transport);
  t.after(() => client.close());
  return { client, told, transport };
}

/** The official client of all revisions: it begins with the newest, or in `legacy` mode with `initialize`. */
export async function connectClient(t, url, mode = 'auto') {
  const client = new next.Client(INFO, { versionNegotiation: { mode } });
  const told = [];
  client.setNotificationHandler('notifications/message', ({ params }) => told.push(params));
  await client.connect(new next.StreamableHTTPClientTransport(new URL(url)));
  t.after(() => client.close());
  return { client, told };
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
