import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ATTACKER, EMBEDDINGS, SIMPLE_TYPES, answered, ended } from './attacker.mjs';
import { openBrowser } from './browser.mjs';
import { NotificationServer } from './server.mjs';
import { serveSite } from './site.mjs';

const EVENT = JSON.stringify({ type: 'notification', message: 'forged' });
const CALL = JSON.stringify({
  jsonrpc: '2.0',
  id: 1,
  method: 'tools/call',
  params: { name: 'send_notification', arguments: { message: 'forged' } },
});
/** Where something can be published, and what does it. */
const DOORS = [
  { path: '/v1/events', body: EVENT },
  { path: '/v1/topics/forged', body: 'forged' },
  { path: '/mcp', body: CALL },
];
/** A page on `evil.test`, which is this machine, beside a server that it wants to use. */
async function openAttacker(t) {
  const server = await NotificationServer.start(t);
  const site = await serveSite(t, ATTACKER);
  const browser = await openBrowser(t, { 'evil.test': '127.0.0.1' });
  const openPage = async () => {
    const page = await browser.newPage();
    await page.goto(`http://evil.test:${site.port}/`);
    return page;
  };
  return { server, page: await openPage(), openPage };
}

/** The server holds `expected` messages, and no stream is open. */
async function assertUnharmed(server, expected = []) {
  const { events } = await (await fetch(`${server.origin}/v1/events`)).json();
  assert.deepEqual(events.map(({ message }) => message), expected);
  const { connections } = await (await fetch(`${server.origin}/v1/connections`)).json();
  assert.deepEqual(connections, []);
}

test('what another site posts is not published', { timeout: 120_000 }, async (t) => {
  const { server, page, openPage } = await openAttacker(t);
  for (const { path, body } of DOORS) {
    const url = server.origin + path;
    const beacon = () => page.evaluate(([url, body]) => navigator.sendBeacon(url, body), [url, body]);
    assert.equal(await answered(page, url, beacon), 403, path);
    for (const type of SIMPLE_TYPES) {
      const posting = () => page.evaluate((args) => post(...args), [url, body, type]);
      assert.equal(await answered(page, url, posting), 403, `${path} ${type}`);
    }
    // A name, "=" and a value are one JSON text if they are chosen well.
    const [name, value] = [`${body.slice(0, -1)},"x":"`, '"}'];
    for (const enctype of SIMPLE_TYPES.filter((type) => type !== '')) {
      const leaving = await openPage();
      const submitting = () => leaving.evaluate((args) => submit(...args), [url, enctype, name, value]);
      assert.equal(await answered(leaving, url, submitting), 403, `${path} ${enctype}`);
      await leaving.close();
    }
  }
  await assertUnharmed(server);
});

test('what needs to be asked for first is not allowed to another site', { timeout: 120_000 }, async (t) => {
  const { server, page } = await openAttacker(t);
  for (const { path, body } of DOORS) {
    for (const init of [
      { method: 'POST', headers: { 'Content-Type': 'application/json' }, body },
      { method: 'POST', headers: { Title: 'forged' }, body },
      { method: 'POST', headers: { 'Content-Type': 'application/x-ndjson' }, body },
      { method: 'PUT', body },
      { method: 'DELETE' },
    ]) {
      const answer = await page.evaluate(([url, init]) => read(url, init), [server.origin + path, init]);
      assert.equal(answer, 'kept from it', `${path} ${JSON.stringify(init)}`);
    }
  }
  await assertUnharmed(server);
});

test('another site reads nothing and opens no stream', { timeout: 120_000 }, async (t) => {
  const { server, page } = await openAttacker(t);
  await server.publish('not for everybody');
  const paths = ['/v1/stream?since=all', '/mcp?since=all', '/v1/events', '/', '/metrics', '/openapi.json'];
  for (const path of paths) {
    const url = server.origin + path;
    for (const init of [{}, { credentials: 'include' }, { cache: 'force-cache' }]) {
      assert.equal(await page.evaluate(([url, init]) => read(url, init), [url, init]), 'kept from it', path);
    }
    for (const element of EMBEDDINGS) {
      const embedding = () => page.evaluate((args) => embed(...args), [element, url]);
      await ended(page, url, embedding);
    }
    assert.equal(await page.evaluate((url) => connect(() => new EventSource(url), 'onerror'), url), 'over', path);
    const ws = url.replace('http:', 'ws:');
    assert.equal(await page.evaluate((url) => connect(() => new WebSocket(url), 'onclose'), ws), 'over', path);
  }
  await assertUnharmed(server, ['not for everybody']);
});

test('another site takes nothing that a durable client has yet to get', { timeout: 60_000 }, async (t) => {
  const { server, page, openPage } = await openAttacker(t);
  const url = `${server.origin}/v1/stream?client_id=alice&durable=true`;
  const aborter = new AbortController();
  await fetch(url, { signal: aborter.signal });
  aborter.abort();
  await server.publish('for alice');
  const alice = async () => (await fetch(`${server.origin}/v1/clients/alice`)).json();
  const { cursor } = await alice();

  for (const element of EMBEDDINGS) {
    const embedding = () => page.evaluate((args) => embed(...args), [element, url]);
    await ended(page, url, embedding);
  }
  for (const follow of ['location.href = url', "document.body.innerHTML = '<a>'; Object.assign(document.querySelector('a'), { href: url }).click()"]) {
    const leaving = await openPage();
    const following = () => leaving.evaluate(`{ const url = ${JSON.stringify(url)}; ${follow}; }`);
    await ended(leaving, url, following);
    await leaving.close();
  }
  await assertUnharmed(server, ['for alice']);
  assert.equal((await alice()).cursor, cursor);
});

test('a page of the server itself and of an allowed origin is served', { timeout: 60_000 }, async (t) => {
  const server = await NotificationServer.start(t);
  const site = await serveSite(t, ATTACKER);
  const page = await (await openBrowser(t)).newPage();
  await page.goto(`http://localhost:${site.port}/`);
  const url = `${server.origin}/v1/events`;
  const init = { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: EVENT };
  const { text } = await page.evaluate(([url, init]) => read(url, init), [url, init]);
  assert.ok(JSON.parse(text).event_id, text);
  const opened = await page.evaluate((url) => connect(() => new EventSource(url), 'onerror'), `${server.origin}/v1/stream`);
  assert.equal(opened, 'open');
});
