import assert from 'node:assert/strict';
import { test } from 'node:test';

import { openBrowser } from './browser.mjs';
import { clientPage } from './client-page.mjs';
import { NotificationServer, freePort } from './server.mjs';
import { serveSite } from './site.mjs';

const ARRIVAL_MS = 10_000;
/** The server spreads its `retry:` over seconds, and the browser waits that long. */
const RECONNECTION_MS = 60_000;
const CONNECTING = 0;
const CLOSED = 2;
const EMPTY_PAGE = '<!doctype html><title>Another site</title>';

/** Opens the documented client in Chromium, on a page of another origin than the server's. */
async function openClient(t, server) {
  const site = await serveSite(t, clientPage(server.origin));
  const page = await (await openBrowser(t)).newPage();
  await page.goto(`http://127.0.0.1:${site.port}/`);
  await page.waitForFunction(() => messages.length > 0, null, { timeout: ARRIVAL_MS });
  return page;
}

/** Resolves once the event at `cursor` is the last that reached the page. */
async function arrival(page, cursor, timeout) {
  await page.waitForFunction((cursor) => messages.at(-1).lastEventId === cursor, cursor, { timeout });
}

/**
 * What a new EventSource at `url` meets first on the page, and the status it was answered
 * with. DevTools tells that status; pages and Playwright never see it when CORS fails.
 */
async function firstMeeting(page, url) {
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('Network.enable');
  const answered = statusOf(devtools, url);
  const met = page.evaluate(
    (url) =>
      new Promise((resolve) => {
        const source = new EventSource(url);
        const settle = ({ type }) => resolve({ type, readyState: source.readyState });
        source.onopen = source.onmessage = source.onerror = settle;
      }),
    url,
  );
  const [statusCode, first] = await Promise.all([answered, met]);
  return { ...first, statusCode };
}

/** The status that `url` is answered with; other requests of the page, such as for its icon, do not count. */
function statusOf(devtools, url) {
  return new Promise((resolve, reject) => {
    const asked = new Set();
    const statuses = new Map();
    // The two come in either order.
    const settle = () => {
      for (const id of asked) if (statuses.has(id)) resolve(statuses.get(id));
    };
    devtools.on('Network.requestWillBeSent', ({ requestId, request }) => {
      if (request.url === url) asked.add(requestId);
      settle();
    });
    devtools.on('Network.responseReceivedExtraInfo', ({ requestId, statusCode }) => {
      statuses.set(requestId, statusCode);
      settle();
    });
    setTimeout(() => reject(new Error(`${url} was not answered`)), ARRIVAL_MS).unref();
  });
}

test('the documented client follows status, notification and progress', { timeout: 120_000 }, async (t) => {
  const server = await NotificationServer.start(t);
  const page = await openClient(t, server);

  const notification = {
    message: 'System maintenance will begin in 10 minutes',
    type: 'warning',
    data: { maintenance_window: '2024-01-15T02:00:00Z', expected_duration: '30 minutes' },
  };
  const sent = await server.callTool('send_notification', notification);
  const task = await server.callTool('simulate_progress', {
    task_name: 'File Processing',
    duration_seconds: 1,
    step_count: 4,
  });
  await page.waitForFunction(() => messages.length >= 6, null, { timeout: ARRIVAL_MS });

  assert.deepEqual(await page.evaluate(() => calls), [
    ['updateConnectionStatus', 'connected'],
    ['showNotification', notification.message, 'warning'],
    ['updateProgressBar', task.task_id, 25],
    ['updateProgressBar', task.task_id, 50],
    ['updateProgressBar', task.task_id, 75],
    ['updateProgressBar', task.task_id, 100],
  ]);

  const [connected, notified, ...progressed] = await page.evaluate(() => messages);
  assert.equal(connected.lastEventId, '');
  assert.equal(connected.data.client_count, 1);
  assert.equal(notified.lastEventId, sent.cursor);
  assert.equal(notified.data.notification_id, sent.notification_id);
  assert.deepEqual(notified.data.data, notification.data);
  assert.deepEqual(
    progressed.map(({ data }) => [data.task_name, data.step, data.total_steps, data.message]),
    [1, 2, 3, 4].map((step) => ['File Processing', step, 4, `Completed step ${step} of 4`]),
  );
});

const ends = [
  { name: 'kill -9', end: (server) => server.kill(), statuses: ['connected', 'connected'] },
  { name: 'SIGTERM', end: (server) => server.stop(), statuses: ['connected', 'closing', 'connected'] },
];
for (const { name, end, statuses } of ends) {
  test(`the browser resumes by itself after ${name}, nothing lost or repeated`, { timeout: 180_000 }, async (t) => {
    const server = await NotificationServer.start(t);
    const page = await openClient(t, server);
    const published = [];
    const publish = async (message) => {
      const { cursor } = await server.publish(message);
      published.push({ message, cursor });
    };

    for (let n = 1; n <= 20; n++) await publish(`before the end ${n}`);
    await page.waitForFunction(() => messages.at(-1).lastEventId, null, { timeout: ARRIVAL_MS });
    await end(server);
    await page.waitForFunction(
      (CONNECTING) => eventSource.readyState === CONNECTING,
      CONNECTING,
      { timeout: ARRIVAL_MS },
    );

    // Offline, the browser's retries fail, however short the server made its `retry:`.
    await page.context().setOffline(true);
    await server.start();
    for (let n = 1; n <= 20; n++) await publish(`while disconnected ${n}`);
    assert.equal(await page.evaluate(() => eventSource.readyState), CONNECTING);
    await page.context().setOffline(false);

    await arrival(page, published.at(-1).cursor, RECONNECTION_MS);
    await publish('after the reconnection');
    await arrival(page, published.at(-1).cursor, ARRIVAL_MS);

    const received = await page.evaluate(() => messages);
    assert.deepEqual(
      received
        .filter(({ data }) => data.type === 'notification')
        .map(({ data, lastEventId }) => ({ message: data.message, cursor: lastEventId })),
      published,
    );
    assert.deepEqual(
      received.filter(({ data }) => data.type === 'status').map(({ data }) => data.status),
      statuses,
    );
  });
}

test('a page of a foreign origin is refused', { timeout: 60_000 }, async (t) => {
  const server = await NotificationServer.start(t);
  const site = await serveSite(t, EMPTY_PAGE);
  const page = await (await openBrowser(t, { 'evil.test': '127.0.0.1' })).newPage();
  await page.goto(`http://evil.test:${site.port}/`);

  assert.deepEqual(await firstMeeting(page, `${server.origin}/mcp`), {
    type: 'error',
    readyState: CLOSED,
    statusCode: 403,
  });
});

test('a foreign name rebound to the server is refused', { timeout: 60_000 }, async (t) => {
  const port = await freePort();
  const site = await serveSite(t, EMPTY_PAGE, port);
  const page = await (await openBrowser(t, { 'evil.test': '127.0.0.1' })).newPage();
  await page.goto(`http://evil.test:${port}/`);
  await site.close();

  // To the browser this is still the page's own origin: it sends no Origin, and no CORS applies.
  await NotificationServer.start(t, port);
  assert.deepEqual(await firstMeeting(page, `http://evil.test:${port}/mcp`), {
    type: 'error',
    readyState: CLOSED,
    statusCode: 403,
  });
});
