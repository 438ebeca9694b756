import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';

import { NotificationServer } from '../browser/server.mjs';
import { Cutter, connectClient, connectSdk } from './clients.mjs';
import { TOPIC, assertProgress, eventually, messages, readContent, useTools } from './use.mjs';

async function publish(server, message, notification_type = 'info') {
  const response = await fetch(`${server.origin}/v1/events`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ type: 'notification', message, notification_type }),
  });
  assert.equal(response.status, 201);
}

async function hearProgress(client) {
  const heard = [];
  const args = { task_name: 'Watched', duration_seconds: 1, step_count: 4 };
  await client.callTool({ name: 'simulate_progress', arguments: args }, undefined, {
    onprogress: (progress) => heard.push(progress),
  });
  return heard;
}

test('the client of revisions up to 2025-11-25 lists, calls and hears', async (t) => {
  const server = await NotificationServer.start(t);
  const { client, told, updated } = await connectSdk(t, `${server.origin}/mcp`);
  assert.ok(client.getServerCapabilities().logging);
  await useTools(client);
  await readContent(client);
  await client.subscribeResource({ uri: TOPIC });
  assertProgress(await hearProgress(client));
  await publish(server, 'to everybody', 'warning');
  await eventually('it hears the broadcast', () => messages(told).includes('to everybody'));
  await eventually('it hears that the topic has changed', () => updated.includes(TOPIC));
  const heard = told.find(({ data }) => data.message === 'to everybody');
  assert.deepEqual([heard.level, heard.logger], ['warning', 'notifications']);
  // Also what its own tools did.
  assert.ok(messages(told).includes('from a tool'));
  assert.ok(told.some(({ level, data }) => level === 'debug' && data.task_id === 'job'));

  await client.setLoggingLevel('error');
  await publish(server, 'too quiet', 'warning');
  await publish(server, 'loud enough', 'error');
  await eventually('it hears the louder one', () => messages(told).includes('loud enough'));
  assert.ok(!messages(told).includes('too quiet'));
});

test('it comes back after its connection broke, and misses and repeats nothing', async (t) => {
  const server = await NotificationServer.start(t);
  const cutter = await Cutter.start(t, server.origin);
  const { client, told } = await connectSdk(t, `${cutter.origin}/mcp`, {
    reconnectionOptions: {
      initialReconnectionDelay: 50,
      maxReconnectionDelay: 200,
      reconnectionDelayGrowFactor: 1.2,
      maxRetries: 1_000,
    },
  });
  const expected = [];
  for (let n = 0; n < 20; n += 1) {
    if (n % 5 === 3) cutter.cut();
    await publish(server, `m${n}`);
    expected.push(`m${n}`);
    await delay(20);
  }
  await eventually('it has all', () => told.length >= expected.length);
  assert.deepEqual(messages(told), expected);
  // A call, too, is answered although its connection breaks under it.
  const args = { task_name: 'Long', duration_seconds: 3, step_count: 3 };
  const call = client.callTool({ name: 'simulate_progress', arguments: args });
  await delay(1_000);
  cutter.cut();
  assert.equal((await call).structuredContent.status, 'completed');
});

test('a session ends when the client ends it', async (t) => {
  const server = await NotificationServer.start(t);
  const { client, transport } = await connectSdk(t, `${server.origin}/mcp`);
  const headers = { 'Mcp-Session-Id': transport.sessionId, 'Content-Type': 'application/json' };
  await transport.terminateSession();
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' });
  const response = await fetch(`${server.origin}/mcp`, { method: 'POST', headers, body });
  assert.equal(response.status, 404);
  await client.close();
});

test('the client of all revisions begins with the newest', async (t) => {
  const server = await NotificationServer.start(t);
  const { client } = await connectClient(t, `${server.origin}/mcp`);
  assert.equal(client.getNegotiatedProtocolVersion(), '2026-07-28');
  await useTools(client);
  const heard = [];
  const args = { task_name: 'Watched', duration_seconds: 1, step_count: 4 };
  await client.callTool({ name: 'simulate_progress', arguments: args }, {
    onprogress: (progress) => heard.push(progress),
  });
  assertProgress(heard);
  await readContent(client);
});

test('it hears what changes, and listens again after its connection broke', async (t) => {
  const server = await NotificationServer.start(t);
  const cutter = await Cutter.start(t, server.origin);
  const { client, updated } = await connectClient(t, `${cutter.origin}/mcp`);
  const wanted = { resourceSubscriptions: [TOPIC], toolsListChanged: true };
  for (const round of ['first', 'second']) {
    const listening = await client.listen(wanted);
    assert.deepEqual(listening.honoredFilter, { resourceSubscriptions: [TOPIC] });
    updated.length = 0;
    await publish(server, round);
    await eventually('it hears of the change', () => updated.includes(TOPIC));
    cutter.cut();
    assert.equal(await listening.closed, 'remote');
  }
});

test('it is told when the server stops', async (t) => {
  const server = await NotificationServer.start(t);
  const { client } = await connectClient(t, `${server.origin}/mcp`);
  const listening = await client.listen({ resourcesListChanged: true });
  await server.stop();
  assert.equal(await listening.closed, 'graceful');
});

test('it cancels by hanging up', async (t) => {
  const server = await NotificationServer.start(t);
  const { client } = await connectClient(t, `${server.origin}/mcp`);
  const patience = new AbortController();
  const args = { task_name: 'Endless', duration_seconds: 60, step_count: 20 };
  const call = client.callTool(
    { name: 'simulate_progress', arguments: args },
    { signal: patience.signal, onprogress: () => patience.abort() },
  );
  await assert.rejects(call);
  await eventually('the task has ended', async () => {
    const { tasks } = await (await fetch(`${server.origin}/v1/tasks`)).json();
    return tasks[0].state === 'cancelled';
  });
});

test('it speaks the older ones, too', async (t) => {
  const server = await NotificationServer.start(t);
  const { client, told } = await connectClient(t, `${server.origin}/mcp`, 'legacy');
  assert.equal(client.getNegotiatedProtocolVersion(), '2025-11-25');
  await useTools(client);
  await publish(server, 'to everybody');
  await eventually('it hears the broadcast', () => messages(told).includes('to everybody'));
});
