// The JavaScript client and its hooks in a real browser.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

import { openBrowser } from '../../../tests/browser/browser.mjs';
import { NotificationServer } from '../../../tests/browser/server.mjs';

const TIMEOUT = { timeout: 120_000 };
const CLIENT = fileURLToPath(new URL('..', import.meta.url));

/** Serves pages whose script is bundled from `source`, which may import the client and React. */
async function serve(t, source) {
  const bundled = await build({
    stdin: { contents: source, resolveDir: CLIENT, loader: 'jsx' },
    bundle: true, write: false, format: 'esm', jsx: 'automatic', logLevel: 'silent',
    define: { 'process.env.NODE_ENV': '"development"' },
    alias: { '@notification-server/client': `${CLIENT}src/index.ts`, '@notification-server/client/react': `${CLIENT}src/react.ts` },
  });
  const script = bundled.outputFiles[0].text;
  const server = http.createServer((request, response) => {
    const isScript = request.url === '/page.js';
    response.writeHead(200, { 'Content-Type': isScript ? 'text/javascript' : 'text/html; charset=utf-8' });
    response.end(isScript ? script : '<!doctype html><title>Page</title><div id="root"></div><script type="module" src="/page.js"></script>');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => { server.closeAllConnections(); server.close(); });
  return `http://127.0.0.1:${server.address().port}/`;
}

const connections = async (server) => (await (await server.ask('GET', '/v1/connections')).json()).connections;

async function until(what, check) {
  for (let i = 0; i < 600; i++) {
    if (await check()) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`never: ${what}`);
}

const messages = (page, count) =>
  page.waitForFunction((count) => window.messages.length >= count, count).then(() => page.evaluate(() => window.messages));

const PAGE = (options) => `
  import { connect } from '@notification-server/client';
  window.messages = []; window.states = []; window.gaps = 0;
  window.connection = connect({ ${options},
    onEvent: (event) => { window.messages.push(event.message); },
    onStateChange: (state) => { window.states.push(state); },
    onError: (error) => { window.refused = error.kind + ' ' + error.status + ' ' + error.detail; },
  });`;

test('an EventSource comes back where it was, and a refusal is told', TIMEOUT, async (t) => {
  const server = await NotificationServer.startWith(t, '[stream]\nretry_min_ms = 100\nretry_max_ms = 200\n');
  const browser = await openBrowser(t);
  const page = await browser.newPage();
  await page.goto(await serve(t, PAGE(`url: '${server.origin}', shared: false`)));
  await page.waitForFunction(() => window.connection.connectionId);
  await server.publish('one');
  await messages(page, 1);
  await server.kill();
  await server.start();
  await server.publish('two');
  assert.deepEqual(await messages(page, 2), ['one', 'two']);
  await page.evaluate(() => window.connection.close());
  await page.waitForFunction(() => window.connection.state === 'closed');
  await until('the stream is closed', async () => (await connections(server)).length === 0);

  const other = await browser.newPage();
  await other.goto(await serve(t, PAGE(`url: '${server.origin}', topics: ['a//b']`)));
  await other.waitForFunction(() => window.refused);
  assert.match(await other.evaluate(() => window.refused), /^refused 400 topic: /);
});

test('tabs share one connection, and the next takes over when one is closed', TIMEOUT, async (t) => {
  const server = await NotificationServer.start(t);
  const context = await (await openBrowser(t)).newContext();
  const url = await serve(t, PAGE(`url: '${server.origin}', since: 'all'`));
  await server.publish('before');
  const first = await context.newPage();
  await first.goto(url);
  await messages(first, 1);
  await server.publish('one');
  await messages(first, 2);
  const others = [await context.newPage(), await context.newPage()];
  for (const page of others) {
    await page.goto(url);
    // What was before it came, it gets as well.
    assert.deepEqual(await messages(page, 2), ['before', 'one']);
  }
  await server.publish('two');
  for (const page of [first, ...others]) assert.deepEqual(await messages(page, 3), ['before', 'one', 'two']);
  assert.equal((await connections(server)).length, 1);

  await first.close();
  await until('another tab reads', async () => {
    const [open, ...more] = await connections(server);
    return open !== undefined && more.length === 0;
  });
  for (let i = 0; i < 20; i++) await server.publish(`after ${i}`);
  for (const page of others) {
    const all = await messages(page, 23);
    assert.deepEqual(all.slice(3), Array.from({ length: 20 }, (_, i) => `after ${i}`));
    assert.equal(await page.evaluate(() => window.connection.state), 'open');
  }
  assert.equal((await connections(server)).length, 1);
});

test('a tab that is slow gets a stream of its own and holds up nobody', TIMEOUT, async (t) => {
  const server = await NotificationServer.start(t);
  const context = await (await openBrowser(t)).newContext();
  const slow = `
    import { connect } from '@notification-server/client';
    window.messages = [];
    window.connection = connect({ url: '${server.origin}' });
    window.read = async () => { for await (const event of window.connection) window.messages.push(event.message); };`;
  const url = await serve(t, slow);
  const [reader, sleeper] = [await context.newPage(), await context.newPage()];
  for (const page of [reader, sleeper]) {
    await page.goto(url);
    await page.waitForFunction(() => window.connection.state === 'open');
  }
  await reader.evaluate(() => { window.read(); });
  for (let i = 0; i < 3; i++) {
    const events = Array.from({ length: 1000 }, (_, j) => ({ type: 'notification', message: String(i * 1000 + j) }));
    assert.equal((await server.ask('POST', '/v1/events', events)).status, 201);
  }
  const all = Array.from({ length: 3000 }, (_, i) => String(i));
  assert.deepEqual(await messages(reader, 3000), all);
  await until('the slow tab has a stream of its own', async () => (await connections(server)).length <= 2);
  await sleeper.evaluate(() => { window.read(); });
  assert.deepEqual(await messages(sleeper, 3000), all);
});

test('the hooks show what comes, over one connection for those who ask for the same', TIMEOUT, async (t) => {
  const server = await NotificationServer.start(t);
  const readme = await readFile(`${CLIENT}README.md`, 'utf8');
  const [, documented] = readme.match(/```jsx\n([^]*?)```/);
  const url = await serve(t, `
    ${documented.replaceAll(/\(\{ topics/g, `({ url: '${server.origin}', topics`).replace('useTasks()', `useTasks({ url: '${server.origin}' })`)}
    import { StrictMode } from 'react';
    import { createRoot } from 'react-dom/client';
    createRoot(document.getElementById('root')).render(<StrictMode><Status /><Status /></StrictMode>);`);
  const page = await (await openBrowser(t)).newPage();
  await page.goto(url);
  await page.waitForFunction(() => [...document.querySelectorAll('p')].every((p) => p.textContent === 'open'));
  await until('two streams are open', async () => (await connections(server)).length === 2);
  await server.ask('POST', '/v1/events', { type: 'notification', message: 'Disk full', topic: 'ops/db' });
  await server.ask('PUT', '/v1/tasks/t1', { task_name: 'Import', step: 1, total_steps: 4 });
  await page.waitForFunction(() => document.querySelectorAll('li').length === 2 && document.querySelectorAll('progress').length === 2);
  assert.deepEqual(await page.$$eval('progress', (bars) => bars.map((bar) => bar.value)), [25, 25]);
  await server.ask('PUT', '/v1/tasks/t1', { step: 4 });
  await page.waitForFunction(() => document.querySelector('progress').value === 100);
});

test("the seed's hook works as it is", TIMEOUT, async (t) => {
  const server = await NotificationServer.start(t);
  const hook = await readFile(new URL('hook.jsx', import.meta.url), 'utf8');
  const documented = await readFile(new URL('../../../docs/clients.md', import.meta.url), 'utf8');
  assert.ok(documented.includes(hook.trimEnd()));
  const url = await serve(t, `
    ${hook}
    import { createRoot } from 'react-dom/client';
    function Page() {
      const { notifications, progress } = useSSENotifications('${server.origin}/mcp');
      return <pre>{JSON.stringify([notifications.map((n) => n.message), Object.values(progress).map((p) => p.progress)])}</pre>;
    }
    createRoot(document.getElementById('root')).render(<Page />);`);
  const page = await (await openBrowser(t)).newPage();
  await page.goto(url);
  await until('the stream is open', async () => (await connections(server)).length === 1);
  await server.callTool('send_notification', { message: 'one', type: 'info' });
  await server.callTool('simulate_progress', { task_name: 'File Processing', duration_seconds: 1, step_count: 4 });
  await page.waitForFunction(() => document.querySelector('pre').textContent === '[["one"],[100]]');
});
