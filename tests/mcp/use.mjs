import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';

const DEADLINE_MS = 30_000;

/** Resolves once it is so. */
export async function eventually(what, isSo) {
  const deadline = Date.now() + DEADLINE_MS;
  while (!(await isSo())) {
    assert.ok(Date.now() < deadline, `this did not happen: ${what}`);
    await delay(20);
  }
}

/** What the events that a client was told of say. */
export const messages = (told) => told.map(({ data }) => data.message);

/** Arguments with which each tool does something, in this order. */
const CALLS = [
  ['send_notification', { message: 'from a tool' }],
  ['report_progress', { task_id: 'job', task_name: 'Job', progress: 10 }],
  ['get_task', { task_id: 'job' }],
  ['list_tasks', {}],
  ['connection_status', {}],
  ['simulate_progress', { task_name: 'Short', duration_seconds: 1, step_count: 2 }],
];

/** Lists the tools, and calls those that need nothing before; the client holds results against the schemas. */
export async function useTools(client) {
  const { tools } = await client.listTools();
  for (const tool of tools) {
    assert.ok(tool.title && tool.description && tool.outputSchema && tool.annotations, tool.name);
  }
  for (const [name, args] of CALLS) {
    const result = await client.callTool({ name, arguments: args });
    assert.ok(!result.isError, `${name}: ${JSON.stringify(result)}`);
    assert.equal(typeof result.structuredContent, 'object');
  }
  const wrong = await client.callTool({ name: 'send_notification', arguments: { massage: 'm' } });
  assert.ok(wrong.isError && wrong.content[0].text.includes('massage'));
}

/** Whether a client heard of every step, in order. */
export function assertProgress(heard) {
  assert.equal(heard.length, 4);
  assert.ok(heard.every(({ progress }, i) => i === 0 || progress > heard[i - 1].progress));
  assert.equal(heard.at(-1).progress, heard.at(-1).total);
}
