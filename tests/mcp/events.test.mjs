// The AI SDK's client of MCP Events, whose webhooks are verified by the official library as well.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';

import { createMCPClient, experimental_createMCPEventWebhook as createWebhook } from '@ai-sdk/mcp';
import { Webhook } from 'standardwebhooks';

import { NotificationServer } from '../browser/server.mjs';
import { eventually } from './use.mjs';

const SETTINGS = '[webhooks]\ndev_allow_loopback = true\nretry_delays = ["1s", "1s", "1s"]\n';

/** What the client remembers of its subscriptions. */
class Store {
  #subscriptions = new Map();

  async get(key) {
    return structuredClone(this.#subscriptions.get(key));
  }

  async getById(id) {
    return structuredClone([...this.#subscriptions.values()].find((it) => it.id === id));
  }

  async set(subscription) {
    this.#subscriptions.set(subscription.key, structuredClone(subscription));
  }

  async update(key, patch) {
    const known = this.#subscriptions.get(key);
    if (known) this.#subscriptions.set(key, { ...known, ...structuredClone(patch) });
  }

  async delete(key) {
    this.#subscriptions.delete(key);
  }
}

/** An application that is woken by events: what it was told, and which requests it was sent. */
async function startApplication(t) {
  const store = new Store();
  const told = { events: [], gaps: [], ends: [], requests: [], isDown: false, url: undefined, store };
  const handle = createWebhook({
    store,
    onEvent: async ({ event }) => void told.events.push(event),
    onGap: async ({ gap }) => void told.gaps.push(gap),
    onTerminated: async ({ termination }) => void told.ends.push(termination.error),
  });
  const server = http.createServer(async (request, response) => {
    const body = await buffer(request);
    if (request.method !== 'POST') return response.writeHead(404).end();
    const url = new URL(request.url, told.url);
    const { delivery } = (await store.get(url.searchParams.get('mcp_event_subscription'))) ?? {};
    // Throws if the official library does not take the signature.
    const verified = new Webhook(delivery.secret).verify(body, request.headers);
    told.requests.push({ headers: request.headers, body: verified });
    if (told.isDown) return response.writeHead(500).end();
    const init = { method: 'POST', headers: new Headers(request.headers), body };
    const answer = await handle(new Request(url, init));
    response.writeHead(answer.status, Object.fromEntries(answer.headers));
    response.end(Buffer.from(await answer.arrayBuffer()));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  told.url = `http://127.0.0.1:${server.address().port}/hook`;
  t.after(() => server.closeAllConnections());
  t.after(() => server.close());
  return told;
}

async function connect(t, server, credential, store, protocolVersionDiscovery) {
  const headers = { Authorization: `Bearer ${credential}` };
  const client = await createMCPClient({
    transport: { type: 'http', url: `${server.origin}/mcp`, headers },
    protocolVersionDiscovery,
    experimental_events: { store },
  });
  t.after(() => client.close());
  return client;
}

async function declare(server) {
  const declared = await server.ask('PUT', '/v1/event-types/incident.created', {
    description: 'Something broke',
    topic: 'ops/incidents',
    payload_schema: {
      type: 'object',
      required: ['severity'],
      properties: { severity: { type: 'integer' }, service: { type: 'string' } },
    },
    arguments: { severity: 'min', service: 'glob' },
  });
  assert.equal(declared.status, 201);
}

async function happen(server, severity) {
  const event = { type: 'event', name: 'incident.created', data: { severity, service: 'api' } };
  const published = await server.ask('POST', '/v1/events', event);
  assert.equal(published.status, 201);
  return (await published.json()).event_id;
}

for (const [lane, discovers] of [['2026-07-28', true], ['2025-11-25', false]]) {
  test(`an application is woken, with the client of ${lane}`, async (t) => {
    const server = await NotificationServer.startSecured(t, SETTINGS);
    await declare(server);
    const key = await server.createKey('agent', ['webhooks', 'subscribe:ops/**']);
    const application = await startApplication(t);
    const { store } = application;
    const client = await connect(t, server, key, store, discovers);
    assert.equal(client.initializeResult.protocolVersion, lane);
    const events = client.experimental_events;

    const listed = await events.list({ params: {} });
    const names = listed.events.map(({ name }) => name);
    assert.ok(names.includes('incident.created') && names.includes('task.finished'));

    const subscription = await events.subscribe({
      name: 'incident.created',
      arguments: { severity: 3 },
      delivery: { mode: 'webhook', url: application.url, allowInsecureLocalhost: true },
      ttlMs: 60_000,
    });
    assert.equal(application.requests.at(-1).body.type, 'verification');
    assert.ok(subscription.id.startsWith('sub_'));

    await happen(server, 1);
    const first = await happen(server, 3);
    await eventually('it is woken', () => application.events.length === 1);
    assert.equal(application.events[0].eventId, first);
    assert.deepEqual(application.events[0].data, { severity: 3, service: 'api' });
    const { headers } = application.requests.at(-1);
    assert.equal(headers['x-mcp-subscription-id'], subscription.id);

    // While it is down, what happens waits for it.
    application.isDown = true;
    const second = await happen(server, 4);
    const attempts = () => application.requests.filter((it) => it.headers['webhook-id'] === second);
    await eventually('it was tried', () => attempts().length > 0);
    application.isDown = false;
    await eventually('it hears of it', () => application.events.at(-1).eventId === second);

    const { id } = subscription;
    const refreshed = await events.refresh({ id });
    assert.equal(refreshed.id, id);

    const before = await store.getById(id);
    const secret = `whsec_${randomBytes(32).toString('base64')}`;
    await store.update(before.key, { delivery: { ...before.delivery, secret } });
    await events.refresh({ id });
    const third = await happen(server, 5);
    await eventually('it takes the new secret', () => application.events.at(-1).eventId === third);
    // Whoever knows the old one only takes it as well.
    const rotated = application.requests.at(-1);
    const raw = JSON.stringify(rotated.body);
    assert.ok(new Webhook(before.delivery.secret).verify(raw, rotated.headers));

    await events.unsubscribe({ id });
    await happen(server, 6);
    const webhooks = await (await server.ask('GET', '/v1/webhooks')).json();
    assert.deepEqual(webhooks.webhooks, []);
    assert.deepEqual(application.events.map(({ eventId }) => eventId), [first, second, third]);
  });
}

test('an application is told that what it relies on is gone', async (t) => {
  const server = await NotificationServer.startSecured(t, SETTINGS);
  await declare(server);
  const key = await server.createKey('agent', ['webhooks', 'subscribe:**']);
  const application = await startApplication(t);
  const client = await connect(t, server, key, application.store, true);
  await client.experimental_events.subscribe({
    name: 'incident.created',
    delivery: { mode: 'webhook', url: application.url, allowInsecureLocalhost: true },
  });
  const removed = await server.ask('DELETE', '/v1/event-types/incident.created');
  assert.equal(removed.status, 204);
  await eventually('it is told', () => application.ends.length === 1);
  assert.equal(application.ends[0].code, -32023);
  assert.deepEqual(application.ends[0].data, { kind: 'event' });
});

test('nobody subscribes without an answer from the address', async (t) => {
  const server = await NotificationServer.startSecured(t, SETTINGS);
  await declare(server);
  const key = await server.createKey('agent', ['webhooks', 'subscribe:**']);
  const application = await startApplication(t);
  application.isDown = true;
  const client = await connect(t, server, key, application.store, true);
  const subscribing = client.experimental_events.subscribe({
    name: 'incident.created',
    delivery: { mode: 'webhook', url: application.url, allowInsecureLocalhost: true },
  });
  await assert.rejects(subscribing, ({ code, data }) => {
    assert.equal(code, -32027);
    assert.deepEqual(data, { reason: 'http_5xx' });
    return true;
  });
});
