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

/** A resource that changes whenever something is published without a topic. */
export const TOPIC = 'notification://topics/default';

/** Arguments with which each tool does something, in this order. */
const CALLS = [
  ['send_notification', { message: 'from a tool' }],
  ['publish_event', { name: 'tool.tried', event_id: 'tried', require_ack: true }],
  ['get_recent_events', { topic: '**', limit: 5 }],
  ['acknowledge', { client_id: 'tester', event_ids: ['tried'] }],
  ['get_receipts', { event_id: 'tried' }],
  ['explain_delivery', { event_id: 'tried' }],
  ['report_progress', { task_id: 'job', task_name: 'Job', progress: 10 }],
  ['get_task', { task_id: 'job' }],
  ['list_tasks', {}],
  ['connection_status', {}],
  ['simulate_progress', { task_name: 'Short', duration_seconds: 1, step_count: 2 }],
];

/** Lists the tools, and calls each; the client holds results against the schemas. */
export async function useTools(client) {
  const { tools } = await client.listTools();
  const names = (all) => all.map(([name]) => name).sort();
  assert.deepEqual(names(tools.map(({ name }) => [name])), names(CALLS));
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

/** Lists and reads resources and prompts, and completes what was typed. */
export async function readContent(client) {
  const { resources } = await client.listResources();
  assert.ok(resources.some(({ uri }) => uri === TOPIC));
  const { contents } = await client.readResource({ uri: TOPIC });
  assert.ok(JSON.parse(contents[0].text).events.some(({ message }) => message === 'from a tool'));
  const { resourceTemplates } = await client.listResourceTemplates();
  assert.equal(resourceTemplates.length, 3);

  const { prompts } = await client.listPrompts();
  for (const { name } of prompts) {
    const { messages: asked } = await client.getPrompt({ name, arguments: { topic: 'default' } });
    assert.ok(asked[0].content.text.includes('from a tool'), name);
  }
  const typed = { name: 'topic', value: 'def' };
  const ref = { type: 'ref/prompt', name: prompts[0].name };
  const { completion } = await client.complete({ ref, argument: typed });
  assert.deepEqual(completion.values, ['default']);
}

/** Whether a client heard of every step, in order. */
export function assertProgress(heard) {
  assert.equal(heard.length, 4);
  assert.ok(heard.every(({ progress }, i) => i === 0 || progress > heard[i - 1].progress));
  assert.equal(heard.at(-1).progress, heard.at(-1).total);
}
