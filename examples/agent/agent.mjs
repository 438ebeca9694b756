// An agent that sleeps until something happens: it subscribes to incidents over MCP Events with the
// AI SDK's client, and is woken by signed webhooks. What it knows of its subscription is in a file, so
// that it goes on with the same one when it is started again.
import { readFile, writeFile } from 'node:fs/promises';
import http from 'node:http';
import { buffer } from 'node:stream/consumers';

import { createMCPClient, experimental_createMCPEventWebhook as createWebhook } from '@ai-sdk/mcp';

const SERVER = process.env.SERVER ?? 'http://127.0.0.1:8005/mcp';
const PORT = Number(process.env.PORT ?? 9000);
const FILE = process.env.FILE ?? 'subscription.json';

/** One subscription, kept in a file. */
const store = {
  async read() {
    return JSON.parse(await readFile(FILE, 'utf8').catch(() => 'null')) ?? undefined;
  },
  async get(key) {
    const known = await store.read();
    return known?.key === key ? known : undefined;
  },
  async getById(id) {
    const known = await store.read();
    return known?.id === id ? known : undefined;
  },
  async set(subscription) {
    await writeFile(FILE, JSON.stringify(subscription), { mode: 0o600 });
  },
  async update(key, patch) {
    const known = await store.get(key);
    if (known) await store.set({ ...known, ...patch });
  },
  async delete(key) {
    if (await store.get(key)) await writeFile(FILE, 'null');
  },
};

const handle = createWebhook({
  store,
  // Here a model would be asked what to do. An event may come twice: its eventId is then the same.
  onEvent: async ({ event }) => console.log(`woken: ${event.eventId} ${JSON.stringify(event.data)}`),
  onGap: async () => console.log('something was missed: ask for the recent events'),
  onTerminated: async ({ termination }) => console.log(`ended: ${termination.error.message}`),
});

const receiver = http.createServer(async (request, response) => {
  const url = new URL(request.url, `http://127.0.0.1:${PORT}`);
  const { method } = request;
  const body = method === 'POST' ? await buffer(request) : undefined;
  const answer = await handle(new Request(url, { method, headers: new Headers(request.headers), body }));
  response.writeHead(answer.status, Object.fromEntries(answer.headers));
  response.end(Buffer.from(await answer.arrayBuffer()));
});
await new Promise((listening) => receiver.listen(PORT, '127.0.0.1', listening));

const headers = process.env.KEY ? { Authorization: `Bearer ${process.env.KEY}` } : undefined;
const client = await createMCPClient({
  transport: { type: 'http', url: SERVER, headers },
  experimental_events: { store },
});
const events = client.experimental_events;
const known = await store.read();
const { id } = known?.id
  ? await events.refresh({ id: known.id })
  : await events.subscribe({
      name: 'incident.created',
      arguments: { severity: 3 },
      delivery: { mode: 'webhook', url: `http://127.0.0.1:${PORT}/hook`, allowInsecureLocalhost: true },
      ttlMs: null,
    });
console.log(`subscribed: ${id}`);
