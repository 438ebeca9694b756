import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';

import { ATTACKER, EMBEDDINGS, SIMPLE_TYPES, answered, ended } from './attacker.mjs';
import { openBrowser } from './browser.mjs';
import { NotificationServer } from './server.mjs';
import { serveSite } from './site.mjs';

const ARRIVAL_MS = 10_000;
/** The server spreads its `retry:` over seconds, and the browser waits that long. */
const RECONNECTION_MS = 60_000;
const POLL_MS = 20;
const CLOSED = 2;
const COOKIE = '__Host-notification-session';
const FORGED = JSON.stringify({ type: 'notification', message: 'forged' });

/**
 * A page of the server at `origin`. What the server shows there may connect to
 * nothing (Content-Security-Policy); here scripts are written into it, which may.
 */
async function openOwnPage(browser, origin) {
  const context = await browser.newContext({ bypassCSP: true });
  const page = await context.newPage();
  await page.goto(`${origin}/`);
  return page;
}

/** Exchanges a key for a cookie, in a script of the page. */
async function beginSession(page, key) {
  const status = await page.evaluate(async (key) => {
    const headers = { Authorization: `Bearer ${key}` };
    return (await fetch('/v1/session', { method: 'POST', headers })).status;
  }, key);
  assert.equal(status, 201);
}

/** Follows `url` in an EventSource of the page, which keeps what it is told in `told`. */
async function follow(page, url) {
  await page.evaluate((url) => {
    window.told = [];
    window.source = new EventSource(url);
    source.onmessage = ({ data }) => told.push(JSON.parse(data));
  }, url);
  await page.waitForFunction(() => told.length > 0 || source.readyState === 2, null, { timeout: ARRIVAL_MS });
}

const told = (page) => page.evaluate(() => told.map(({ status, message }) => status ?? message));

async function arrival(page, text, timeout = ARRIVAL_MS) {
  const isThere = (text) => told.some(({ status, message }) => (status ?? message) === text);
  await page.waitForFunction(isThere, text, { timeout });
}

/** Waits until the browser has given up on the stream. */
async function closed(page) {
  await page.waitForFunction((CLOSED) => source.readyState === CLOSED, CLOSED, { timeout: RECONNECTION_MS });
}

async function eventually(what, isSo) {
  const deadline = AbortSignal.timeout(ARRIVAL_MS);
  while (!isSo()) {
    if (deadline.aborted) throw new Error(`this did not happen: ${what}`);
    await delay(POLL_MS);
  }
}

async function connections(server) {
  return (await (await server.ask('GET', '/v1/connections')).json()).connections;
}

const publish = (server, message) => server.ask('POST', '/v1/events', { type: 'notification', message });

for (const host of ['127.0.0.1', 'localhost']) {
  test(`on http://${host} a session is kept where no script reads it, and opens a stream`, { timeout: 60_000 }, async (t) => {
    const server = await NotificationServer.startSecured(t);
    const key = await server.createKey('ci', ['publish:**', 'subscribe:**']);
    const page = await openOwnPage(await openBrowser(t), server.origin.replace('127.0.0.1', host));
    const post = () =>
      page.evaluate(async (body) => {
        const headers = { 'Content-Type': 'application/json' };
        return (await fetch('/v1/events', { method: 'POST', headers, body })).status;
      }, JSON.stringify({ type: 'notification', message: 'from the page' }));
    assert.equal(await post(), 401);

    await beginSession(page, key);
    assert.equal(await page.evaluate(() => document.cookie), '');
    const [cookie] = await page.context().cookies();
    const { name, httpOnly, secure, sameSite, path, domain } = cookie;
    assert.deepEqual(
      { name, httpOnly, secure, sameSite, path, domain },
      { name: COOKIE, httpOnly: true, secure: true, sameSite: 'Lax', path: '/', domain: host },
    );

    await follow(page, '/v1/stream');
    await publish(server, 'from elsewhere');
    await arrival(page, 'from elsewhere');
    assert.equal(await post(), 201);
    await arrival(page, 'from the page');
    assert.deepEqual(await told(page), ['connected', 'from elsewhere', 'from the page']);
    assert.deepEqual((await connections(server)).map(({ principal }) => principal), ['key:ci']);
  });
}

test('after the session has ended its streams say so, and do not come back', { timeout: 120_000 }, async (t) => {
  const server = await NotificationServer.startSecured(t);
  const key = await server.createKey('ci', ['subscribe:**']);
  const page = await openOwnPage(await openBrowser(t), server.origin);
  await beginSession(page, key);
  await follow(page, '/v1/stream');

  const leave = async () => (await fetch('/v1/session', { method: 'DELETE' })).status;
  assert.equal(await page.evaluate(leave), 204);
  await arrival(page, 'unauthorized');
  assert.deepEqual(await page.context().cookies(), []);
  await closed(page);
  await publish(server, 'not for nobody');
  assert.deepEqual(await told(page), ['connected', 'unauthorized']);
  assert.deepEqual(await connections(server), []);
  assert.equal(await page.evaluate(leave), 401);
});

// Pages of the same host share its cookies, whatever their port: to them SameSite is no bound.
for (const { host, sendsCookie } of [
  { host: '127.0.0.1', sendsCookie: true },
  { host: 'evil.test', sendsCookie: false },
]) {
  test(`a page on ${host} does nothing with the cookie of somebody's session`, { timeout: 180_000 }, async (t) => {
    const server = await NotificationServer.startSecured(t);
    const key = await server.createKey('ci', ['publish:**', 'subscribe:**', 'client:*']);
    const site = await serveSite(t, ATTACKER);
    const browser = await openBrowser(t, { 'evil.test': '127.0.0.1' });
    const own = await openOwnPage(browser, server.origin);
    await beginSession(own, key);
    await publish(server, 'not for everybody');
    const openPage = async () => {
      const page = await own.context().newPage();
      await page.goto(`http://${host}:${site.port}/`);
      return page;
    };
    const page = await openPage();
    const url = `${server.origin}/v1/events`;
    for (const type of SIMPLE_TYPES) {
      const posting = () => page.evaluate((args) => post(...args), [url, FORGED, type]);
      assert.equal(await answered(page, url, posting), 403, type);
    }
    const isRefusedForTheCookie = () => server.log.includes('the cookie of a session is taken from');
    if (sendsCookie) await eventually('the cookie came along', isRefusedForTheCookie);
    assert.equal(isRefusedForTheCookie(), sendsCookie);
    const [name, value] = [`${FORGED.slice(0, -1)},"x":"`, '"}'];
    for (const enctype of SIMPLE_TYPES.filter((type) => type !== '')) {
      const leaving = await openPage();
      const submitting = () => leaving.evaluate((args) => void setTimeout(submit, 0, ...args), [url, enctype, name, value]);
      assert.equal(await answered(leaving, url, submitting), 403, enctype);
    }
    const json = { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: FORGED };
    for (const init of [json, { ...json, headers: {} }, { method: 'DELETE' }, {}]) {
      const read = () => page.evaluate(([url, init]) => read(url, { ...init, credentials: 'include' }), [url, init]);
      assert.equal(await read(), 'kept from it', JSON.stringify(init));
    }
    const stream = `${server.origin}/v1/stream?since=all&client_id=alice&durable=true`;
    for (const withCredentials of [true, false]) {
      const opening = ([url, init]) => connect(() => new EventSource(url, init), 'onerror');
      assert.equal(await page.evaluate(opening, [stream, { withCredentials }]), 'over');
    }
    for (const url of [stream, `${server.origin}/v1/events`]) {
      for (const element of EMBEDDINGS) {
        await ended(page, url, () => page.evaluate((args) => embed(...args), [element, url]));
      }
      const leaving = await openPage();
      await ended(leaving, url, () => leaving.evaluate((url) => void setTimeout(() => (location.href = url)), url));
    }
    const leave = ([url]) => read(url, { method: 'DELETE', credentials: 'include' });
    assert.equal(await page.evaluate(leave, [`${server.origin}/v1/session`]), 'kept from it');

    assert.deepEqual(await server.messages(), ['not for everybody']);
    assert.deepEqual(await connections(server), []);
    assert.deepEqual((await (await server.ask('GET', '/v1/clients')).json()).clients, []);
    // The session itself is as it was.
    await follow(own, '/v1/stream');
    assert.deepEqual(await told(own), ['connected']);
  });
}

test('a page of an allowed origin opens one stream with a ticket', { timeout: 120_000 }, async (t) => {
  const site = await serveSite(t, ATTACKER);
  const server = await NotificationServer.startSecured(t, `allowed_origins = ["http://app.test:${site.port}"]`);
  const key = await server.createKey('app', ['subscribe:**'], { client_id: 'alice' });
  const browser = await openBrowser(t, { 'app.test': '127.0.0.1', 'evil.test': '127.0.0.1' });
  const page = await browser.newPage();
  await page.goto(`http://app.test:${site.port}/`);
  const ask = {
    method: 'POST',
    headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({ types: ['notification'] }),
  };
  const issue = (page) => page.evaluate(([url, init]) => read(url, init), [`${server.origin}/v1/tickets`, ask]);
  const { ticket } = JSON.parse((await issue(page)).text);
  const url = `${server.origin}/v1/stream?ticket=${ticket}`;

  await follow(page, url);
  await publish(server, 'with a ticket');
  await arrival(page, 'with a ticket');
  assert.deepEqual(await told(page), ['connected', 'with a ticket']);
  const [connection, ...others] = await connections(server);
  assert.deepEqual([connection.principal, connection.client_id, others], ['key:app', 'alice', []]);

  const again = await browser.newPage();
  await again.goto(`http://app.test:${site.port}/`);
  const opening = () => follow(again, url);
  assert.equal(await answered(again, url, opening), 401);
  assert.deepEqual([await told(again), await again.evaluate(() => source.readyState)], [[], CLOSED]);

  // Nor does the browser get another stream with it when it comes back by itself.
  const closing = await server.ask('DELETE', `/v1/connections/${connection.connection_id}`);
  assert.equal(closing.status, 204);
  await closed(page);
  await publish(server, 'for whoever has another');
  assert.deepEqual(await connections(server), []);
  assert.ok(!(await told(page)).includes('for whoever has another'));
  await follow(page, `${server.origin}/v1/stream?ticket=${JSON.parse((await issue(page)).text).ticket}`);
  assert.deepEqual(await told(page), ['connected']);

  const foreign = await browser.newPage();
  await foreign.goto(`http://evil.test:${site.port}/`);
  assert.equal(await issue(foreign), 'kept from it');
});
