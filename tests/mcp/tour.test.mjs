// The tour of docs/webhooks.md: every command works as it is printed, with the agent of examples/.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { promisify } from 'node:util';

import { NotificationServer, freePort } from '../browser/server.mjs';
import { eventually } from './use.mjs';

const file = (path) => new URL(`../../${path}`, import.meta.url);

/** The commands of the tour, each with the lines that belong to it. */
async function commands() {
  const tour = (await readFile(file('docs/webhooks.md'), 'utf8')).split('## An agent that is woken')[1];
  return [...tour.matchAll(/```sh\n(.*?)```/gs)].map(([, command]) => command.trim());
}

/** The agent, started with what it remembers, and the lines that it prints. */
async function startAgent(t, directory, environment) {
  const child = spawn(process.execPath, [join(directory, 'agent.mjs')], {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => child.kill());
  const lines = [];
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
  await eventually('it has subscribed', () => lines.some((line) => line.startsWith('subscribed: ')));
  return { child, lines };
}

test('the tour goes from an empty directory to an agent that is woken', async (t) => {
  const [start, declare, install, happen, again, attempts, letters, redeliver] = await commands();
  assert.ok(start.startsWith('NOTIFICATION_SERVER_WEBHOOKS_RETRY_DELAYS=1s,2s notification-server'));
  assert.ok(start.endsWith('--dev-allow-loopback-webhooks'));
  assert.ok(install.endsWith('node agent.mjs'));
  const settings = '[webhooks]\ndev_allow_loopback = true\nretry_delays = ["1s", "2s"]\n';
  const server = await NotificationServer.startWith(t, settings);
  // Where the packages are found that the agent uses.
  const directory = await mkdtemp(new URL('node_modules/.tour-', import.meta.url).pathname);
  t.after(() => rm(directory, { recursive: true }));
  await copyFile(file('examples/agent/agent.mjs'), join(directory, 'agent.mjs'));
  const environment = {
    SERVER: `${server.origin}/mcp`,
    PORT: String(await freePort()),
    FILE: join(directory, 'subscription.json'),
  };
  const run = async (command, more = {}) => {
    const here = command.replaceAll('http://127.0.0.1:8005', server.origin).replaceAll('curl', 'curl -sSf');
    const env = { ...process.env, ...more };
    const { stdout } = await promisify(execFile)('bash', ['-ec', here], { env });
    return JSON.parse(stdout);
  };

  assert.equal((await run(declare)).name, 'incident.created');
  const first = await startAgent(t, directory, environment);
  const ID = first.lines[0].replace('subscribed: ', '');
  const { event_id } = await run(happen);
  await eventually('it is woken', () => first.lines.length > 1);
  assert.equal(first.lines[1], `woken: ${event_id} {"severity":4,"service":"api"}`);

  first.child.kill();
  await once(first.child, 'exit');
  const missed = (await run(again)).event_id;
  const failed = async () => {
    const made = (await run(attempts, { ID })).attempts;
    return made.filter((it) => it.event_id === missed && it.outcome === 'connection_refused').length;
  };
  await eventually('it was tried three times', async () => (await failed()) === 3);
  await eventually('it is a dead letter', async () => (await run(letters, { ID })).dead_letters.length === 1);

  const second = await startAgent(t, directory, environment);
  assert.equal(second.lines[0], `subscribed: ${ID}`);
  assert.deepEqual(await run(redeliver, { ID }), { redelivering: 1, gone: [] });
  await eventually('it hears of it', () => second.lines.length > 1);
  assert.equal(second.lines[1], `woken: ${missed} {"severity":5,"service":"db"}`);
  assert.deepEqual((await run(letters, { ID })).dead_letters, []);
});
