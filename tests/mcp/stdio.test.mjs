import assert from 'node:assert/strict';
import { test } from 'node:test';

import { NotificationServer } from '../browser/server.mjs';
import { connectClientStdio, connectSdkStdio } from './clients.mjs';
import { eventually, messages, useTools } from './use.mjs';

const WATCHED = { name: 'simulate_progress', arguments: { task_name: 'Watched', duration_seconds: 1, step_count: 4 } };

/** These clients pass over the last step if they read the answer in one piece with it. */
function assertSteps(heard) {
  assert.deepEqual(heard.slice(0, 3).map(({ progress }) => progress), [1, 2, 3]);
}

test('the client of revisions up to 2025-11-25 starts a server of its own', async (t) => {
  const { client, told } = await connectSdkStdio(t, ['--data-dir', ':memory:']);
  await useTools(client);
  await eventually('it hears what its tools did', () => messages(told).includes('from a tool'));
});

test('it starts a bridge, and hears what others publish', async (t) => {
  const server = await NotificationServer.start(t);
  const { client, told } = await connectSdkStdio(t, ['--url', `${server.origin}/mcp`]);
  const heard = [];
  await client.callTool(WATCHED, undefined, { onprogress: (progress) => heard.push(progress) });
  assertSteps(heard);
  await server.publish('to everybody');
  await eventually('it hears the broadcast', () => messages(told).includes('to everybody'));
});

test('the client of all revisions begins with the newest', async (t) => {
  const server = await NotificationServer.start(t);
  for (const args of [['--data-dir', ':memory:'], ['--url', server.origin]]) {
    const { client } = await connectClientStdio(t, args);
    assert.equal(client.getNegotiatedProtocolVersion(), '2026-07-28');
    await useTools(client);
    const heard = [];
    await client.callTool(WATCHED, { onprogress: (progress) => heard.push(progress) });
    assertSteps(heard);
  }
});

test('it cancels a call', async (t) => {
  const server = await NotificationServer.start(t);
  const { client } = await connectClientStdio(t, ['--url', server.origin]);
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
  const { client, told } = await connectClientStdio(t, ['--url', server.origin], 'legacy');
  assert.equal(client.getNegotiatedProtocolVersion(), '2025-11-25');
  await useTools(client);
  await server.publish('to everybody');
  await eventually('it hears the broadcast', () => messages(told).includes('to everybody'));
});
